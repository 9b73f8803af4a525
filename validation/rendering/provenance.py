"""How artifacts were made and judged, for whom asks: data, threshold, tools, commands."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.rendering.statements import NOT_MEASURED, alarms_text
from udacimed_edge.validation.rendering.tables import Table
from udacimed_edge.validation.report import LIMITS, Report, names

__all__ = ["NO_CARD", "card_lines", "commands", "facts", "size_table", "tools_table"]

USE = (
    "Use: research into decision support, to draw a clinician's attention to a chest radiograph of a child "
    "that may show pneumonia. It does not diagnose, and nothing it answers excludes pneumonia.",
    "Users: clinicians, auditors and engineers who examine the model on a device.",
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


NO_CARD = (
    "nothing: so what of the test split was seen while it was made, and how it does on parts of that split, "
    "is not known here"
)
"""In place of lines of a card."""


def facts(reports: Sequence[Report]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """How the artifacts were made and judged: each a term, and what is to be said of it."""
    data, named = reports[0].data, list(zip(names(reports), reports, strict=True))
    return (
        ("Intended", USE),
        (
            "Data",
            (
                f"{data.name}: {ORIGINS[data.origin]}",
                f"file SHA-256 {data.file_digest}",
                f"images and labels of the split SHA-256 {data.digest}",
            ),
        ),
        (
            "Split",
            (
                f"{data.split}: {data.pneumonia + data.normal} images, {data.pneumonia} with pneumonia and "
                f"{data.normal} without",
                *(
                    f"{name}: {count} images"
                    for name, count in data.split_sizes.items()
                    if name != data.split
                ),
            ),
        ),
        ("Reference standard", (REFERENCE_STANDARDS[data.origin],)),
        ("Source model", _each(reports, _source)),
        ("What its model card says", card_lines(reports)),
        ("Threshold", _each(reports, lambda r: f"{r.threshold:.6f}: {r.threshold_origin}")),
        ("Calibration of INT8", _each(reports, _calibration)),
        ("Executed by", _each(reports, lambda r: r.executor)),
        ("Policy", (_bounds(reports[0].policy.settings), f"SHA-256 {reports[0].policy.digest}")),
        ("Judged", _each(reports, lambda r: f"{r.created} by udacimed-edge {r.toolkit_version}")),
        ("Machine that judged", _each(reports, _machine)),
        ("Answers", _each(reports, _answers)),
        ("Artifacts", tuple(f"{n}: SHA-256 {r.artifact.digest}" for n, r in named)),
        ("Reports", _each(reports, lambda r: f"SHA-256 {r.report_digest}")),
    )


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
        f"{alarms_text(m.fp)} of {m.tn + m.fp}; its answers: {report.source.scores_from}"
    )


def card_lines(reports: Sequence[Report]) -> tuple[str, ...]:
    """What the source model's card says of the test split, of what had been seen of it, and of limits.

    Limits that every report has anyway are left out.
    """
    said = dict.fromkeys(line for report in reports for line in report.source.card)
    return tuple(line for line in said if line.removeprefix("limit: ") not in LIMITS) or (NO_CARD,)


def _calibration(report: Report) -> str:
    c = report.calibration
    return f"{c.images} images of the {c.split} split, SHA-256 {c.digest}" if c else "none"


def _answers(report: Report) -> str:
    digest = report.predictions.digest
    if digest is None:
        return "none that are all finite"
    return (
        f"SHA-256 {digest} over all probabilities to four decimals; the same conversion made again may have "
        "other bytes, this digest shows that it answers alike"
    )


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
    return Table(
        "tools", "Software it was made and judged with (SOUP list)", ("Distribution", "Version"), rows
    )


def commands(report: Report) -> tuple[str, ...]:
    """The commands that make and judge such an artifact again; MODEL stands for the source model's file."""
    builtin = {"official": "medmnist", "synthetic": "synthetic"}
    data = builtin.get(report.data.origin, shlex.quote(report.data.name))
    item, default = report.artifact, PolicySettings()
    bounds = "".join(
        f" --{name.replace('_', '-')} {value:g}"
        for name, value in report.policy.settings.model_dump().items()
        if value != getattr(default, name)
    )
    judge = f"udacimed-edge validate out/{item.format}-{item.precision} --data {data}{bounds}"
    if report.executor.startswith("executed on"):
        judge = f"udacimed-edge validate --predictions FILE --artifact ARTIFACT --data {data}{bounds}"
    return (
        f"udacimed-edge convert MODEL --target {item.format} --precision {item.precision} "
        f"--data {data}{bounds}",
        judge,
    )


def size_table(reports: Sequence[Report]) -> Table:
    """How large each artifact is, what its weights are stored as, and how long an image took."""
    rows = tuple(
        (
            name,
            f"{r.artifact.size_bytes}",
            f"{r.artifact.size_bytes / 2**20:.1f}",
            ", ".join(f"{n} {dtype}" for dtype, n in sorted(r.artifact.weight_dtypes.items()))
            or NOT_MEASURED,
            f"{r.latency.median_ms:.2f} ({r.latency.p95_ms:.2f})" if r.latency else NOT_MEASURED,
            r.artifact.digest[:12],
        )
        for name, r in zip(names(reports), reports, strict=True)
    )
    latency = "Latency in ms, median (95 %), of one image while judging: no benchmark"
    columns = ("Artifact", "Bytes", "MiB", "Weight elements by type", latency, "SHA-256 begins")
    return Table("sizes", "Size, weights and latency of each artifact", columns, rows)
