"""What a report says, in sentences and tables: written once, for HTML and Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from udacimed_edge.validation.metrics.records import McNemar, Proportion
from udacimed_edge.validation.metrics.statistics import least_changes, paired_difference, predictive_values
from udacimed_edge.validation.policy.clauses import ClauseResult
from udacimed_edge.validation.report import Report, Verdict

__all__ = [
    "GLYPHS",
    "NOT_MEASURED",
    "PREVALENCES",
    "Table",
    "alarms_text",
    "bound_text",
    "changed_table",
    "clause_rows",
    "clause_table",
    "confusion_table",
    "figures_table",
    "headline",
    "interval_text",
    "missed",
    "missed_text",
    "names",
    "paired_cells",
    "paired_table",
    "paired_text",
    "predictive_table",
    "sentence",
    "title",
    "value_text",
    "verdict_table",
]

GLYPHS: dict[Verdict, str] = {"PASS": "✓", "FAIL": "✗", "SKIP": "○"}
"""A sign beside the word, so that a verdict is not told by colour alone."""

PREVALENCES = (0.01, 0.05, 0.20, 0.60)
"""Shares of ill patients that a reader's clinic may have."""

NOT_MEASURED = "not measured"


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


def names(reports: Sequence[Report]) -> tuple[str, ...]:
    """What to call each artifact: format, precision, the device elsewhere, and what tells it from others."""
    short = [f"{r.artifact.format} {r.artifact.precision}{_elsewhere(r)}" for r in reports]
    longer = [f"{name} ({r.artifact.digest[:8]})" for name, r in zip(short, reports, strict=True)]
    full = [f"{name} {r.report_digest[:8]}" for name, r in zip(short, reports, strict=True)]
    for choice in (short, longer):
        if len(set(choice)) == len(choice):
            return tuple(choice)
    return tuple(full)


def _elsewhere(report: Report) -> str:
    """The device's name, where the answers were computed elsewhere."""
    found, _, device = report.executor.partition("executed on ")
    return f" on {device.split(',')[0]}" if device and not found else ""


def title(reports: Sequence[Report]) -> str:
    """The heading; it begins with REHEARSAL where no patient is in the data."""
    what = names(reports)[0] if len(reports) == 1 else f"{len(reports)} artifacts"
    return ("REHEARSAL, no evidence: " if reports[0].rehearsal else "") + f"Does it find pneumonia? {what}"


def sentence(report: Report) -> str:
    """What the artifact did, for a clinician."""
    found = report.metrics
    if found is None:
        return f"This artifact was not measured: {report.reason}"
    ill, well = _subjects(report)
    return (
        f"Of {found.tp + found.fn} {ill}, this artifact missed {found.fn}; "
        f"of {found.tn + found.fp} {well}, it raised {alarms_text(found.fp)}."
    )


def headline(reports: Sequence[Report]) -> str:
    """What the artifacts of one data set did, in one sentence for a clinician."""
    measured = [r.metrics for r in reports if r.metrics]
    if len(reports) == 1 or not measured:
        return sentence(reports[0]) if len(reports) == 1 else "None of these artifacts was measured."
    ill, well = _subjects(reports[0])
    few = len(measured) < len(reports)
    who = f"{len(measured)} of the {len(reports)}" if few else f"the {len(reports)}"
    misses, alarms = (_range([m.fn for m in measured]), _range([m.fp for m in measured]))
    return (
        f"Of {reports[0].data.pneumonia} {ill}, {who} artifacts missed {misses} each; "
        f" of {reports[0].data.normal} {well}, they raised {alarms} false alarms each."
    )


def _subjects(report: Report) -> tuple[str, str]:
    what = {"official": "radiographs of children", "custom": "radiographs", "synthetic": "synthetic images"}
    return f"{what[report.data.origin]} with pneumonia", "without"


def alarms_text(count: int) -> str:
    """A number of false alarms, in words."""
    return f"{count} false alarm{'' if count == 1 else 's'}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


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
        rows.append((name, f"{GLYPHS[r.verdict]} {r.verdict}", *figures))
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
    """Labels against decisions."""
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


def missed(report: Report) -> tuple[int, ...]:
    """The images with pneumonia that the artifact calls normal, by index in the split, from 0."""
    answers = zip(
        report.predictions.labels, report.predictions.artifact, strict=False
    )  # none where it is a SKIP
    return tuple(
        i for i, (label, p) in enumerate(answers) if label == 1 and p is not None and p < report.threshold
    )


def missed_text(report: Report) -> str:
    """The missed images in words."""
    indices = missed(report)
    if not indices:
        return "No image with pneumonia was missed."
    listed = ", ".join(map(str, indices))
    return f"Called normal although labelled pneumonia, by index in the split, from 0: {listed}."


def predictive_table(reports: Sequence[Report]) -> Table:
    """What a call, and a silence, would be worth at other prevalences."""
    columns = tuple(f"{name} at {share:.0%}" for share in PREVALENCES for name in ("PPV", "NPV"))
    rows = []
    for name, r in zip(names(reports), reports, strict=True):
        cells = [NOT_MEASURED, *[""] * (len(columns) - 1)]
        if r.metrics and r.metrics.sensitivity.value is not None and r.metrics.specificity.value is not None:
            both = (r.metrics.sensitivity.value, r.metrics.specificity.value)
            values = [value for share in PREVALENCES for value in predictive_values(*both, share)]
            cells = ["none" if value is None else f"{value:.5f}" for value in values]
        rows.append((name, *cells))
    caption = "Predictive values by the share of the examined who are ill"
    return Table("predictive", caption, ("Artifact", *columns), tuple(rows))


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


def paired_text(reports: Sequence[Report]) -> str:
    """What the paired tests can and cannot show at this sample size."""
    ill, least = reports[0].data.pneumonia, least_changes()
    limit = paired_difference(0, 0, ill).high
    return (
        "The exact McNemar test asks whether source model and artifact err equally often on the same images. "
        f"It cannot give p < 0.05 before {least} decisions have changed, all to one side: a large p-value "
        "does not show that nothing was lost. The interval (Tango 1998) says more: it holds every difference "
        f"that these images do not rule out. Even without any changed decision among {ill} images, a true "
        f"loss of up to {limit:.4f} remains possible. Nothing is corrected for the number of artifacts."
    )


def bound_text(reports: Sequence[Report]) -> str:
    """Whether the sample shows the required sensitivity, or only does not contradict it."""
    measured = [r for r in reports if r.metrics]
    clear = sum(r.sensitivity_bound_clears is True for r in measured)
    least = reports[0].policy.settings.min_sensitivity
    return (
        f"The policy asks for {least:g} in this sample. The lower end of the exact 95 % interval (Clopper "
        f"and Pearson 1934) reaches {least:g} for {clear} of {len(measured)} measured; where it does not, "
        "this sample does not show that true sensitivity is as high."
    )


def value_text(found: Proportion) -> str:
    """A proportion, to four decimals."""
    return NOT_MEASURED if found.value is None else f"{found.value:.4f}"


def interval_text(found: Proportion) -> str:
    """Its exact 95 % interval, to four decimals."""
    exact = found.clopper_pearson
    return "" if exact is None else f"{exact.low:.4f} to {exact.high:.4f}"
