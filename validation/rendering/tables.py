"""What a report says in tables: written once, for HTML and Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from udacimed_edge.validation.metrics.records import Interval, McNemar, Metrics
from udacimed_edge.validation.metrics.statistics import (
    paired_difference,
    predictive_intervals,
    predictive_values,
)
from udacimed_edge.validation.policy.clauses import ClauseResult
from udacimed_edge.validation.rendering.statements import GLYPHS, NOT_MEASURED, interval_text, value_text
from udacimed_edge.validation.report import Report, names

__all__ = [
    "PREVALENCES",
    "Table",
    "changed_table",
    "clause_rows",
    "clause_table",
    "confusion_table",
    "figures_table",
    "paired_cells",
    "paired_table",
    "predictive_cells",
    "predictive_table",
    "verdict_table",
]

PREVALENCES = (0.02, 0.10, 0.30)
"""Shares of ill patients that a reader's clinic may have."""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        key: Its id on the page.
        caption: What it shows.
        columns: The headings.
        rows: The cells, as many in each row as there are headings.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def verdict_table(reports: Sequence[Report]) -> Table:
    """The verdict on each artifact, with the counts that a clinician asks for."""
    data = reports[0].data
    columns = (
        "Artifact",
        "Verdict",
        f"Missed of {data.pneumonia}",
        f"False alarms of {data.normal}",
        "Sensitivity",
        "95 % interval",
        f"Changed of {data.pneumonia + data.normal}",
    )
    rows = []
    for name, r in zip(names(reports), reports, strict=True):
        figures: tuple[str, ...] = (NOT_MEASURED, "", "", "", "")
        if r.metrics and r.comparison:
            found = r.metrics.sensitivity
            changed = str(len(r.comparison.changed))
            figures = (str(r.metrics.fn), str(r.metrics.fp), value_text(found), interval_text(found), changed)
        rows.append((name, f"{GLYPHS[r.verdict]} {r.verdict_words}", *figures))
    return Table("verdicts", "Verdict on each artifact, judged from its own bytes", columns, tuple(rows))


def figures_table(reports: Sequence[Report]) -> Table:
    """The figures that do not fit the first screen."""
    columns = (
        "Artifact",
        "Specificity",
        "95 % interval",
        "AUC",
        "Accuracy",
        "Decisions as the source model's",
        "Largest probability difference",
        "Mean probability difference",
    )
    rows = []
    for name, r in zip(names(reports), reports, strict=True):
        figures: tuple[str, ...] = (NOT_MEASURED, *[""] * 6)
        if r.metrics and r.comparison:
            m, c = r.metrics, r.comparison
            figures = (
                value_text(m.specificity),
                interval_text(m.specificity),
                f"{m.auc:.4f}",
                value_text(m.accuracy),
                f"{c.agreement:.4f}",
                f"{c.max_probability_difference:.2e}",
                f"{c.mean_probability_difference:.2e}",
            )
        rows.append((name, *figures))
    return Table("figures", "More figures of each artifact, at its own threshold", columns, tuple(rows))


def confusion_table(report: Report) -> Table:
    """Labels against decisions: the confusion matrix in words."""
    m, rows = report.metrics, tuple[tuple[str, ...], ...]()
    if m is not None:
        rows = (
            ("with pneumonia", f"{m.tp}", f"{m.fn} missed", f"{m.tp + m.fn}"),
            ("without", f"{m.fp} false alarms", f"{m.tn}", f"{m.tn + m.fp}"),
        )
    columns = ("By label", "Called pneumonia", "Called normal", "All")
    return Table("confusion", "Confusion matrix", columns, rows)


def clause_table(report: Report) -> Table:
    """The policy, clause by clause."""
    return clause_rows(report.policy.clauses)


def clause_rows(clauses: Sequence[ClauseResult]) -> Table:
    """Each clause with its result, what was measured and what is required."""
    rows = tuple((c.name, "✓ held" if c.passed else "✗ broken", c.measured, c.requirement) for c in clauses)
    return Table(
        "clauses", "The policy, clause by clause", ("Clause", "Result", "Measured", "Required"), rows
    )


