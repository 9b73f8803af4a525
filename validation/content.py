"""What a report says, in sentences and tables: written once, for HTML and Markdown alike."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from udacimed_edge.validation.gate import PolicySettings
from udacimed_edge.validation.metrics import McNemar, Proportion
from udacimed_edge.validation.report import Report, Verdict
from udacimed_edge.validation.statistics import least_changes, paired_difference, predictive_values

__all__ = [
    "GLYPHS",
    "PREVALENCES",
    "Table",
    "bound_text",
    "changed_table",
    "clause_table",
    "commands",
    "confusion_table",
    "facts",
    "figures_table",
    "headline",
    "missed",
    "names",
    "paired_table",
    "paired_text",
    "predictive_table",
    "sentence",
    "size_table",
    "title",
    "tools_table",
    "verdict_table",
]

GLYPHS: dict[Verdict, str] = {"PASS": "✓", "FAIL": "✗", "SKIP": "–"}  # noqa: RUF001
"""A sign beside the word, so that a verdict is not told by colour alone."""

PREVALENCES = (0.01, 0.05, 0.20, 0.60)
"""Shares of ill patients that a reader's clinic may have."""

NOT_MEASURED = "not measured"

USE = (
    "Intended use: research into decision support, to draw a clinician's attention to a chest radiograph of a "
    "child that may show pneumonia. It does not diagnose, and no finding of it excludes pneumonia.",
    "Intended users: clinicians, auditors and engineers who evaluate the model on a device.",
)

ORIGINS = {
    "official": "the official PneumoniaMNIST file, by its MD5",
    "custom": "not the official PneumoniaMNIST file, byte for byte; what it holds is its owner's statement",
    "synthetic": "drawn from a statistical model; no patient is in it",
}

_KERMANY = (
    "two physicians graded each radiograph and a third checked those of the test split (Kermany et al. 2018, "
    "doi 10.1016/j.cell.2018.02.010)"
)
REFERENCE_STANDARDS = {
    "official": f"The labels of PneumoniaMNIST: {_KERMANY}.",
    "custom": f"The labels in the file; if they are those of PneumoniaMNIST, {_KERMANY}.",
    "synthetic": "None: a label is the class from which the image was drawn.",
}


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
    """What to call each artifact: format and precision, and as much more as tells it from the others."""
    short = [f"{r.artifact.target} {r.artifact.precision}" for r in reports]
    longer = [f"{name} ({r.artifact.digest[:8]})" for name, r in zip(short, reports, strict=True)]
    full = [f"{name} {r.report_digest[:8]}" for name, r in zip(short, reports, strict=True)]
    for choice in (short, longer):
        if len(set(choice)) == len(choice):
            return tuple(choice)
    return tuple(full)


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
        f"of {found.tn + found.fp} {well}, it raised {_alarms(found.fp)}."
    )


def headline(reports: Sequence[Report]) -> str:
    """What the artifacts of one data set did, in one sentence for a clinician."""
    measured = [r.metrics for r in reports if r.metrics]
    if len(reports) == 1 or not measured:
        return sentence(reports[0]) if len(reports) == 1 else "None of these artifacts was measured."
    ill, well = _subjects(reports[0])
    least = f"{len(measured)} of the {len(reports)}" if len(measured) < len(reports) else f"the {len(reports)}"
    return (
        f"Of {reports[0].data.pneumonia} {ill}, {least} artifacts missed {_range([m.fn for m in measured])} each; "
        f"of {reports[0].data.normal} {well}, they raised {_range([m.fp for m in measured])} false alarms each."
    )


def _subjects(report: Report) -> tuple[str, str]:
    what = {"official": "radiographs of children", "custom": "radiographs", "synthetic": "synthetic images"}
    return f"{what[report.data.origin]} with pneumonia", "without"


def _alarms(count: int) -> str:
    return f"{count} false alarm{'' if count == 1 else 's'}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def verdict_table(reports: Sequence[Report]) -> Table:
    """The verdict on each artifact, with the counts that a clinician asks for."""
    data = reports[0].data
    columns = ("Artifact", "Verdict", "Sensitivity", "95 % interval", f"Missed of {data.pneumonia}",
               f"False alarms of {data.normal}", f"Changed of {data.pneumonia + data.normal}")  # fmt: skip
    rows = []
    for name, r in zip(names(reports), reports, strict=True):
        figures: tuple[str, ...] = (NOT_MEASURED, "", "", "", "")
        if r.metrics and r.comparison:
            found = r.metrics.sensitivity
            changed = str(len(r.comparison.changed))
            figures = (_value(found), _interval(found), str(r.metrics.fn), str(r.metrics.fp), changed)
        rows.append((name, f"{GLYPHS[r.verdict]} {r.verdict}", *figures))
    return Table("verdicts", "Verdict on each artifact, judged from its own bytes", columns, tuple(rows))


