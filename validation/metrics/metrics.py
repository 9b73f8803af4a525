"""How well a classifier finds pneumonia, and how far two classifiers agree: pure functions of arrays.

Positive means pneumonia, label 1. An image is called positive where its probability is at least the
threshold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.metrics.records import (
    Agreement,
    ChangedDecision,
    Comparison,
    Interval,
    Invariance,
    Label,
    McNemar,
    Metrics,
    Proportion,
)

__all__ = [
    "agreement",
    "auc",
    "compare",
    "compute_metrics",
    "highest_threshold",
    "invariance",
    "least_count",
    "prediction_digest",
    "proportion",
]


def proportion(successes: int, total: int) -> Proportion:
    """A proportion with its Wilson and Clopper-Pearson 95 % intervals.

    Raises:
        InputError: Not 0 <= successes <= total.
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= total:
        raise InputError(f"{successes} of {total} is not a proportion")
    if total == 0:
        return Proportion(successes=0, total=0, value=None, wilson=None, clopper_pearson=None)
    test = binomtest(successes, total)
    wilson = test.proportion_ci(0.95, method="wilson")
    exact = test.proportion_ci(0.95, method="exact")
    return Proportion(
        successes=successes,
        total=total,
        value=successes / total,
        wilson=Interval(low=float(wilson.low), high=float(wilson.high)),
        clopper_pearson=Interval(low=float(exact.low), high=float(exact.high)),
    )


def compute_metrics(
    labels: NDArray[np.uint8], probabilities: NDArray[np.float64], threshold: float
) -> Metrics:
    """Judge the answers for a whole split.

    Args:
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia.
        probabilities: float64 of shape (n,): the probability of pneumonia, 0..1.
        threshold: Strictly between 0 and 1.

    Raises:
        InputError: A probability is NaN or outside 0..1, a class is absent, or the shapes differ.
    """
    ill, scores = _checked(labels, probabilities)
    called = scores >= _checked_threshold(threshold)
    tp, fn = _count(ill & called), _count(ill & ~called)
    tn, fp = _count(~ill & ~called), _count(~ill & called)
    return Metrics(
        tp=tp,
        fn=fn,
        tn=tn,
        fp=fp,
        sensitivity=proportion(tp, tp + fn),
        specificity=proportion(tn, tn + fp),
        ppv=proportion(tp, tp + fp),
        npv=proportion(tn, tn + fn),
        accuracy=proportion(tp + tn, len(ill)),
        auc=auc(labels, probabilities),
    )


