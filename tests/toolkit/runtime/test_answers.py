"""The process that answers for a file of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from udacimed_edge.runtime.answers import answer
from udacimed_edge.runtime.contract import Contract, Predictor


def test_images_are_answered_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every image is answered alone and in order, and its number is printed when it is."""
    images = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((64, 64), np.uint8)
    np.save(tmp_path / "images.npy", images)
    contract = Contract("ort", "int8", 0.5, "a test", "source", "4" * 64, None, "0")
    predictor = Predictor(contract, lambda batch: batch[:, 0, 0] / (10.0 * len(batch)), 1, "made up")
    answer(predictor, tmp_path / "images.npy", tmp_path / "answers.npy")
    assert np.load(tmp_path / "answers.npy").tolist() == [0.0, 0.1, 0.2]
    assert capsys.readouterr().out.split() == ["1", "2", "3"]
