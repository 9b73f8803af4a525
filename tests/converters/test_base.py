"""What holds for every format's conversion: requires, convert, ensures."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from udacimed_edge.converters import base
from udacimed_edge.converters.base import Convert, Quantization, QuantizationRecipe, run
from udacimed_edge.converters.calibration import (
    COUNT,
    calibration_digest,
    calibration_images,
    require_usable,
)
from udacimed_edge.core.data import Split, open_data
from udacimed_edge.core.errors import ConversionError, EdgeError, InputError, OutputError
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.runtime.formats import FormatSpec

MADE_UP = FormatSpec("made-up", "Made up", ".made", "all", (), (), "", ("fp32", "int8"), ("fp32",))


def raising(error: Exception) -> Convert:
    """A converter that fails."""

    def convert(program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
        raise error

    return convert


def nothing(program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
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
    convert: Convert,
    kind: type[EdgeError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a converter raises, or fails to write, becomes an error of its kind."""
    monkeypatch.setattr(base, "converter_of", lambda row: convert)
    contract = Contract("made-up", "fp32", 0.5, "", "", "", None, "0")
    with pytest.raises(kind) as caught:
        run(MADE_UP, tmp_path / "program.pt2", contract, None, tmp_path / "model.made")
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


TRAIN = open_data("synthetic").read("train")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (TRAIN.images[:300, :32], "uint8 of shape (300, 32, 64), expected uint8 of (n, 64, 64)"),
        (TRAIN.images[:300, None], "of shape (300, 1, 64, 64)"),
        (TRAIN.images[0], "of shape (64, 64)"),
        (TRAIN.images[:300].astype(np.float32), "are float32 of shape"),
        (TRAIN.images[:0], "needs calibration images: at least 300, not 0"),
        (TRAIN.images[:299], "at least 300, not 299"),
        (np.zeros((300, 64, 64), np.uint8), "have the one value 0"),
        (np.full((300, 64, 64), 255, np.uint8), "have the one value 255"),
    ],
)
def test_unusable_calibration_images_are_refused(images: np.ndarray, message: str) -> None:
    """Images of a wrong form, too few of them, or without contrast never calibrate."""
    with pytest.raises(InputError) as caught:
        require_usable(images)
    assert message in caught.value.message


def test_a_black_training_split_is_refused() -> None:
    """A training split whose images are all black is an error before anything is converted."""
    split = Split("train", "custom", np.zeros((400, 64, 64), np.uint8), np.zeros(400, np.uint8))
    with pytest.raises(InputError, match="have the one value 0"):
        calibration_images(split)


def test_the_contract_names_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact is told by which recipe it was made, and unusable images never reach the converter."""
    seen = []

    def convert(program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
        seen.append(contract.method)
        out.write_bytes(b"made")

    monkeypatch.setattr(base, "converter_of", lambda row: convert)
    contract, out = Contract("made-up", "int8", 0.5, "", "", "", None, "0"), tmp_path / "model.made"
    recipe = QuantizationRecipe(2, "another way")
    run(MADE_UP, tmp_path, contract, Quantization(recipe, TRAIN.images, TRAIN), out)
    assert seen == ["recipe 2: another way"]
    with pytest.raises(InputError, match="at least 300, not 5"):
        run(MADE_UP, tmp_path, contract, Quantization(recipe, TRAIN.images[:5], TRAIN), out)
    assert len(seen) == 1
