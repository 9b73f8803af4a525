"""Files that broke a reader once, and what becomes of each now."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from udacimed_edge.core.errors import EdgeError, InputError
from udacimed_edge.runtime.image import ImageError
from udacimed_edge.runtime.image import load as load_image
from udacimed_edge.source.load import SourceOptions, load_source
from udacimed_edge.source.spec import read_spec
from udacimed_edge.validation.judging.external import read_predictions
from udacimed_edge.validation.report import read_report

CASES = Path(__file__).parent / "cases"
FUZZ = Path(__file__).parent.parent.parent / "examples" / "fuzz.py"
STATED = SourceOptions((0.5,), (0.5,), ("normal", "pneumonia"), 0.5)


def test_a_card_with_a_key_twice_is_refused() -> None:
    """Of two equal keys one reader takes the first and another the last: neither is taken."""
    with pytest.raises(InputError, match="stands twice"):
        read_spec(CASES / "card-dup.json")


def test_a_report_nested_without_end_is_refused() -> None:
    """A report that is nothing but brackets is bad input, not a defect."""
    with pytest.raises(InputError, match="nested deeper than"):
        read_report(CASES / "report-deep.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pred-0d.npz", "do not fit together"),
        ("pred-huge-index.csv", "line 4: '.*' is not a row of numbers"),
        ("pred-underscore.csv", "'.*' is not a row of numbers"),
    ],
)
def test_predictions_that_are_no_numbers_are_refused(name: str, message: str) -> None:
    """An array without rows, an index beyond 64 bits and digits with an underscore are named."""
    with pytest.raises(InputError, match=message) as caught:
        read_predictions(CASES / name, 2)
    assert caught.value.exit_code == 3


def test_functions_that_call_functions_are_counted_before_they_are_written_out() -> None:
    """34 kB that would grow to more operators than memory holds are refused within seconds."""
    started = time.process_time()
    with pytest.raises(InputError, match="more than 20,000 operators"):
        load_source(CASES / "onnx-function-bomb.onnx", STATED)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("name", ["chunk_leg.onnx", "view_size0_leg.onnx"])
def test_sound_models_still_load(name: str) -> None:
    """What no bound is meant for passes all of them."""
    assert load_source(CASES / name, STATED).threshold == 0.5


def test_a_pointer_instead_of_a_model_is_refused() -> None:
    """A file that is no model at all is bad input."""
    with pytest.raises(InputError, match=r"cannot be used|Git LFS"):
        load_source(CASES / "lfs_pointer.pth", STATED)


def test_a_picture_of_one_pixel_is_read_or_refused() -> None:
    """It never ends in an error that is not meant for people."""
    try:
        pixels = load_image(CASES / "sp-1x1.png").pixels
    except ImageError:
        return
    assert pixels.shape == (64, 64)


def test_no_reader_fails_on_any_case() -> None:
    """Every reader answers every case with a result or a reason: 20 s of processor and 1 GiB at the most."""
    done = subprocess.run(
        [sys.executable, str(FUZZ), "--walk", str(CASES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["problems"] == []
    assert told["readings"] >= 14 * len(list(CASES.iterdir()))
    assert told["seconds"] < 20
    assert told["mib"] < 1024


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    """What has no end is refused at once, whatever would read it."""
    import os

    for name in ("model.onnx", "model.json", "model.npz", "model.csv"):
        os.mkfifo(tmp_path / name)
    readers = [
        lambda: load_source(tmp_path / "model.onnx", STATED),
        lambda: read_spec(tmp_path / "model.json"),
        lambda: read_report(tmp_path / "model.json"),
        lambda: read_predictions(tmp_path / "model.csv", 2),
        lambda: read_predictions(tmp_path / "model.npz", 2),
    ]
    for read in readers:
        with pytest.raises(EdgeError):
            read()


def test_a_file_far_too_large_is_not_read(tmp_path: Path) -> None:
    """A sparse file of 20 GiB is refused by its size, before anything is hashed."""
    started = time.process_time()
    for suffix in (".onnx", ".pth", ".pt2", ".safetensors"):
        path = tmp_path / f"model{suffix}"
        with path.open("wb") as stream:
            stream.truncate(20 << 30)
        with pytest.raises(InputError, match=r"weighs 20\.0 GiB"):
            load_source(path, STATED)
    assert time.process_time() - started < 5
