"""What is said where a model does not satisfy the policy."""

from __future__ import annotations

import numpy as np
import pytest

from udacimed_edge.validation.judging.diagnosis import describe_outputs

LABELS = np.array([0, 1] * 50, np.uint8)
GOOD = np.where(LABELS == 1, 0.9, 0.1) + np.linspace(-0.05, 0.05, 100)


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        (1 - GOOD, "labels are probably swapped"),
        (np.full(100, 0.999), "All 100 images are called pneumonia"),
        (np.full(100, 0.3), "All 100 images are called normal"),
        (np.linspace(0.4, 0.41, 100), "nearly the same for every image"),
        (np.linspace(0.99991, 1, 100), "0.5, not 127.5"),
        (np.linspace(0.0, 1.0, 100), "no better than chance"),
        (GOOD, "better than chance"),
        (np.append(GOOD[:-1], np.nan), "1 of 100 answers are NaN or infinity"),
    ],
)
def test_outputs_are_described(probabilities: np.ndarray, said: str) -> None:
    """A model that fails is told how its answers look and what that hints at."""
    assert said in describe_outputs(LABELS, probabilities, 0.5)


def test_good_answers_are_not_called_swapped() -> None:
    """Nothing is hinted at that the answers do not show."""
    text = describe_outputs(LABELS, GOOD, 0.5)
    assert "swapped" not in text
    assert "nearly the same" not in text
    assert "All 100" not in text
    assert "AUC 1.000" in text