def auc(labels: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> float:
    """Area under the ROC curve: how often an ill image scores above a normal one; a tie counts half.

    The Mann-Whitney U statistic with midranks, divided by the number of pairs (Hanley and McNeil 1982,
    Radiology 143:29-36).

    Args:
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia.
        probabilities: float64 of shape (n,): the probability of pneumonia, 0..1.

    Returns:
        0..1; 0.5 where the probabilities tell nothing.

    Raises:
        InputError: A probability is NaN or outside 0..1, a class is absent, or the shapes differ.
    """
    from scipy.stats import rankdata

    ill, scores = _checked(labels, probabilities)
    positives = _count(ill)
    rank_sum = float(rankdata(scores)[ill].sum())
    u = rank_sum - positives * (positives + 1) / 2
    return u / (positives * (len(ill) - positives))


def compare(
    labels: NDArray[np.uint8],
    source: NDArray[np.float64],
    artifact: NDArray[np.float64],
    threshold: float,
    source_threshold: float | None = None,
) -> Comparison:
    """Compare an artifact's answers with its source model's, image by image.

    Args:
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia.
        source: float64 of shape (n,): the source model's probabilities of pneumonia, 0..1.
        artifact: float64 of shape (n,): the artifact's, for the same images.
        threshold: The artifact's, strictly between 0 and 1.
        source_threshold: The source model's own; None where it is the same.

    Raises:
        InputError: A probability is NaN or outside 0..1, a class is absent, or the shapes differ.
    """
    ill, before = _checked(labels, source)
    _, after = _checked(labels, artifact)
    called_after = after >= _checked_threshold(threshold)
    called_before = before >= _checked_threshold(threshold if source_threshold is None else source_threshold)
    changed = np.flatnonzero(called_before != called_after)
    difference = np.abs(before - after)
    return Comparison(
        changed=tuple(
            ChangedDecision(
                index=int(i),
                label=_label(ill[i]),
                source=_label(called_before[i]),
                artifact=_label(called_after[i]),
                source_probability=float(before[i]),
                artifact_probability=float(after[i]),
            )
            for i in changed
        ),
        agreement=(len(ill) - len(changed)) / len(ill),
        mcnemar_positives=_mcnemar(called_before[ill], called_after[ill]),
        mcnemar_negatives=_mcnemar(~called_before[~ill], ~called_after[~ill]),
        max_probability_difference=float(difference.max()),
        mean_probability_difference=float(difference.mean()),
    )


def invariance(runs: Sequence[NDArray[np.float64]], threshold: float) -> Invariance:
    """Compare one artifact's answers for the same images in several runs or batch sizes.

    Args:
        runs: Two or more arrays, float64 of shape (n,): probabilities of pneumonia, 0..1.
        threshold: Strictly between 0 and 1.

    Raises:
        InputError: Fewer than two runs, different shapes, or a probability is NaN or outside 0..1.
    """
    checked = [_checked_probabilities(run) for run in runs]
    if len(checked) < 2 or len({run.shape for run in checked}) > 1:
        raise InputError("invariance takes two or more runs over the same images")
    scores = np.stack(checked)
    called = scores >= _checked_threshold(threshold)
    return Invariance(
        max_difference=float(np.ptp(scores, axis=0).max()),
        flips=_count(np.asarray(called.any(axis=0) & ~called.all(axis=0))),
    )


def agreement(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], threshold: float, their_threshold: float
) -> Agreement:
    """How far two ways of answering the same images agree, each decided at its own threshold.

    Args:
        ours: float64 of shape (n,), n at least 1: probabilities of pneumonia; one that is not finite differs.
        theirs: float64 of shape (n,), 0..1.
        threshold: Ours, strictly between 0 and 1.
        their_threshold: Theirs.

    Raises:
        InputError: The shapes differ, a threshold is not in 0..1, or one of theirs is no probability.
    """
    known = _checked_probabilities(theirs)
    if ours.shape != known.shape:
        raise InputError(f"{ours.shape} answers cannot be compared with {known.shape}")
    finite = np.isfinite(ours)
    differ = (ours >= _checked_threshold(threshold)) != (known >= _checked_threshold(their_threshold))
    moved = np.abs(np.where(finite, ours, 0) - known)
    return Agreement(
        images=len(known),
        changed=_count(np.asarray(differ | ~finite)),
        max_difference=float(np.where(finite, moved, 1).max()),
    )


def least_count(share: float, total: int) -> int:
    """The smallest count whose share of `total` is at least `share`; 383 for 0.98 of 390.

    No rounding error can creep in: the division is rounded to the nearest double, as `share` itself was.

    Raises:
        InputError: `share` is NaN or outside 0..1, or `total` is not positive.
    """
    if not 0 <= share <= 1 or total < 1:
        raise InputError(f"a share of {share} of {total} cannot be reached")
    return next(count for count in range(total + 1) if count / total >= share)


