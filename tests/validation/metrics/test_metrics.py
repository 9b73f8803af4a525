"""The statistics of a report, against published examples and scikit-learn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.stats import binom
from sklearn.metrics import confusion_matrix, roc_auc_score

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.metrics.metrics import (
    agreement,
    auc,
    compare,
    compute_metrics,
    highest_threshold,
    invariance,
    least_count,
    prediction_digest,
    proportion,
)
from udacimed_edge.validation.metrics.records import Comparison, Interval, Invariance, Metrics

Labels = NDArray[np.uint8]
Scores = NDArray[np.float64]

QUICK = settings(max_examples=50, deadline=None)

# Twentieths make many ties; the other floats reach neighbouring doubles and the ends of the range.
PROBABILITY = st.integers(0, 20).map(lambda n: n / 20) | st.floats(0, 1)
THRESHOLD = st.floats(0, 1, exclude_min=True, exclude_max=True) | st.integers(1, 19).map(lambda n: n / 20)


@st.composite
def splits(draw: st.DrawFn, columns: int = 1) -> tuple[Labels, list[Scores]]:
    """Labels of both classes and as many columns of probabilities."""
    row = st.tuples(st.integers(0, 1), *[PROBABILITY] * columns)
    rows = draw(st.lists(row, min_size=2, max_size=30))
    labels = np.array([r[0] for r in rows], dtype=np.uint8)
    assume(0 < labels.sum() < len(labels))
    return labels, [np.array([r[i] for r in rows], dtype=np.float64) for i in range(1, columns + 1)]


def scores(*values: float) -> Scores:
    """Probabilities."""
    return np.array(values, dtype=np.float64)


def labels_of(*values: int) -> Labels:
    """Labels."""
    return np.array(values, dtype=np.uint8)


class TestProportion:
    """A count with its two intervals."""

    @pytest.mark.parametrize(
        ("successes", "total", "wilson", "exact"),
        [
            (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
            (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
            (0, 20, (0.0000, 0.1611), (0.0000, 0.1684)),
            (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
        ],
    )
    def test_intervals_published(
        self, successes: int, total: int, wilson: tuple[float, float], exact: tuple[float, float]
    ) -> None:
        """Both intervals are those of Newcombe 1998 (Stat. Med. 17:857-872), table I, methods 3 and 5."""
        found = proportion(successes, total)

        assert found.value == successes / total
        assert (found.successes, found.total) == (successes, total)
        assert found.wilson is not None
        assert found.clopper_pearson is not None
        assert (found.wilson.low, found.wilson.high) == pytest.approx(wilson, abs=5e-5)
        assert (found.clopper_pearson.low, found.clopper_pearson.high) == pytest.approx(exact, abs=5e-5)

    @QUICK
    @given(total=st.integers(1, 700), share=st.floats(0, 1))
    def test_exact_tails(self, total: int, share: float) -> None:
        """At each end of the exact interval the count found, or one further out, has a chance of 2.5 %."""
        successes = round(share * total)

        exact = proportion(successes, total).clopper_pearson

        assert exact is not None
        if successes > 0:
            assert binom.sf(successes - 1, total, exact.low) == pytest.approx(0.025, rel=1e-6)
        if successes < total:
            assert binom.cdf(successes, total, exact.high) == pytest.approx(0.025, rel=1e-6)

    @QUICK
    @given(total=st.integers(1, 700), share=st.floats(0, 1))
    def test_intervals_hold_the_value(self, total: int, share: float) -> None:
        """Both intervals lie within 0..1 and hold the value, also at its ends."""
        found = proportion(round(share * total), total)

        for interval in (found.wilson, found.clopper_pearson):
            assert interval is not None
            assert found.value is not None
            assert 0 <= interval.low <= found.value <= interval.high <= 1

    def test_no_trials(self) -> None:
        """Where there was no trial there is neither a value nor an interval."""
        found = proportion(0, 0)

        assert (found.successes, found.total) == (0, 0)
        assert (found.value, found.wilson, found.clopper_pearson) == (None, None, None)

    @pytest.mark.parametrize(("successes", "total"), [(-1, 3), (4, 3), (1, 0), (0, -1)])
    def test_impossible(self, successes: int, total: int) -> None:
        """More successes than trials, or fewer than none, are refused."""
        with pytest.raises(InputError, match="not a proportion"):
            proportion(successes, total)


class TestComputeMetrics:
    """One classifier on one split."""

    def test_example(self) -> None:
        """Each figure is the quotient of the counts that its definition names."""
        labels = labels_of(1, 1, 1, 1, 1, 0, 0, 0)
        found = compute_metrics(labels, scores(0.9, 0.8, 0.7, 0.6, 0.1, 0.2, 0.3, 0.6), 0.5)

        assert (found.tp, found.fn, found.tn, found.fp) == (4, 1, 2, 1)
        assert (found.sensitivity.successes, found.sensitivity.total) == (4, 5)
        assert (found.specificity.successes, found.specificity.total) == (2, 3)
        assert (found.ppv.successes, found.ppv.total) == (4, 5)
        assert (found.npv.successes, found.npv.total) == (2, 3)
        assert (found.accuracy.successes, found.accuracy.total) == (6, 8)
        assert found.auc == pytest.approx(11.5 / 15)

    def test_ppv_and_npv_differ_from_sensitivity_and_specificity(self) -> None:
        """Predictive values are shares of the decisions, not of the labels."""
        found = compute_metrics(labels_of(1, 1, 0, 0, 0, 0), scores(0.9, 0.9, 0.9, 0.9, 0.9, 0.1), 0.5)

        assert (found.sensitivity.value, found.specificity.value) == (1.0, 1 / 4)
        assert (found.ppv.value, found.npv.value) == (2 / 5, 1.0)

    def test_threshold_is_inclusive(self) -> None:
        """A probability equal to the threshold is called positive and the next lower double is not."""
        found = compute_metrics(labels_of(1, 1, 0), scores(0.3, np.nextafter(0.3, 0), 0.0), 0.3)

        assert (found.tp, found.fn) == (1, 1)

    def test_float32_scores(self) -> None:
        """Probabilities in float32 are compared with the threshold as given, not rounded to float32."""
        single = np.array([0.3, 0.1], dtype=np.float32)  # 0.3 becomes 0.30000001192...
        threshold = 0.300000012
        assert (single >= threshold).any()

        assert compute_metrics(labels_of(1, 0), single, threshold).tp == 0  # type: ignore[arg-type]

    def test_nothing_called_positive(self) -> None:
        """The predictive value of a decision that was never made has no value."""
        found = compute_metrics(labels_of(1, 0), scores(0.1, 0.1), 0.5)

        assert found.ppv.value is None
        assert found.npv.value == 0.5

    @QUICK
    @given(split=splits(), threshold=THRESHOLD)
    def test_counts(self, split: tuple[Labels, list[Scores]], threshold: float) -> None:
        """The counts are scikit-learn's confusion matrix and add up to the split."""
        labels, (probabilities,) = split

        found = compute_metrics(labels, probabilities, threshold)

        expected = confusion_matrix(labels, probabilities >= threshold, labels=[0, 1])
        assert [[found.tn, found.fp], [found.fn, found.tp]] == expected.tolist()
        assert found.sensitivity.total == labels.sum()
        assert found.sensitivity.total + found.specificity.total == found.accuracy.total == len(labels)
        assert found.ppv.total + found.npv.total == len(labels)

    @QUICK
    @given(split=splits(), threshold=THRESHOLD)
    def test_stored_whole(self, split: tuple[Labels, list[Scores]], threshold: float) -> None:
        """What is read back from JSON equals what was written."""
        labels, (probabilities,) = split
        found = compute_metrics(labels, probabilities, threshold)

        assert Metrics.model_validate_json(found.model_dump_json()) == found

    @pytest.mark.parametrize(
        ("labels", "probabilities", "message"),
        [
            (labels_of(0, 1), scores(0.5, np.nan), "1 of 2 probabilities"),
            (labels_of(0, 1), scores(np.inf, -np.inf), "2 of 2 probabilities"),
            (labels_of(0, 1), scores(0.5, -0.1), "1 of 2 probabilities"),
            (labels_of(0, 1), scores(0.5, 1.1), "1 of 2 probabilities"),
            (labels_of(1, 1), scores(0.5, 0.6), "both classes"),
            (labels_of(0, 0), scores(0.5, 0.6), "both classes"),
            (labels_of(0, 2), scores(0.5, 0.6), "0 .normal. or 1 .pneumonia."),
            (labels_of(0, 1, 1), scores(0.5, 0.6), "do not fit"),
            (labels_of(), scores(), "one number an image"),
            (labels_of(0, 1), np.array([[0.5], [0.6]]), "one number an image"),
        ],
    )
    def test_unusable(self, labels: Labels, probabilities: Scores, message: str) -> None:
        """Arrays that cannot be judged are refused with what is wrong, by all that takes them."""
        for call in (
            lambda: compute_metrics(labels, probabilities, 0.5),
            lambda: auc(labels, probabilities),
            lambda: highest_threshold(labels, probabilities, 0.9),
            lambda: compare(labels, probabilities, probabilities, 0.5),
        ):
            with pytest.raises(InputError, match=message):
                call()

    @pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 1.5, np.nan])
    def test_threshold_outside(self, threshold: float) -> None:
        """A threshold that is not strictly between 0 and 1 is refused."""
        labels, probabilities = labels_of(0, 1), scores(0.4, 0.6)
        for call in (
            lambda: compute_metrics(labels, probabilities, threshold),
            lambda: compare(labels, probabilities, probabilities, threshold),
            lambda: invariance([probabilities, probabilities], threshold),
        ):
            with pytest.raises(InputError, match="strictly between 0 and 1"):
                call()


