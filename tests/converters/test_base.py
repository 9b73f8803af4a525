"""What holds for every format's conversion: requires, convert, ensures."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.converters.base import Convert, Format, run
from udacimed_edge.converters.calibration import COUNT, calibration_digest, calibration_images
from udacimed_edge.data import Split, open_data
from udacimed_edge.errors import ConversionError, EdgeError, InputError, OutputError
from udacimed_edge.runtime.contract import Contract

NO_IMAGES = np.empty((0, 64, 64), np.uint8)


def row(convert: Convert) -> Format:
    """A format of that converter."""
    return Format("made-up", "Made up", ".made", "all", (), (), ("fp32",), ("fp32",), convert)


def raising(error: Exception) -> Convert:
    """A converter that fails."""

    def convert(program: Path, contract: Contract, calibration: NDArray[np.uint8], out: Path) -> None:
        raise error

    return convert


def nothing(program: Path, contract: Contract, calibration: NDArray[np.uint8], out: Path) -> None:
    """A converter that writes nothing."""


@pytest.mark.parametrize(
    ("convert", "kind", "message"),
    [
        (raising(OSError(errno.ENOSPC, "No space left on device")), OutputError, "the disk is full"),
        (raising(ValueError("bad graph")), ConversionError, "conversion failed: ValueError: bad graph"),
        (raising(MemoryError()), ConversionError, "MemoryError"),
        (raising(InputError("as it is")), InputError, "as it is"),
        (nothing, ConversionError, "the converter wrote nothing"),
    ],
)
def test_a_failing_converter_is_an_error_for_people(
    convert: Convert, kind: type[EdgeError], message: str, tmp_path: Path
) -> None:
    """Whatever a converter raises, or fails to write, becomes an error of its kind."""
    contract = Contract("made-up", "fp32", 0.5, "", "", "", None, "0")
    with pytest.raises(kind) as caught:
        run(row(convert), tmp_path / "program.pt2", contract, NO_IMAGES, tmp_path / "model.made")
    assert message in str(caught.value)


def test_calibration_takes_the_same_training_images_every_time() -> None:
    """320 images are taken from the training split, in both classes, the same ones each time."""
    train = open_data("synthetic").read("train")
    first, again = calibration_images(train), calibration_images(train)
    assert first.shape == (COUNT, 64, 64)
    assert calibration_digest(first) == calibration_digest(again)
    rows = np.linspace(0, len(train.images) - 1, COUNT).astype(int)
    assert 0.3 < train.labels[rows].mean() < 0.7


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("test", 400, "not on the test split"),
        ("validation", 400, "not on the"),
        ("train", 299, "at least 300"),
    ],
)
def test_calibration_refuses_other_images(name: str, count: int, message: str) -> None:
    """Only a training split of at least 300 images calibrates."""
    split = Split(name, "custom", np.zeros((count, 64, 64), np.uint8), np.zeros(count, np.uint8))
    with pytest.raises(InputError, match=message):
        calibration_images(split)