def figures_table(reports: Sequence[Report]) -> Table:
    """The figures that do not fit the first screen."""
    columns = ("Artifact", "Specificity", "95 % interval", "AUC", "Accuracy", "Decisions as the source model's",
               "Largest probability difference", "Mean probability difference")  # fmt: skip
    rows = []
    for name, r in zip(names(reports), reports, strict=True):
        figures: tuple[str, ...] = (NOT_MEASURED, *[""] * 6)
        if r.metrics and r.comparison:
            m, c = r.metrics, r.comparison
            figures = (
                _value(m.specificity), _interval(m.specificity), f"{m.auc:.4f}", _value(m.accuracy),
                f"{c.agreement:.4f}", f"{c.max_probability_difference:.6f}", f"{c.mean_probability_difference:.6f}",
            )  # fmt: skip
        rows.append((name, *figures))
    return Table("figures", "More figures of each artifact, at its own threshold", columns, tuple(rows))


def confusion_table(report: Report) -> Table:
    """Labels against decisions."""
    m, rows = report.metrics, ()
    if m is not None:
        rows = (
            ("with pneumonia", f"{m.tp}", f"{m.fn} missed", f"{m.tp + m.fn}"),
            ("without", f"{m.fp} false alarms", f"{m.tn}", f"{m.tn + m.fp}"),
        )
    columns = ("By label", "Called pneumonia", "Called normal", "All")
    return Table("confusion", "Confusion matrix: how many images, by label and decision", columns, rows)


def clause_table(report: Report) -> Table:
    """The policy, clause by clause."""
    rows = tuple(
        (c.name, "✓ held" if c.passed else "✗ broken", c.measured, c.requirement) for c in report.policy.clauses
    )
    return Table("clauses", "The policy, clause by clause", ("Clause", "Result", "Measured", "Required"), rows)


def changed_table(report: Report) -> Table:
    """Every image on which source model and artifact decide differently."""
    changed = report.comparison.changed if report.comparison else ()
    rows = tuple(
        (f"{c.index}", c.label, c.source, c.artifact, f"{c.source_probability:.4f}", f"{c.artifact_probability:.4f}")
        for c in changed
    )
    columns = ("Image", "Label", "Source model says", "Artifact says", "Its probability", "The artifact's")
    return Table("changed", "Changed decisions, by index in the split, from 0", columns, rows)


def missed(report: Report) -> tuple[int, ...]:
    """The images with pneumonia that the artifact calls normal, by index in the split, from 0."""
    answers = zip(report.predictions.labels, report.predictions.artifact, strict=False)  # none where it is a SKIP
    return tuple(
        i for i, (label, p) in enumerate(answers) if label == 1 and p is not None and p < report.threshold
    )


def predictive_table(reports: Sequence[Report]) -> Table:
    """What a call, and a silence, would be worth at other prevalences."""
    columns = tuple(f"{name} at {share:.0%}" for share in PREVALENCES for name in ("PPV", "NPV"))
    rows = []
    for name, r in zip(names(reports), reports, strict=True):
        cells = [NOT_MEASURED, *[""] * (len(columns) - 1)]
        if r.metrics and r.metrics.sensitivity.value is not None and r.metrics.specificity.value is not None:
            both = (r.metrics.sensitivity.value, r.metrics.specificity.value)
            values = [value for share in PREVALENCES for value in predictive_values(*both, share)]
            cells = ["none" if value is None else f"{value:.4f}" for value in values]
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
            cells = _paired_cells(r.comparison.mcnemar_positives if ill else r.comparison.mcnemar_negatives, total)
        rows.append((name, *cells))
    columns = ("Artifact", "Right by source only", "Right by artifact only", "Difference", "95 % interval", "p-value")
    what = "Sensitivity" if ill else "Specificity"
    caption = f"{what}: artifact less source model, on the same {total} images"
    return Table(f"paired-{label}", caption, columns, tuple(rows))


def _paired_cells(test: McNemar, total: int) -> tuple[str, ...]:
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
        f"It cannot give p < 0.05 before {least} decisions have changed, all to one side: a large p-value does "
        "not show that nothing was lost. The interval (Tango 1998) says more: it holds every difference that "
        f"these images do not rule out. Even without any changed decision among {ill} images, a true loss of up "
        f"to {limit:.4f} remains possible. Nothing is corrected for the number of artifacts compared."
    )


def bound_text(reports: Sequence[Report]) -> str:
    """Whether the sample shows the required sensitivity, or only does not contradict it."""
    measured = [r for r in reports if r.metrics]
    clear = sum(r.sensitivity_bound_clears is True for r in measured)
    least = reports[0].policy.settings.min_sensitivity
    return (
        f"The policy asks for {least:g} in this sample. The lower end of the exact 95 % interval (Clopper and "
        f"Pearson 1934) reaches {least:g} for {clear} of {len(measured)} measured artifacts; for the others the "
        "sample does not show that true sensitivity is as high."
    )


