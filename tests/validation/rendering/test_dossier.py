"""What a reader of a regulator's file looks for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from udacimed_edge.core.data import Split
from udacimed_edge.validation.rendering.dossier import (
    brier,
    calibration_text,
    evidence_table,
    failure_table,
    reliability_bins,
    reliability_table,
    sections,
)
from udacimed_edge.validation.rendering.html import render_html
from udacimed_edge.validation.rendering.markdown import render_card, render_markdown
from udacimed_edge.validation.report import Report

Make = Callable[..., Report]


def test_brier_is_scikit_learn_s(make: Make) -> None:
    """The Brier score is scikit-learn's, within its interval, which is that of a mean."""
    report = make(answers={7: 0.1})
    labels, answers = np.array(report.predictions.labels), np.array(report.predictions.artifact, float)
    score, low, high = brier(report)
    assert score == pytest.approx(brier_score_loss(labels, answers))
    errors = (answers - labels) ** 2
    half = 1.96 * errors.std(ddof=1) / np.sqrt(len(errors))
    assert (score - low, high - score) == pytest.approx((half, half), rel=1e-3)
    assert f"Brier score {score:.4f}, 95 % interval {low:.4f} to {high:.4f}" in calibration_text(report)


def test_the_reliability_curve_is_scikit_learn_s(make: Make) -> None:
    """Shares and mean probabilities by bin are scikit-learn's, and every image is in one bin."""
    report = make(answers={7: 1.0, 8: 0.0})
    shares, means = calibration_curve(report.predictions.labels, report.predictions.artifact, n_bins=10)
    bins = reliability_bins(report)
    assert [ill.value for _, ill in bins] == pytest.approx(list(shares))
    assert [mean for mean, _ in bins] == pytest.approx(list(means))
    assert sum(int(row[1]) for row in reliability_table(report).rows) == 624


def test_missed_images_have_their_properties(make: Make, split: Split) -> None:
    """Each missed image has both probabilities, what the source model says, and its gray values."""
    report = make(answers={7: 0.1})
    found, second, new = (failure_table(report).rows[i] for i in (0, 1, 2))
    assert (found[0], found[3]) == ("5", "missed too")
    assert (second[:2], second[3]) == (("7", "0.1000"), "found")
    assert new[0] == "77"
    *rows, middle = failure_table(report, split).rows
    assert rows[1][4:] == (f"{split.images[7].mean():.1f}", f"{split.images[7].std():.1f}")
    assert middle[0] == "all with pneumonia, median"


def test_nothing_missed_is_an_empty_table(make: Make, split: Split) -> None:
    """Where no image was missed there is no row."""
    assert failure_table(make(answers=dict.fromkeys((5, 77, 300), 0.9)), split).rows == ()


@pytest.mark.parametrize("render", [lambda r: render_html([r]), lambda r: render_markdown([r]), render_card])
def test_every_page_has_the_sections(render: Callable[[Report], str], make: Make) -> None:
    """Rationales, failures, monitoring, cybersecurity and SOUP are each there, true or not done."""
    page, terms = render(make()), dict(sections([make()]))
    for term in (
        "Rationale for a sensitivity of 0.98", "Rationale for the threshold", "Failure analysis",
        "Monitoring", "Cybersecurity", "Software of unknown provenance", "Clinical evaluation",
    ):  # fmt: skip
        assert term in page
        assert any("Not done" in line for line in terms[term])
    assert "Brier score" in page
    assert "7 of 390 images with pneumonia may be missed at most" in page


@pytest.mark.parametrize("render", [lambda r: render_html([r]), lambda r: render_markdown([r]), render_card])
def test_what_was_not_executed_has_no_calibration(render: Callable[[Report], str], skipped: Report) -> None:
    """A report without answers has the sections, and no score."""
    page = render(skipped)
    assert "Monitoring" in page
    assert "Brier score" not in page


@pytest.mark.parametrize("render", [lambda r: render_html([r]), lambda r: render_markdown([r]), render_card])
def test_each_principle_has_its_evidence(render: Callable[[Report], str], make: Make) -> None:
    """All ten principles are on every page; evidence is a place that is there, or not available."""
    page, rows = render(make()), evidence_table().rows
    assert [row[0].split()[0] for row in rows] == [str(number) for number in range(1, 11)]
    for principle, evidence in rows:
        assert principle in page
        assert evidence in page
