"""What is said where a model does not satisfy the policy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from udacimed_edge.validation.judging.diagnosis import describe_outputs, way_on
from udacimed_edge.validation.report import Report

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


def int8_report(passed: bool, verdict: str = "FAIL") -> SimpleNamespace:
    """As much of a report as the way on is read from."""
    return SimpleNamespace(
        verdict=verdict,
        artifact=SimpleNamespace(precision="int8", format="ort"),
        recipes=[SimpleNamespace(number=1, passed=passed)],
        calibration=SimpleNamespace(images=320, split="train"),
    )


@pytest.mark.parametrize(
    ("passed", "recipes", "said"),
    [
        (True, 3, "--min-recipe 2"),
        (True, 3, "flatters that choice"),
        (True, 1, "--precision fp16 or fp32"),
        (False, 3, "leave out --max-recipe"),
        (False, 1, "320 images of train calibrated it"),
    ],
)
def test_int8_that_was_refused_has_a_way_on(passed: bool, recipes: int, said: str) -> None:
    """A refused INT8 artifact is told which recipes, images and precisions are left."""
    text = way_on(cast(Report, int8_report(passed)), recipes)
    assert said in text
    assert "--min-recipe 2" not in way_on(cast(Report, int8_report(passed)), 1)


def test_what_passed_needs_no_way_on() -> None:
    """Nothing is advised where nothing was refused."""
    assert way_on(cast(Report, int8_report(True, "PASS")), 3) == ""
