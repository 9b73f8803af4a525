"""The statistics that only the written reports show, against published examples and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import auc as area
from sklearn.metrics import roc_curve

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.metrics.metrics import auc, compute_metrics, proportion
from udacimed_edge.validation.metrics.statistics import (
    least_changes,
    least_positives,
    paired_auc,
    paired_difference,
    predictive_intervals,
    predictive_values,
    roc_points,
    threshold_curve,
)

QUICK = settings(max_examples=50, deadline=None)

TWENTIETHS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def test_predictive_values_published() -> None:
    """Altman and Bland's liver scans (1994, BMJ 309:102) have PPV 0.45 and NPV 0.95 at prevalence 0.25."""
    sensitivity, specificity = 231 / 258, 54 / 86

    assert predictive_values(sensitivity, specificity, 0.25) == pytest.approx((0.45, 0.95), abs=0.005)
    assert predictive_values(sensitivity, specificity, 258 / 344) == pytest.approx((231 / 263, 54 / 81))


@QUICK
@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_predictive_values_of_the_sample(tp: int, fn: int, tn: int, fp: int) -> None:
    """At the sample's own prevalence they are the shares counted in the sample."""
    ill, well = tp + fn, tn + fp

    ppv, npv = predictive_values(tp / ill, tn / well, ill / (ill + well))

    assert ppv == pytest.approx(tp / (tp + fp))
    assert npv == pytest.approx(tn / (tn + fn))


def test_predictive_values_without_a_call() -> None:
    """Where nobody is called positive, or nobody negative, there is no predictive value."""
    assert predictive_values(0.0, 1.0, 0.5) == (None, 0.5)
    assert predictive_values(1.0, 0.0, 0.5) == (0.5, None)


@pytest.mark.parametrize("shares", [(1.1, 0.5, 0.5), (0.5, -0.1, 0.5), (0.5, 0.5, math.nan)])
def test_impossible_shares(shares: tuple[float, float, float]) -> None:
    """A share outside 0..1 is refused."""
    with pytest.raises(InputError, match="not all shares"):
        predictive_values(*shares)


def test_paired_difference_published() -> None:
    """Cavo's 6 and 16 of 161 give the interval of Fagerland, Lydersen and Laake 2017, chapter 8."""
    # Statistical Analysis of Contingency Tables; the figures are those of its R package, contingencytables
    found = paired_difference(6, 16, 161)

    assert (found.value, found.low, found.high) == pytest.approx((-0.0621, -0.1240, -0.0054), abs=5e-5)


@QUICK
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 400))
def test_paired_difference_is_tangos(gained: int, lost: int, same: int) -> None:
    """The interval holds the difference, lies within -1..1, and turns over when the two are swapped."""
    total = gained + lost + same + 1

    found, turned = paired_difference(gained, lost, total), paired_difference(lost, gained, total)

    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_no_change_leaves_room() -> None:
    """Without any change the interval ends at z^2 / (n + z^2), the score interval of nothing in n."""
    square = 1.959963984540054**2

    found = paired_difference(0, 0, 390)

    assert found.high == pytest.approx(square / (390 + square), abs=1e-9)
    assert found.low == -found.high


@pytest.mark.parametrize(("gained", "lost", "total"), [(0, 0, 0), (-1, 0, 5), (3, 3, 5)])
def test_impossible_counts(gained: int, lost: int, total: int) -> None:
    """More changes than images, fewer than none, and no image at all are refused."""
    with pytest.raises(InputError, match="not possible"):
        paired_difference(gained, lost, total)


@pytest.mark.parametrize("significance", [0.05, 0.01, 0.001, 0.5])
def test_least_changes(significance: float) -> None:
    """So many changes to one side are significant by the exact test, and one fewer are not."""
    least = least_changes(significance)

    assert binomtest(0, least).pvalue <= significance < binomtest(0, least - 1).pvalue


@pytest.mark.parametrize(
    ("two_sided", "expected"), [(True, [183, 277, 359, 436]), (False, [149, 236, 313, 386])]
)
def test_least_positives(two_sided: bool, expected: list[int]) -> None:
    """0.98 is shown by so many positives with none, one, two and three missed, and by no fewer."""
    assert [least_positives(0.98, missed, two_sided) for missed in range(4)] == expected
    level = 0.95 if two_sided else 0.90
    for missed, count in enumerate(expected):
        enough, fewer = (
            binomtest(n - missed, n).proportion_ci(level, method="exact").low for n in (count, count - 1)
        )
        assert fewer < 0.98 <= enough