class TestAuc:
    """Area under the ROC curve."""

    def test_published(self) -> None:
        """The CT ratings of Hanley and McNeil 1982 (Radiology 143:29-36), table I, give their 0.893."""
        normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
        ratings = np.repeat(np.tile(np.arange(1, 6) / 5, 2), normal + abnormal)
        labels = np.repeat([0, 1], [sum(normal), sum(abnormal)]).astype(np.uint8)

        assert auc(labels, ratings) == pytest.approx(0.893, abs=5e-4)

    @QUICK
    @given(split=splits())
    def test_scikit_learn(self, split: tuple[Labels, list[Scores]]) -> None:
        """It equals scikit-learn's, ties included."""
        labels, (probabilities,) = split

        assert auc(labels, probabilities) == pytest.approx(roc_auc_score(labels, probabilities), abs=1e-12)

    @QUICK
    @given(split=splits())
    def test_symmetric(self, split: tuple[Labels, list[Scores]]) -> None:
        """Swapping the classes gives what is missing to 1."""
        labels, (probabilities,) = split

        swapped = auc((1 - labels).astype(np.uint8), probabilities)

        assert auc(labels, probabilities) + swapped == pytest.approx(1, abs=1e-12)


class TestCompare:
    """Artifact against source model."""

    def test_example(self) -> None:
        """Every changed decision is listed with what changed, and no other image is."""
        found = compare(
            labels_of(1, 0, 1, 0), scores(0.9, 0.2, 0.6, 0.5), scores(0.8, 0.3, 0.2, 0.5), threshold=0.5
        )

        (changed,) = found.changed
        assert (changed.index, changed.label) == (2, "pneumonia")
        assert (changed.source, changed.artifact) == ("pneumonia", "normal")
        assert (changed.source_probability, changed.artifact_probability) == (0.6, 0.2)
        assert found.agreement == 0.75
        assert found.max_probability_difference == pytest.approx(0.4)
        assert found.mean_probability_difference == pytest.approx(0.6 / 4)
        assert found.mcnemar_positives.only_source_correct == 1
        assert found.mcnemar_negatives.only_source_correct == 0

    def test_false_alarms(self) -> None:
        """On normal images it is the classifier that says "normal" which is correct."""
        found = compare(labels_of(1, 0, 0), scores(0.9, 0.1, 0.9), scores(0.9, 0.9, 0.1), threshold=0.5)

        assert [(c.label, c.source, c.artifact) for c in found.changed] == [
            ("normal", "normal", "pneumonia"),
            ("normal", "pneumonia", "normal"),
        ]
        assert (found.mcnemar_negatives.only_source_correct, found.mcnemar_negatives.p_value) == (1, 1.0)
        assert found.mcnemar_positives.only_source_correct == 0

    def test_mcnemar_published(self) -> None:
        """Discordant counts of 1 and 7 give the p = 0.0703 of Fagerland, Lydersen and Laake 2013, table 1."""
        # BMC Medical Research Methodology 13:91; the children's data are from Bentur et al. 2009.
        source = np.repeat([0.9, 0.9, 0.1, 0.1, 0.1], [1, 1, 7, 12, 1])
        artifact = np.repeat([0.9, 0.1, 0.9, 0.1, 0.1], [1, 1, 7, 12, 1])
        labels = np.repeat([1, 0], [21, 1]).astype(np.uint8)

        found = compare(labels, source, artifact, threshold=0.5).mcnemar_positives

        assert (found.only_source_correct, found.only_artifact_correct) == (1, 7)
        assert found.p_value == pytest.approx(0.0703125, abs=1e-12)

    @QUICK
    @given(split=splits(columns=2), threshold=THRESHOLD)
    def test_agreement(self, split: tuple[Labels, list[Scores]], threshold: float) -> None:
        """Agreement is 1 if and only if no decision changed, and is the share that did not change."""
        labels, (source, artifact) = split

        found = compare(labels, source, artifact, threshold)

        assert (found.agreement == 1) == (not found.changed)
        assert found.agreement == np.mean((source >= threshold) == (artifact >= threshold))
        assert [c.index for c in found.changed] == sorted({c.index for c in found.changed})
        assert 0 <= found.mean_probability_difference <= found.max_probability_difference + 1e-15 <= 1 + 1e-15

    @QUICK
    @given(split=splits(columns=2), threshold=THRESHOLD)
    def test_accounts_for_metrics(self, split: tuple[Labels, list[Scores]], threshold: float) -> None:
        """The changes are just those that lead from the source's counts to the artifact's."""
        labels, (source, artifact) = split
        before, after = (compute_metrics(labels, p, threshold) for p in (source, artifact))

        found = compare(labels, source, artifact, threshold)

        ill, normal = found.mcnemar_positives, found.mcnemar_negatives
        assert after.tp - before.tp == ill.only_artifact_correct - ill.only_source_correct
        assert after.tn - before.tn == normal.only_artifact_correct - normal.only_source_correct
        assert len(found.changed) == sum(
            test.only_source_correct + test.only_artifact_correct for test in (ill, normal)
        )

    @QUICK
    @given(split=splits(columns=2), threshold=THRESHOLD)
    def test_symmetric(self, split: tuple[Labels, list[Scores]], threshold: float) -> None:
        """Swapping the two swaps who is correct and changes nothing else."""
        labels, (source, artifact) = split

        one, other = (
            compare(labels, source, artifact, threshold),
            compare(labels, artifact, source, threshold),
        )

        assert one.agreement == other.agreement
        assert one.max_probability_difference == other.max_probability_difference
        assert one.mean_probability_difference == other.mean_probability_difference
        for a, b in (
            (one.mcnemar_positives, other.mcnemar_positives),
            (one.mcnemar_negatives, other.mcnemar_negatives),
        ):
            assert (a.only_source_correct, a.only_artifact_correct) == (
                b.only_artifact_correct,
                b.only_source_correct,
            )
            assert a.p_value == pytest.approx(b.p_value)

    @QUICK
    @given(split=splits(columns=2), threshold=THRESHOLD)
    def test_stored_whole(self, split: tuple[Labels, list[Scores]], threshold: float) -> None:
        """What is read back from JSON equals what was written."""
        labels, (source, artifact) = split
        found = compare(labels, source, artifact, threshold)

        assert Comparison.model_validate_json(found.model_dump_json()) == found

    def test_no_change(self) -> None:
        """A model compared with itself agrees on everything, with p = 1."""
        probabilities = scores(0.9, 0.1)

        found = compare(labels_of(1, 0), probabilities, probabilities, threshold=0.5)

        assert (found.changed, found.agreement, found.max_probability_difference) == ((), 1.0, 0.0)
        assert found.mcnemar_positives.p_value == found.mcnemar_negatives.p_value == 1.0

    @pytest.mark.parametrize("artifact", [scores(np.nan, 0.1), scores(0.9, 0.1, 0.5)])
    def test_unusable_artifact(self, artifact: Scores) -> None:
        """An artifact's probabilities are checked as the source's are."""
        with pytest.raises(InputError):
            compare(labels_of(1, 0), scores(0.9, 0.1), artifact, threshold=0.5)