def size_table(reports: Sequence[Report]) -> Table:
    """How large each artifact is, and what its weights are stored as."""
    rows = tuple(
        (
            name,
            f"{r.artifact.size_bytes}",
            f"{r.artifact.size_bytes / 2**20:.1f}",
            ", ".join(f"{n} {dtype}" for dtype, n in sorted(r.artifact.weight_dtypes.items())) or NOT_MEASURED,
            r.artifact.digest,
        )
        for name, r in zip(names(reports), reports, strict=True)
    )
    columns = ("Artifact", "Bytes", "MiB", "Weight elements by type", "SHA-256")
    return Table("sizes", "Size and weights of each artifact", columns, rows)


def facts(reports: Sequence[Report]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """How the artifacts were made and judged: each a term, and what is to be said of it."""
    data = reports[0].data
    return (
        ("Intended use and users", USE),
        ("Data", (f"{data.name}: {ORIGINS[data.origin]}", f"file SHA-256 {data.file_digest}",
                  f"images and labels of the split SHA-256 {data.digest}")),
        ("Split", (f"{data.split}: {data.pneumonia + data.normal} images, {data.pneumonia} with pneumonia and "
                   f"{data.normal} without",)),
        ("Reference standard", (REFERENCE_STANDARDS[data.origin],)),
        ("Source model", _each(reports, _source)),
        ("Threshold", _each(reports, lambda r: f"{r.threshold:.6f}: {r.threshold_origin}")),
        ("Calibration of INT8", _each(reports, _calibration)),
        ("Executed by", _each(reports, lambda r: r.executor)),
        ("Policy", (_bounds(reports[0].policy.settings), f"SHA-256 {reports[0].policy.digest}")),
        ("Judged", _each(reports, lambda r: f"{r.created} by udacimed-edge {r.toolkit_version}")),
        ("Machine that judged", _each(reports, _machine)),
        ("Reports", tuple(f"{name}: SHA-256 {r.report_digest}" for name, r in zip(names(reports), reports, strict=True))),
    )  # fmt: skip


def _each(reports: Sequence[Report], text: Callable[[Report], str]) -> tuple[str, ...]:
    """One line for all that share it; the artifacts' names before it where there are several lines."""
    lines: dict[str, list[str]] = {}
    for name, report in zip(names(reports), reports, strict=True):
        lines.setdefault(text(report), []).append(name)
    if len(lines) == 1:
        return tuple(lines)
    return tuple(f"{', '.join(who)}: {line}" for line, who in lines.items())


def _source(report: Report) -> str:
    m = report.source.metrics
    return (
        f"{report.source.name}, SHA-256 {report.source.digest}; it misses {m.fn} of {m.tp + m.fn} and raises "
        f"{_alarms(m.fp)} of {m.tn + m.fp}; its answers: {report.source.scores_from}"
    )


def _calibration(report: Report) -> str:
    c = report.calibration
    return f"{c.images} images of the {c.split} split, SHA-256 {c.digest}" if c else "none"


def _bounds(settings: PolicySettings) -> str:
    return (
        f"sensitivity at least {settings.min_sensitivity:g}; against the source model: specificity at most "
        f"{settings.max_specificity_drop:g} lower, AUC at most {settings.max_auc_drop:g} lower, at least "
        f"{settings.min_agreement:g} of the decisions the same"
    )


def _machine(report: Report) -> str:
    e = report.environment
    return f"{e.processor}, {e.cores} cores, {' '.join(e.instruction_sets)}; {e.system}; Python {e.python}"


def tools_table(reports: Sequence[Report]) -> Table:
    """The software of unknown provenance (SOUP, IEC 62304) that made and judged the artifacts."""
    versions: dict[str, dict[str, None]] = {}
    for report in reports:
        for tool, version in sorted(report.environment.tools.items()):
            versions.setdefault(tool, {})[version] = None
    rows = tuple((tool, ", ".join(found)) for tool, found in versions.items())
    return Table("tools", "Software it was made and judged with (SOUP list)", ("Distribution", "Version"), rows)


def commands(report: Report) -> tuple[str, ...]:
    """The commands that make and judge such an artifact again; MODEL stands for the source model's file."""
    data = {"official": "medmnist", "synthetic": "synthetic"}.get(report.data.origin, shlex.quote(report.data.name))
    item, default = report.artifact, PolicySettings()
    bounds = "".join(
        f" --{name.replace('_', '-')} {value:g}"
        for name, value in report.policy.settings.model_dump().items()
        if value != getattr(default, name)
    )
    judge = f"udacimed-edge validate out/{item.target}-{item.precision} --data {data}{bounds}"
    if report.executor.startswith("executed on"):
        judge = f"udacimed-edge validate --predictions FILE --artifact ARTIFACT --data {data}{bounds}"
    return (
        f"udacimed-edge convert MODEL --target {item.target} --precision {item.precision} --data {data}{bounds}",
        judge,
    )


def _value(found: Proportion) -> str:
    return NOT_MEASURED if found.value is None else f"{found.value:.4f}"


def _interval(found: Proportion) -> str:
    exact = found.clopper_pearson
    return "" if exact is None else f"{exact.low:.4f} to {exact.high:.4f}"
