"""Reports judged again from their own numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.judging.recheck import judge_again, recompute, wrong_figures
from udacimed_edge.validation.metrics.records import Agreement
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import (
    BasisRecord,
    PredictionRecord,
    ProcessorRecord,
    RecipeRecord,
    Report,
)

Make = Callable[..., Report]


def with_predictions(report: Report, **fields: Any) -> Report:
    """The report with other predictions, all else as it was."""
    return report.model_copy(update={"predictions": report.predictions.model_copy(update=fields)})


def test_a_report_agrees_with_itself(make: Make) -> None:
    """What was written follows from the probabilities, and the policy says the same of it."""
    report = make(answers={0: 0.0, 400: 0.9})
    evidence = recompute(report)
    assert wrong_figures(report, evidence) == []
    assert judge_again(report, evidence) == report.policy.clauses


def test_rungs_and_processors_are_judged_where_there_are_any(make: Make) -> None:
    """Recipes none of which held, and a processor that failed, are refused again."""
    recipes = (RecipeRecord(number=1, name="x", passed=False),)
    processors = (
        ProcessorRecord(name="other", processor="x", way="x", verdict="FAIL"),
        ProcessorRecord(name="shown", processor="x", way="x", verdict="FAIL", comparison_only=True),
    )
    report = make(update={"recipes": recipes, "processors": processors})
    failed = [clause for clause in judge_again(report, recompute(report)) if not clause.passed]
    assert [clause.name for clause in failed] == ["recipe", "processors"]
    assert "shown" not in failed[1].measured


def test_what_was_asked_besides_is_asked_again(make: Make) -> None:
    """Answers to altered images and on a device, and layers left in float, are judged as they are stated."""
    differs = Agreement(images=100, changed=3, max_difference=0.5)
    same = Agreement(images=100, changed=0, max_difference=0.0)
    for altered, here, name in (
        (differs, same, "agreement on altered images"),
        (same, differs, "agreement with the run here"),
    ):
        basis = BasisRecord(
            answers="stated", answers_by="x", source="stated", source_by="x",
            executed_here=here, altered=altered,
        )  # fmt: skip
        report = make(update={"basis": basis})
        failed = [clause for clause in judge_again(report, recompute(report)) if not clause.passed]
        assert [clause.name for clause in failed] == [name]
    assert recompute(make(float_layers=("stem",))).float_layers == ("stem",)
    assert recompute(make(update={"basis": None})).altered is None


def test_each_is_decided_at_its_own_threshold(make: Make) -> None:
    """The source's answers count at the source's threshold; where none is stated, at the artifact's."""
    report = make()
    for own, sensitivity in ((0.95, "other"), (None, "same")):
        moved = report.model_copy(update={"source": report.source.model_copy(update={"threshold": own})})
        evidence = recompute(moved)
        assert evidence.source is not None
        assert evidence.artifact is not None
        same = evidence.source.sensitivity == evidence.artifact.sensitivity
        assert same is (sensitivity == "same")


@pytest.mark.parametrize(
    ("field", "update"),
    [
        ("metrics", lambda r: {"metrics": r.metrics.model_copy(update={"tp": r.metrics.tp + 1})}),
        ("metrics", lambda r: {"metrics": r.metrics.model_copy(update={"auc": r.metrics.auc + 1e-6})}),
        ("metrics", lambda r: {"metrics": None}),
        ("source.metrics", lambda r: {"source": r.source.model_copy(update={"metrics": r.metrics})}),
        ("comparison", lambda r: {"comparison": r.comparison.model_copy(update={"changed": ()})}),
        ("comparison", lambda r: {"comparison": r.comparison.model_copy(update={"changed": None})}),
        ("metrics", lambda r: {"metrics": r.metrics.model_copy(update={"auc": None})}),
        ("sensitivity_bound_clears", lambda r: {"sensitivity_bound_clears": True}),
        ("data", lambda r: {"data": r.data.model_copy(update={"normal": 235})}),
        ("predictions.digest", lambda r: with_predictions(r, digest="0" * 64).__dict__),
    ],
)  # fmt: skip
def test_an_edited_figure_is_found(
    make: Make, field: str, update: Callable[[Report], dict[str, Any]]
) -> None:
    """A figure that the probabilities contradict is named, and no other."""
    report = make(answers={0: 0.0, 400: 0.9})
    edited = report.model_copy(update=update(report))
    assert wrong_figures(edited, recompute(edited)) == [field]


def test_the_bound_is_that_of_the_exact_interval(make: Make) -> None:
    """A report that says that its exact interval clears the bound, which Wilson's does not, is right."""
    found = make().metrics
    assert found is not None
    assert found.sensitivity.clopper_pearson is not None
    assert found.sensitivity.wilson is not None
    wilson, exact = found.sensitivity.wilson.low, found.sensitivity.clopper_pearson.low
    assert wilson < exact
    for least in ((wilson + exact) / 2, exact):
        report = make(settings=PolicySettings(min_sensitivity=least))
        assert report.sensitivity_bound_clears is True
        assert wrong_figures(report, recompute(report)) == []


def test_the_last_digits_may_differ(make: Make) -> None:
    """Another version of SciPy may round a figure otherwise: that is no edit."""
    report = make()
    assert report.metrics is not None
    metrics = report.metrics.model_copy(update={"auc": report.metrics.auc * (1 + 1e-13)})
    edited = report.model_copy(update={"metrics": metrics})
    assert wrong_figures(edited, recompute(edited)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"artifact": ()}, "was not executed"),
        ({"artifact": (None,) * 624}, "an answer that is not finite"),
        ({"artifact": (0.5,)}, "do not fit"),
        ({"source": (2.0,) * 624}, "are not between 0 and 1"),
        ({"labels": (1,) * 624}, "must show both classes"),
        ({"labels": (7, 300, *(0,) * 622)}, "a label is neither 0 nor 1"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(make: Make, change: dict[str, Any], message: str) -> None:
    """What no figure follows from is refused with the reason."""
    with pytest.raises(InputError, match=message):
        recompute(with_predictions(make(), **change))


def test_what_was_skipped_has_no_figures(skipped: Report) -> None:
    """A report on what was not executed is not judged again."""
    assert isinstance(skipped.predictions, PredictionRecord)
    with pytest.raises(InputError, match="was not executed"):
        recompute(skipped)