class TestAgreement:
    """Two ways of answering the same images."""

    def test_each_at_its_own_threshold(self) -> None:
        """A probability equal to its threshold is a positive, on both sides; the next lower one is not."""
        below = np.nextafter([0.5, 0.2], 0)
        ours, theirs = scores(0.5, 0.5, below[0], 0.5), scores(0.2, 0.2, below[1], below[1])

        found = agreement(ours, theirs, 0.5, 0.2)

        assert (found.images, found.changed) == (4, 1)
        assert found.max_difference == pytest.approx(0.3)

    @pytest.mark.parametrize("answer", [np.nan, np.inf, -np.inf])
    def test_an_answer_that_is_not_finite_differs(self, answer: float) -> None:
        """It is counted as changed, whatever the other answers, and as the largest difference there is."""
        for other in (0.1, 0.9):
            found = agreement(scores(answer, 0.1), scores(other, 0.1), 0.5, 0.5)
            assert (found.changed, found.max_difference) == (1, 1.0)

    def test_unusable(self) -> None:
        """Other images, and a probability that is none, are refused."""
        with pytest.raises(InputError, match="cannot be compared"):
            agreement(scores(0.1), scores(0.1, 0.2), 0.5, 0.5)
        with pytest.raises(InputError, match="not between 0 and 1"):
            agreement(scores(0.1), scores(1.1), 0.5, 0.5)


