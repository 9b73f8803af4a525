"""What to look at, and what to do next, where a model does not satisfy the policy: sentences for people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.validation.metrics.metrics import auc
from udacimed_edge.validation.report import Report

__all__ = ["describe_outputs", "way_on"]

_CHANCE = (0.4, 0.6)
"""An AUC between these says that a model cannot tell the classes; below, that it tells them the wrong way."""

_FLAT, _SATURATED = 0.05, 0.001
"""A model whose middle 90 % of probabilities lie within the one, or within the other of 0 or 1, has not seen
what it was trained on."""


def describe_outputs(labels: NDArray[np.uint8], probabilities: NDArray[np.float64], threshold: float) -> str:
    """How a source model's answers look, and what that hints at: one sentence a line.

    Args:
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia; both occur.
        probabilities: float64 of shape (n,): of pneumonia.
        threshold: The decision threshold.
    """
    finite = np.isfinite(probabilities)
    if not finite.all():
        return (
            f"{int((~finite).sum())} of {len(finite)} answers are NaN or infinity: normalisation may be wrong"
        )
    low, middle, high = np.percentile(probabilities, [5, 50, 95])
    area, called = auc(labels, probabilities), int((probabilities >= threshold).sum())
    lines = [
        f"Its probabilities of pneumonia lie between {probabilities.min():.4g} and {probabilities.max():.4g} "
        f"(median {middle:.4g}); AUC {area:.3f}."
    ]
    if called in (0, len(labels)):
        name = "pneumonia" if called else "normal"
        lines.append(f"All {len(labels)} images are called {name} at threshold {threshold:.4g}.")
    if high - low < _FLAT or low > 1 - _SATURATED or high < _SATURATED:
        lines.append(
            "They are nearly the same for every image, so the normalisation may be wrong: --mean and --std "
            "are of pixels divided by 255 (0.5, not 127.5)."
        )
    if area < _CHANCE[0]:
        lines.append(
            "An AUC far below 0.5 means that it tells the classes apart the wrong way round: the labels are "
            "probably swapped (--labels)."
        )
    elif area <= _CHANCE[1]:
        lines.append(
            "That is no better than chance: normalisation (--mean, --std), the order of the labels "
            "(--labels) or the kind of output (--output) may be wrong, or it was not trained on such images."
        )
    else:
        lines.append(
            "It ranks the images better than chance; if that is less than you know of it, normalisation "
            "(--mean, --std) or the kind of output (--output) may be wrong; else its threshold does not fit."
        )
    return "\n".join(lines)


def way_on(report: Report, recipes: int) -> str:
    """What to do with an INT8 artifact that was refused; empty for any other.

    Args:
        report: Of the artifact.
        recipes: How many recipes its format has.
    """
    if report.artifact.precision != "int8" or report.verdict != "FAIL" or not report.recipes:
        return ""
    last = report.recipes[-1]
    left = [str(number) for number in range(last.number + 1, recipes + 1)]
    if last.passed:
        lines = [
            f"Recipe {last.number} held on the validation split and the test split refuses it. What is left:"
        ]
        if left:
            lines.append(
                f"- a higher recipe: --min-recipe {left[0]} (there are {recipes}); it leaves the layers "
                "that hurt most in float or takes 16-bit activations. Once the test split has led to a "
                "choice it flatters that choice: judge on other images too."
            )
    else:
        lines = [
            f"None of the {len(report.recipes)} recipes tried holds on the validation split. What is left:"
        ]
        if left:
            lines.append(f"- the recipes above {last.number}: leave out --max-recipe.")
    if report.calibration is not None:
        few = f"{report.calibration.images} images of {report.calibration.split} calibrated it"
        lines.append(f"- more, or more varied, training images in the data: {few}.")
    lines.append("- float: --precision fp16 or fp32, larger and slower, with the source's own answers.")
    return "\n".join(lines)
