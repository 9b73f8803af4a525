"""What a report says of INT8: its recipe, where the work is done, how other processors compute."""

from __future__ import annotations

from collections.abc import Sequence

from udacimed_edge.runtime.formats import FORMATS
from udacimed_edge.validation.rendering.statements import GLYPHS, NOT_MEASURED
from udacimed_edge.validation.rendering.tables import Table
from udacimed_edge.validation.report import ProcessorRecord, Report, names

__all__ = ["compared", "processors_text", "tables"]


def tables(reports: Sequence[Report]) -> tuple[Table, ...]:
    """Every table there is something to say in; none where nothing was INT8."""
    found = (
        make(reports) for make in (_processor_table, _unsafe_table, _recipe_table, _cost_table, _work_table)
    )
    return tuple(table for table in found if table.rows)


def _recipe_table(reports: Sequence[Report]) -> Table:
    """Every recipe that was tried; an artifact stands on its last."""
    rows = tuple(
        (
            name,
            f"{recipe.number}",
            recipe.name,
            "✓ held" if recipe.passed else "✗ broken",
            recipe.reason,
            ", ".join(recipe.float_layers) or "none",
        )
        for name, report in zip(names(reports), reports, strict=True)
        for recipe in report.recipes
    )
    columns = (
        "Artifact",
        "Recipe",
        "Method",
        "Policy on the validation split",
        "Why not",
        "Layers left in float",
    )
    return Table(
        "recipes", "How each INT8 artifact was made: one recipe after the other until one held", columns, rows
    )


def _cost_table(reports: Sequence[Report]) -> Table:
    """What calibrating on synthetic images costs, against the same conversion on patients' images."""
    rows = tuple(
        (
            name,
            f"{GLYPHS[cost.verdict]} {cost.verdict}",
            *(
                NOT_MEASURED if value is None else f"{value:+.4f}"
                for value in (cost.sensitivity_cost, cost.specificity_cost, cost.auc_cost)
            ),
            cost.method,
        )
        for name, report in zip(names(reports), reports, strict=True)
        if (cost := report.calibration_cost)
    )
    columns = (
        "Artifact",
        "On patients' images",
        "Sensitivity lost",
        "Specificity lost",
        "AUC lost",
        "How that one was made",
    )
    return Table(
        "cost", "What calibrating on synthetic images costs, in figures of this split", columns, rows
    )


def _work_table(reports: Sequence[Report]) -> Table:
    """Multiply-accumulates and operators by the type they are computed in."""
    rows = tuple(
        (name, f"{sum(macs.values()) / 1e6:.1f}", _shares(macs), _counts(report.artifact.operators))
        for name, report in zip(names(reports), reports, strict=True)
        if (macs := report.artifact.macs)
    )
    columns = ("Artifact", "Million multiply-accumulates an image", "Share by type", "Operators by type")
    return Table("work", "Where the work is done, counted in each artifact's own graph", columns, rows)


def _shares(macs: dict[str, int]) -> str:
    total = sum(macs.values())
    return ", ".join(f"{n / total:.2%} {dtype}" for dtype, n in sorted(macs.items()) if total)


def _counts(operators: dict[str, int]) -> str:
    return ", ".join(f"{n} {dtype}" for dtype, n in sorted(operators.items())) or NOT_MEASURED


def processors_text(reports: Sequence[Report]) -> str:
    """What the matrix is, and what it found, in words; nothing where there is none."""
    rows = [row for report in reports for row in report.processors if not row.comparison_only]
    if not rows:
        return ""
    ran = [row for row in rows if row.verdict != "SKIP"]
    changed = sum(bool(row.changed) for row in ran)
    return (
        "Processors with other instructions compute INT8 differently. Each row ran the same bytes in a "
        f"process of its own, as that processor computes them: {len(ran)} of {len(rows)} rows were executed, "
        f"{len(rows) - len(ran)} skipped; in {changed} a decision differs from the judged run. "
        "An executed row that breaks the policy fails the artifact."
        f"{_unproven(reports)}"
    )


def _unproven(reports: Sequence[Report]) -> str:
    """The processors that the formats know and nothing was computed for, each by name."""
    missing: dict[str, None] = {}
    for report in reports:
        if not (own := [row for row in report.processors if not row.comparison_only]):
            continue
        executed = {row.name for row in own if row.verdict != "SKIP"}
        known = FORMATS[report.artifact.format].processors if report.artifact.format in FORMATS else ()
        asked = dict.fromkeys(f"{report.artifact.format}-{name}" for name in known)
        missing |= dict.fromkeys(
            name for name in (*asked, *(row.name for row in own)) if name not in executed
        )
    if not missing:
        return ""
    return (
        f" Not computed: {', '.join(missing)}. How such a processor computes these artifacts is not proven; "
        "a device without the instructions of the machine that judged is such a processor."
    )


def _processor_table(reports: Sequence[Report]) -> Table:
    """The matrix: one row per artifact and processor."""
    return _matrix("processors", "The same bytes on other processors", reports, comparison_only=False)


def _unsafe_table(reports: Sequence[Report]) -> Table:
    """The same for a variant in the faster setting, which is no artifact and decides nothing."""
    caption = "No artifact and no verdict: what the faster setting, unsafe without VNNI, would have cost"
    return _matrix("unsafe", caption, reports, comparison_only=True)


def _matrix(key: str, caption: str, reports: Sequence[Report], comparison_only: bool) -> Table:
    rows = tuple(
        (name, *_processor(row))
        for name, report in zip(names(reports), reports, strict=True)
        for row in report.processors
        if row.comparison_only == comparison_only
    )
    columns = (
        "Artifact",
        "Processor",
        "Computed by",
        "Policy" if comparison_only else "Verdict",
        "Decisions other than in the judged run",
        "Largest probability difference from it",
        "Sensitivity",
        "Specificity",
        "AUC",
        "Why not; changed decisions here are counted against the source model",
    )
    return Table(key, caption, columns, rows)


def _processor(row: ProcessorRecord) -> tuple[str, ...]:
    shown = [
        None if row.changed is None else str(row.changed),
        None if row.max_difference is None else f"{row.max_difference:.2e}",
        *(None if value is None else f"{value:.4f}" for value in (row.sensitivity, row.specificity, row.auc)),
    ]
    figures = tuple(NOT_MEASURED if text is None else text for text in shown)
    verdict = compared(row) if row.comparison_only else f"{GLYPHS[row.verdict]} {row.verdict}"
    return (row.processor, row.way, verdict, *figures, row.reason)


def compared(row: ProcessorRecord) -> str:
    """What the policy would say of a row for comparison, in words that are no verdict."""
    return {"PASS": "would hold", "FAIL": "would be broken", "SKIP": "not computed"}[row.verdict]