class TestInvariance:
    """One artifact, asked in several ways."""

    def test_example(self) -> None:
        """The largest difference is between any two runs, and a flip in any run counts once."""
        runs = [scores(0.1, 0.49, 0.9), scores(0.1, 0.51, 0.8), scores(0.1, 0.49, 1.0)]

        found = invariance(runs, threshold=0.5)

        assert found.max_difference == pytest.approx(0.2)
        assert found.flips == 1

    def test_threshold_is_inclusive(self) -> None:
        """A probability that reaches the threshold in one run only is a flip."""
        assert invariance([scores(0.5), scores(np.nextafter(0.5, 0))], threshold=0.5).flips == 1

    @QUICK
    @given(split=splits(), threshold=THRESHOLD)
    def test_repeated(self, split: tuple[Labels, list[Scores]], threshold: float) -> None:
        """Equal runs differ by nothing and flip nothing."""
        _, (probabilities,) = split

        assert invariance([probabilities] * 3, threshold) == Invariance(max_difference=0, flips=0)

    @pytest.mark.parametrize(
        "runs", [[], [scores(0.5)], [scores(0.5), scores(0.5, 0.6)], [scores(0.5), scores(np.nan)]]
    )
    def test_unusable(self, runs: list[Scores]) -> None:
        """One run proves nothing, and runs over different images or with NaN cannot be compared."""
        with pytest.raises(InputError):
            invariance(runs, threshold=0.5)