@pytest.mark.parametrize(("sensitivity", "missed"), [(0.0, 0), (1.0, 0), (math.nan, 0), (0.98, -1)])
def test_impossible_claims(sensitivity: float, missed: int) -> None:
    """No sample shows a sensitivity of 1, and none has fewer than no missed image."""
    with pytest.raises(InputError, match="no number of positives"):
        least_positives(sensitivity, missed)


def test_paired_auc_is_the_difference_and_covers_it() -> None:
    """The value is the difference of the AUCs; the interval agrees with a bootstrap of the images."""
    random = np.random.default_rng(1)
    labels = np.repeat(np.array([0, 1], np.uint8), 150)
    shared = random.normal(size=300) + 1.5 * labels
    before, after = (1 / (1 + np.exp(-shared - noise)) for noise in random.normal(0, 0.7, (2, 300)))

    found = paired_auc(labels, before, after)

    assert found.value == pytest.approx(auc(labels, after) - auc(labels, before))
    drawn = []
    for _ in range(1000):
        rows = np.concatenate([random.integers(0, 150, 150), random.integers(150, 300, 150)])
        drawn.append(auc(labels[rows], after[rows]) - auc(labels[rows], before[rows]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.004)


def test_paired_auc_of_the_same_answers() -> None:
    """Where nothing changed, the difference is nothing with certainty."""
    labels, scores = np.array([0, 0, 1, 1], np.uint8), np.array([0.1, 0.6, 0.4, 0.9])
    found = paired_auc(labels, scores, scores)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_paired_auc_needs_two_of_each() -> None:
    """One image of a class has no spread."""
    with pytest.raises(InputError, match="two images of each class"):
        paired_auc(np.array([0, 1, 1], np.uint8), np.zeros(3), np.zeros(3))


@QUICK
@given(TWENTIETHS)
def test_roc_points(rows: list[tuple[int, int]]) -> None:
    """The curve is scikit-learn's, and its area is the AUC."""
    labels = np.array([label for label, _ in rows], np.uint8)
    scores = np.array([score / 20 for _, score in rows])

    fpr, tpr = roc_points(labels, scores)

    expected = roc_curve(labels, scores)
    on_curve = np.interp(expected[0], fpr, tpr)
    assert area(fpr, tpr) == pytest.approx(auc(labels, scores))
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    vertical = np.isin(expected[0], fpr[:-1][np.diff(fpr) == 0])  # there the curve has many heights
    assert on_curve[~vertical] == pytest.approx(expected[1][~vertical])


@QUICK
@given(TWENTIETHS, st.integers(1, 19))
def test_threshold_curve(rows: list[tuple[int, int]], twentieth: int) -> None:
    """At every threshold it has the sensitivity and specificity of the metrics, ties included."""
    labels = np.array([label for label, _ in rows], np.uint8)
    scores = np.array([score / 20 for _, score in rows])

    sensitivity, specificity = threshold_curve(labels, scores, np.array([twentieth / 20]))

    expected = compute_metrics(labels, scores, twentieth / 20)
    assert sensitivity[0] == pytest.approx(expected.sensitivity.value)
    assert specificity[0] == pytest.approx(expected.specificity.value)


def test_predictive_intervals_cover() -> None:
    """Of samples drawn with known rates, at least 95 % have both true values within their intervals."""
    rng, truth = np.random.default_rng(0), predictive_values(0.97, 0.8, 0.1)
    hits = 0
    for found, cleared in zip(rng.binomial(60, 0.97, 200), rng.binomial(40, 0.8, 200), strict=True):
        rates = proportion(int(found), 60), proportion(int(cleared), 40)
        ends = predictive_intervals(*rates, 0.1)
        hits += all(e is not None and e.low <= (t or 0) <= e.high for e, t in zip(ends, truth, strict=True))
    assert hits >= 190


def test_predictive_intervals_of_nothing() -> None:
    """Where no image was measured there is no interval."""
    assert predictive_intervals(proportion(0, 0), proportion(3, 4), 0.1) == (None, None)
