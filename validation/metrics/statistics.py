"""What a reader's clinic may expect, and how far two classifiers may differ: pure functions of counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.metrics.records import Interval, Proportion, Record

__all__ = [
    "PairedDifference",
    "least_changes",
    "least_positives",
    "paired_auc",
    "paired_difference",
    "predictive_intervals",
    "predictive_values",
    "roc_points",
    "threshold_curve",
]

_Z = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""


class PairedDifference(Record):
    """How much larger a share or an AUC became, measured on the same images before and after.

    Attributes:
        value: After less before, -1..1.
        low: Lower end of the 95 % interval, -1..1.
        high: Upper end of the 95 % interval, -1..1.
    """

    value: float
    low: float
    high: float


def predictive_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float | None, float | None]:
    """PPV and NPV where another share of the patients is ill, by Bayes' theorem.

    They hold only if sensitivity and specificity are the same there (Altman and Bland 1994, BMJ 309:102).

    Args:
        sensitivity: 0..1.
        specificity: 0..1.
        prevalence: Share of those examined who are ill, 0..1.

    Returns:
        PPV and NPV, each 0..1; None where nobody would be called positive, or nobody negative.

    Raises:
        InputError: One of the three is NaN or outside 0..1.
    """
    if not all(0 <= share <= 1 for share in (sensitivity, specificity, prevalence)):
        raise InputError(f"not all shares of 0..1: {sensitivity}, {specificity}, {prevalence}")
    found, missed = prevalence * sensitivity, prevalence * (1 - sensitivity)
    cleared, alarmed = (1 - prevalence) * specificity, (1 - prevalence) * (1 - specificity)
    return _share(found, alarmed), _share(cleared, missed)


def predictive_intervals(
    sensitivity: Proportion, specificity: Proportion, prevalence: float
) -> tuple[Interval | None, Interval | None]:
    """Intervals of PPV and NPV at a prevalence, which cover both with at least 95 %.

    Both grow with sensitivity and with specificity, so their ends follow from the ends of these two. Each of
    the two has an exact interval of 97.5 %: together they cover at least 95 % (Bonferroni).

    Args:
        sensitivity: As it was measured.
        specificity: Likewise.
        prevalence: Share of those examined who are ill, 0..1.

    Returns:
        Of PPV and of NPV; None where it has no value at an end, or nothing was measured.
    """
    if not sensitivity.total or not specificity.total:
        return None, None
    (low_a, high_a), (low_b, high_b) = _exact(sensitivity), _exact(specificity)
    lower, upper = (predictive_values(*rates, prevalence) for rates in ((low_a, low_b), (high_a, high_b)))
    ppv, npv = (
        None if low is None or high is None else Interval(low=low, high=high)
        for low, high in zip(lower, upper, strict=True)
    )
    return ppv, npv


def _exact(found: Proportion) -> tuple[float, float]:
    """The ends of the exact 97.5 % interval (Clopper and Pearson 1934)."""
    from scipy.stats import binomtest

    ends = binomtest(found.successes, found.total).proportion_ci(0.975, method="exact")
    return float(ends.low), float(ends.high)


def _share(part: float, rest: float) -> float | None:
    return part / (part + rest) if part + rest > 0 else None


def paired_difference(gained: int, lost: int, total: int) -> PairedDifference:
    """The difference between two shares of the same images, with Tango's 95 % score interval.

    The interval is the set of differences d with |b - c - n d| <= z sqrt(n (2 q + d (1 - d))), where q is
    the likelihood's choice of the share lost, given d (Tango 1998, Stat. Med. 17:891-908, equations 15-19).

    Args:
        gained: Images that only the second classifier decides correctly, b.
        lost: Images that only the first decides correctly, c.
        total: All images, n.

    Raises:
        InputError: There is no image, a count is negative, or more changed than there are.
    """
    if total < 1 or min(gained, lost) < 0 or gained + lost > total:
        raise InputError(f"{gained} gained and {lost} lost of {total} images are not possible")
    value = (gained - lost) / total
    # counted the other way round, the upper end is the lower end with its sign changed
    return PairedDifference(
        value=value, low=-_upper_end(lost, gained, total), high=_upper_end(gained, lost, total)
    )


def _upper_end(b: int, c: int, n: int) -> float:
    """The largest difference that Tango's score test does not reject, by bisection."""
    inside, outside = (b - c) / n, 1.0
    while outside - inside > 1e-12:
        middle = (inside + outside) / 2
        if _rejects(middle, b, c, n):
            outside = middle
        else:
            inside = middle
    return inside