class TestLeastCount:
    """How many are enough."""

    @pytest.mark.parametrize(
        ("share", "total", "count"),
        [(0.98, 390, 383), (0.98, 50, 49), (0.07, 100, 7), (0.29, 100, 29), (1.0, 390, 390), (0.0, 390, 0)],
    )
    def test_examples(self, share: float, total: int, count: int) -> None:
        """It is exact where the product of share and total is not."""
        assert least_count(share, total) == count

    @pytest.mark.parametrize(("share", "total"), [(np.nan, 10), (1.1, 10), (-0.1, 10), (0.5, 0)])
    def test_unreachable(self, share: float, total: int) -> None:
        """A share that no count has is refused."""
        with pytest.raises(InputError, match="cannot be reached"):
            least_count(share, total)


class TestHighestThreshold:
    """Where the decision threshold is put."""

    def test_middle_of_the_gap(self) -> None:
        """It lies halfway between the lowest accepted positive and the next lower score of either class."""
        labels = labels_of(1, 1, 1, 1, 0, 0)
        probabilities = scores(0.9, 0.8, 0.6, 0.2, 0.5, 0.1)

        assert highest_threshold(labels, probabilities, 0.75) == pytest.approx(0.55)
        assert highest_threshold(labels, probabilities, 0.5) == pytest.approx(0.7)
        assert highest_threshold(labels, probabilities, 1.0) == pytest.approx(0.15)

    def test_nothing_lower(self) -> None:
        """Where every image scores at least as high, half the lowest score is taken."""
        assert highest_threshold(labels_of(1, 0), scores(0.4, 0.6), 1.0) == pytest.approx(0.2)

    def test_saturated(self) -> None:
        """Scores of exactly 1 still leave a threshold below 1."""
        assert highest_threshold(labels_of(1, 1, 0), scores(1.0, 1.0, 0.5), 1.0) == 0.75

    def test_neighbouring_doubles(self) -> None:
        """Between two neighbouring doubles the upper one is taken, which the lower does not reach."""
        for low in (0.5, float(np.nextafter(0.5, 1))):  # the middle rounds down for one, up for the other
            high = float(np.nextafter(low, 1))
            assert highest_threshold(labels_of(1, 0), scores(high, low), 1.0) == high

    @QUICK
    @given(split=splits(), sensitivity=st.floats(0.01, 1))
    def test_reached_and_highest(self, split: tuple[Labels, list[Scores]], sensitivity: float) -> None:
        """The sensitivity is reached, and is not at the next threshold that decides otherwise."""
        labels, (probabilities,) = split
        probabilities = 0.01 + 0.98 * probabilities  # leave room at both ends
        assume(np.ptp(probabilities) > 0)

        threshold = highest_threshold(labels, probabilities, sensitivity)

        reached = compute_metrics(labels, probabilities, threshold).sensitivity.value
        accepted = probabilities[(labels == 1) & (probabilities >= threshold)].min()
        assert reached is not None
        assert reached >= sensitivity
        assert np.mean(probabilities[labels == 1] > accepted) < sensitivity
        assert not np.any((probabilities >= threshold) & (probabilities < accepted))

    def test_survives_rounding(self) -> None:
        """Moving every score by less than half the gap changes no decision."""
        labels, probabilities = labels_of(1, 1, 0, 0), scores(0.9, 0.6, 0.5, 0.1)
        threshold = highest_threshold(labels, probabilities, 1.0)

        for moved in (probabilities - 0.049, probabilities + 0.049):
            np.testing.assert_array_equal(moved >= threshold, probabilities >= threshold)

    @pytest.mark.parametrize("sensitivity", [0.0, -0.1, 1.01, np.nan])
    def test_sensitivity_outside(self, sensitivity: float) -> None:
        """A sensitivity that is no share, or of nobody, cannot be asked for."""
        with pytest.raises(InputError, match="cannot be asked for"):
            highest_threshold(labels_of(1, 0), scores(0.9, 0.1), sensitivity)

    def test_constant(self) -> None:
        """A model that gives every image the same score is refused."""
        with pytest.raises(InputError, match="no threshold separates"):
            highest_threshold(labels_of(1, 0, 1), scores(0.7, 0.7, 0.7), 0.5)

    @pytest.mark.parametrize("low_high", [(0.0, 0.9), (1.0, np.nextafter(1.0, 0))])
    def test_at_the_ends(self, low_high: tuple[float, float]) -> None:
        """Scores that leave no room strictly between 0 and 1 are refused."""
        with pytest.raises(InputError, match="strictly between 0 and 1"):
            highest_threshold(labels_of(1, 0), scores(*low_high), 1.0)


