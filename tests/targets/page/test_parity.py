"""The page's decoders give the device's pixels, warnings and sentences."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def load() -> ModuleType:
    """The script beside this file."""
    spec = importlib.util.spec_from_file_location("page_parity", Path(__file__).with_name("parity.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_parity"] = module
    spec.loader.exec_module(module)
    return module


parity = load()


def test_random_files_of_every_kind() -> None:
    """150 random files give the same in the page's decoders as on the device."""
    pytest.importorskip("pydicom")
    if not parity.CODEC.exists():
        pytest.skip("the npm packages are not installed: npm ci in targets/page")
    tally, lines = parity.compare(150, seed=3)
    assert lines == []
    assert {kind for kind, found in tally if found == "equal"} >= {"png", "jpeg", "bmp", "dicom"}


def test_the_comparison_can_fail() -> None:
    """Other pixels, warnings, sentences and refusals are told apart."""
    answer = parity.Answer
    good = answer(b"a", ("odd",), "")
    assert parity.verdict(good, good) == "equal"
    assert parity.verdict(good, answer(b"b", ("odd",), "")) == "other pixels"
    assert parity.verdict(good, answer(b"a", (), "")) == "other warnings"
    assert parity.verdict(good, answer(b"", (), "it is empty")) == "one refuses"
    assert parity.verdict(answer(b"", (), "it is empty"), good) == "one refuses"
    assert parity.verdict(answer(b"", (), "it is empty"), answer(b"", (), "no")) == "other sentence"
    damaged = [answer(b"", (), f"it is a damaged PNG image: {reason}") for reason in ("this", "that")]
    assert parity.verdict(*damaged) == "equal"
    assert parity.verdict(good, answer(b"", (), parity.NOT_HERE[0])) == "refused"


def test_the_files_are_the_same_for_the_same_seed() -> None:
    """A seed gives the same files again, another seed others."""
    first, again, other = (list(parity.files(5, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_written_png_is_what_pillow_reads() -> None:
    """The generator's own PNG files are whole: Pillow calls none damaged, and most are radiographs."""
    rng = np.random.default_rng(0)
    answers = [parity.by_device(parity.png(rng)) for _ in range(60)]
    assert not any("damaged" in one.error for one in answers)
    assert sum(not one.error for one in answers) > 30