def highest_threshold(
    labels: NDArray[np.uint8], probabilities: NDArray[np.float64], sensitivity: float
) -> float:
    """The highest threshold at which sensitivity on these data is at least the given one.

    It is placed halfway between the lowest positive score that it accepts and the next lower score of any
    image (0 where there is none). Every threshold above that lower score and up to the accepted one makes
    the same decisions here; the middle is where a rounding difference is least likely to flip one.

    Args:
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia.
        probabilities: float64 of shape (n,): the probability of pneumonia, 0..1.
        sensitivity: To be reached, 0 < sensitivity <= 1.

    Returns:
        Strictly between 0 and 1.

    Raises:
        InputError: A probability is NaN or outside 0..1, a class is absent, the shapes differ, all
            probabilities are equal, or no threshold strictly between 0 and 1 does it.
    """
    ill, scores = _checked(labels, probabilities)
    if not 0 < sensitivity <= 1:
        raise InputError(f"a sensitivity of {sensitivity} cannot be asked for: 0 < sensitivity <= 1")
    if scores.min() == scores.max():
        raise InputError(f"all {len(scores)} probabilities are {scores[0]}: no threshold separates them")
    accepted = float(np.sort(scores[ill])[-least_count(sensitivity, _count(ill))])
    lower = float(scores[scores < accepted].max(initial=0.0))
    middle = (lower + accepted) / 2
    threshold = middle if middle > lower else accepted  # neighbouring doubles have nothing between them
    if not 0 < threshold < 1:
        raise InputError(
            f"the probabilities lie too close to {threshold:g}: no threshold strictly between 0 and 1 has "
            f"a sensitivity of {sensitivity} and accepts no more images than it must"
        )
    return threshold


def prediction_digest(probabilities: NDArray[np.float64]) -> str:
    """SHA-256 of the probabilities in units of 1e-4, each as a little-endian 32-bit integer.

    Equal digests show: as many images, in the same order, and every probability the same to within 1e-4.
    They do not show which model, bytes or images gave them. Different digests do not show that a decision
    differs: a probability beside the middle of a unit rounds either way with its last bit.

    Args:
        probabilities: float64 of shape (n,), values 0..1.

    Returns:
        64 hex digits.

    Raises:
        InputError: A probability is NaN or outside 0..1, or there is none.
    """
    units = np.rint(_checked_probabilities(probabilities) * 10_000).astype("<i4")
    return hashlib.sha256(units.tobytes()).hexdigest()


def _mcnemar(source_correct: NDArray[np.bool_], artifact_correct: NDArray[np.bool_]) -> McNemar:
    from scipy.stats import binomtest

    source_only = _count(source_correct & ~artifact_correct)
    artifact_only = _count(artifact_correct & ~source_correct)
    changed = source_only + artifact_only
    p_value = float(binomtest(source_only, changed, 0.5).pvalue) if changed else 1.0
    return McNemar(only_source_correct=source_only, only_artifact_correct=artifact_only, p_value=p_value)


def _checked(
    labels: NDArray[np.uint8], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which images show pneumonia, and their scores, both known to be usable."""
    scores = _checked_probabilities(probabilities)
    given = np.asarray(labels)
    if given.shape != scores.shape:
        raise InputError(f"labels of shape {given.shape} do not fit probabilities of shape {scores.shape}")
    if not np.isin(given, (0, 1)).all():
        raise InputError("labels must be 0 (normal) or 1 (pneumonia)")
    ill: NDArray[np.bool_] = given == 1
    if ill.all() or not ill.any():
        raise InputError("the images must show both classes, normal and pneumonia")
    return ill, scores


def _checked_probabilities(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    # float64 also for a float32 caller: NumPy would round the threshold to float32 before comparing.
    scores = np.asarray(probabilities, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise InputError(f"probabilities must be one number an image, got shape {scores.shape}")
    usable = (scores >= 0) & (scores <= 1)  # False for NaN
    if not usable.all():
        raise InputError(f"{_count(~usable)} of {scores.size} probabilities are not between 0 and 1")
    return scores


def _checked_threshold(threshold: float) -> float:
    if not 0 < threshold < 1:
        raise InputError(f"the threshold {threshold} is not strictly between 0 and 1")
    return threshold


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _label(ill: np.bool_) -> Label:
    return "pneumonia" if ill else "normal"