class TestPredictionDigest:
    """What stands for a run's predictions."""

    def test_golden(self) -> None:
        """The digest is that of the stated bytes, the same on every machine."""
        # printf '\0\0\0\0\322\4\0\0\20\47\0\0' | sha256sum
        expected = "0d9b28e02f9b94a7a48641da707bad46267ef5bdccbca66d563759b7417e7798"

        assert prediction_digest(scores(0.0, 0.12341, 1.0)) == expected

    def test_rounds_to_units(self) -> None:
        """A difference far below 1e-4 does not show, and one above it does."""
        base = prediction_digest(scores(0.5, 0.25))

        assert prediction_digest(scores(0.50004, 0.24996)) == base
        assert prediction_digest(scores(0.50006, 0.25)) != base
        assert prediction_digest(scores(0.5, 0.24994)) != base

    def test_order_and_number(self) -> None:
        """The same predictions in another order, or more of them, have another digest."""
        digests = {prediction_digest(p) for p in (scores(0.1, 0.2), scores(0.2, 0.1), scores(0.1, 0.2, 0.0))}

        assert len(digests) == 3

    @pytest.mark.parametrize("probabilities", [scores(np.nan), scores(1.1), scores()])
    def test_unusable(self, probabilities: Scores) -> None:
        """What is not a probability, or no prediction at all, has no digest."""
        with pytest.raises(InputError):
            prediction_digest(probabilities)


class TestRecords:
    """What is stored in a report."""

    def test_frozen(self) -> None:
        """A result cannot be changed after it was measured."""
        interval = Interval(low=0.1, high=0.2)

        with pytest.raises(ValidationError, match="frozen"):
            interval.low = 0.0

    @pytest.mark.parametrize(
        "text", ['{"low": 0.1}', '{"low": 0.1, "high": 0.2, "mid": 0.15}', '{"low": NaN, "high": 0.2}']
    )
    def test_refused(self, text: str) -> None:
        """A stored result with a field too few, a field too many or NaN is not read."""
        with pytest.raises(ValidationError):
            Interval.model_validate_json(text)

    def test_import_is_light(self) -> None:
        """Neither SciPy nor torch is imported before a statistic is asked for."""
        code = (
            "import sys, udacimed_edge.validation.policy.policy; print({'scipy', 'torch'} & set(sys.modules))"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert done.stdout.strip() == "set()"