def changed_table(report: Report) -> Table:
    """Every image on which source model and artifact decide differently."""
    changed = report.comparison.changed if report.comparison else ()
    rows = tuple(
        (
            f"{c.index}",
            c.label,
            c.source,
            c.artifact,
            f"{c.source_probability:.4f}",
            f"{c.artifact_probability:.4f}",
        )
        for c in changed
    )
    columns = ("Image", "Label", "Source model says", "Artifact says", "Its probability", "The artifact's")
    return Table("changed", "Changed decisions, by index in the split, from 0", columns, rows)


def predictive_table(reports: Sequence[Report]) -> Table:
    """What a call, and a silence, would be worth at other prevalences."""
    columns = tuple(f"{name} at {share:.0%}" for share in PREVALENCES for name in ("PPV", "NPV"))
    rows = []
    for name, r in zip(names(reports), reports, strict=True):
        cells = [NOT_MEASURED, *[""] * (len(columns) - 1)]
        if r.metrics:
            cells = [cell for share in PREVALENCES for cell in predictive_cells(r.metrics, share)]
        rows.append((name, *cells))
    caption = "Predictive values, with their 95 % intervals, by the share of the examined who are ill"
    return Table("predictive", caption, ("Artifact", *columns), tuple(rows))


def predictive_cells(metrics: Metrics, prevalence: float) -> tuple[str, str]:
    """PPV and NPV at a prevalence, each with its 95 % interval, to three decimals."""
    rates = metrics.sensitivity.value, metrics.specificity.value
    if rates[0] is None or rates[1] is None:
        return NOT_MEASURED, NOT_MEASURED
    values = predictive_values(rates[0], rates[1], prevalence)
    intervals = predictive_intervals(metrics.sensitivity, metrics.specificity, prevalence)
    ppv, npv = (_with_interval(*pair) for pair in zip(values, intervals, strict=True))
    return ppv, npv


def _with_interval(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "none"
    if interval is None:
        return _three(value)
    return f"{_three(value)} ({_three(interval.low)} to {_three(interval.high)})"


def _three(value: float) -> str:
    """Three decimals; what is not 1 does not read 1.000."""
    return "> 0.999" if 0.9995 <= value < 1 else f"{value:.3f}"


def paired_table(reports: Sequence[Report], label: str) -> Table:
    """Source model against artifact on the images with one label.

    Args:
        reports: Of one data set.
        label: "pneumonia" for sensitivity, "normal" for specificity.
    """
    ill = label == "pneumonia"
    total = reports[0].data.pneumonia if ill else reports[0].data.normal
    rows = []
    for name, r in zip(names(reports), reports, strict=True):
        cells: tuple[str, ...] = (NOT_MEASURED, "", "", "", "")
        if r.comparison:
            cells = paired_cells(
                r.comparison.mcnemar_positives if ill else r.comparison.mcnemar_negatives, total
            )
        rows.append((name, *cells))
    right = ("Right by source only", "Right by artifact only")
    columns = ("Artifact", *right, "Difference", "95 % interval", "p-value")
    what = "Sensitivity" if ill else "Specificity"
    caption = f"{what}: artifact less source model, on the same {total} images"
    return Table(f"paired-{label}", caption, columns, tuple(rows))


def paired_cells(test: McNemar, total: int) -> tuple[str, ...]:
    """Right only before, right only after, the difference, its interval, and the test's p-value."""
    change = paired_difference(test.only_artifact_correct, test.only_source_correct, total)
    return (
        str(test.only_source_correct),
        str(test.only_artifact_correct),
        f"{change.value:+.4f}",
        f"{change.low:+.4f} to {change.high:+.4f}",
        f"{test.p_value:.4f}" if test.p_value >= 0.0001 else "< 0.0001",
    )
