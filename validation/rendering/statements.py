"""What a report says in sentences: written once, for HTML and Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence

from udacimed_edge.validation.metrics.records import Proportion
from udacimed_edge.validation.metrics.statistics import least_changes, paired_difference
from udacimed_edge.validation.report import Report, Verdict, names

__all__ = [
    "GLYPHS",
    "NOTICE",
    "NOT_MEASURED",
    "REHEARSAL",
    "alarms_text",
    "basis_text",
    "bound_text",
    "headline",
    "identity_text",
    "interval_text",
    "missed",
    "missed_text",
    "paired_text",
    "sentence",
    "title",
    "value_text",
]

GLYPHS: dict[Verdict, str] = {"PASS": "✓", "FAIL": "✗", "SKIP": "○"}
"""A sign beside the word, so that a verdict is not told by colour alone."""

NOT_MEASURED = "not measured"

NOTICE = "Research only: not a medical device, no diagnosis, not for clinical use."
"""On the first screen of a report and on each of its printed pages."""

REHEARSAL = "REHEARSAL. Judged on synthetic images: no patient is in them, and no figure here is evidence."
"""Likewise, where the images are synthetic."""


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


def basis_text(reports: Sequence[Report]) -> str:
    """What the verdicts rest on: what was executed here and by what, and what is only somebody's word."""
    told: dict[str, list[str]] = {}
    for name, report in zip(names(reports), reports, strict=True):
        basis = "not executed" if report.verdict == "SKIP" else str(report.basis or report.executor)
        told.setdefault(basis, []).append(name)
    parts = [basis if len(told) == 1 else f"{', '.join(who)}: {basis}" for basis, who in told.items()]
    return f"What the verdict rests on: {'. '.join(parts)}."


def bound_text(reports: Sequence[Report]) -> str:
    """Whether the sample shows the required sensitivity, or only does not contradict it."""
    measured = [r for r in reports if r.metrics]
    clear = sum(r.sensitivity_bound_clears is True for r in measured)
    least = reports[0].policy.settings.min_sensitivity
    of = f"{clear} of {len(measured)} artifacts measured"
    return (
        f"A true sensitivity of {least:g} is shown for {of}, those where the lower end of the exact "
        f"95 % interval (Clopper and Pearson 1934) reaches {least:g}. The policy asks for {least:g} "
        "in this sample, which is less."
    )


def identity_text(reports: Sequence[Report]) -> str:
    """What judged, when, on which images, and for what use alone."""
    data, versions = reports[0].data, dict.fromkeys(report.toolkit_version for report in reports)
    days = sorted({report.created[:10] for report in reports})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"udacimed-edge {', '.join(versions)}, {when}. Data: {data.name} ({data.origin}), "
        f"{data.split} split, {data.pneumonia + data.normal} images. {NOTICE}"
    )


def value_text(found: Proportion) -> str:
    """A proportion, to four decimals."""
    return NOT_MEASURED if found.value is None else f"{found.value:.4f}"


def interval_text(found: Proportion) -> str:
    """Its exact 95 % interval, to four decimals."""
    exact = found.clopper_pearson
    return "" if exact is None else f"{exact.low:.4f} to {exact.high:.4f}"