def _rejects(d: float, b: int, c: int, n: int) -> bool:
    linear = -b - c + (2 * n - b + c) * d
    root = math.sqrt(max(0.0, linear**2 + 8 * n * c * d * (1 - d)))
    q = (root - linear) / (4 * n)
    return (b - c - n * d) ** 2 > _Z**2 * n * max(0.0, 2 * q + d * (1 - d))


def least_changes(significance: float = 0.05) -> int:
    """Changed decisions, all to one side, below which the exact McNemar test cannot reach a significance.

    k of them have the two-sided p-value 2 / 2**k: 6 for 0.05, whatever the number of images.

    Args:
        significance: 0 < significance < 1.
    """
    return 1 + math.ceil(math.log2(1 / significance))


def least_positives(sensitivity: float, missed: int, two_sided: bool = True) -> int:
    """How many positives a study needs to show a sensitivity with 95 % confidence.

    So many that the lower end of the exact (Clopper-Pearson) interval reaches it: for 0.98 two-sided, as in
    every report, 183 with none missed, 277 with one; one-sided 149 and 236.

    Args:
        sensitivity: To be shown, 0 < sensitivity < 1.
        missed: Positives that the classifier misses.
        two_sided: Whether the bound is the lower end of a two-sided interval; else a one-sided one.

    Raises:
        InputError: Sensitivity out of range, or a negative count.
    """
    from scipy.stats import beta

    if not 0 < sensitivity < 1 or missed < 0:
        raise InputError(f"no number of positives shows {sensitivity} with {missed} missed")
    tail = 0.025 if two_sided else 0.05
    low, high = missed, missed + 1  # low is too few
    while beta.ppf(tail, high - missed, missed + 1) < sensitivity:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = beta.ppf(tail, middle - missed, missed + 1) >= sensitivity
        low, high = (low, middle) if enough else (middle, high)
    return high


def paired_auc(
    labels: NDArray[np.uint8], before: NDArray[np.float64], after: NDArray[np.float64]
) -> PairedDifference:
    """How much the AUC grew on the same images, with DeLong's 95 % interval.

    DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837-845: the variance comes from each image's
    share of the pairs that it is ranked correctly in.

    Args:
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia, at least two of each.
        before: float64 of shape (n,): the first classifier's probabilities of pneumonia.
        after: float64 of shape (n,): the second's.

    Raises:
        InputError: Fewer than two images of a class.
    """
    if min(np.sum(labels == 0), np.sum(labels == 1)) < 2:
        raise InputError("an interval for the AUC needs two images of each class")
    pairs = _pairs(labels, after) - _pairs(labels, before)
    ill, normal = pairs.mean(1), pairs.mean(0)
    value = float(pairs.mean())
    error = math.sqrt(ill.var(ddof=1) / len(ill) + normal.var(ddof=1) / len(normal))
    return PairedDifference(value=value, low=value - _Z * error, high=value + _Z * error)


def _pairs(labels: NDArray[np.uint8], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where an ill image (row) scores above a normal one (column), 0.5 where they tie, else 0."""
    ill, normal = scores[labels == 1, None], scores[None, labels == 0]
    pairs: NDArray[np.float64] = (ill > normal) + 0.5 * (ill == normal)
    return pairs


def roc_points(
    labels: NDArray[np.uint8], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ROC curve's corners, from (0, 0) to (1, 1); equal probabilities make one step.

    Args:
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia, both present.
        probabilities: float64 of shape (n,): the probability of pneumonia, 0..1.

    Returns:
        False positive rates and true positive rates, each float64 of shape (k,), values 0..1, rising.
    """
    order = np.argsort(-probabilities, kind="stable")
    ill, scores = labels[order] == 1, probabilities[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    tpr = np.append(0.0, np.cumsum(ill)[last] / ill.sum())
    fpr = np.append(0.0, np.cumsum(~ill)[last] / (~ill).sum())
    bend = np.ones(len(tpr), dtype=bool)  # a point on the straight line between its neighbours says nothing
    bend[1:-1] = np.diff(fpr)[:-1] * np.diff(tpr)[1:] != np.diff(fpr)[1:] * np.diff(tpr)[:-1]
    return fpr[bend], tpr[bend]


def threshold_curve(
    labels: NDArray[np.uint8], probabilities: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sensitivity and specificity at each of several thresholds.

    Args:
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia, both present.
        probabilities: float64 of shape (n,): the probability of pneumonia, 0..1.
        thresholds: float64 of shape (k,), 0..1.

    Returns:
        Sensitivities and specificities, each float64 of shape (k,), values 0..1.
    """
    ill, normal = (np.sort(probabilities[labels == label]) for label in (1, 0))
    sensitivity = 1 - np.searchsorted(ill, thresholds, side="left") / len(ill)
    specificity = np.searchsorted(normal, thresholds, side="left") / len(normal)
    return sensitivity, specificity
