"""What changed between two artifacts, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from udacimed_edge.validation.judging.compare import Change
from udacimed_edge.validation.metrics.records import Metrics
from udacimed_edge.validation.rendering.markdown import escaped, rehearsal, table_text
from udacimed_edge.validation.rendering.statements import value_text
from udacimed_edge.validation.rendering.tables import Table, clause_rows, paired_cells
from udacimed_edge.validation.report import Report, names

__all__ = ["change_markdown"]


def change_markdown(change: Change) -> str:
    """The comparison as Markdown, for release notes."""
    first, second = names((change.before, change.after))
    verdict = "It matters under the policy" if change.reasons else "It does not matter under the policy"
    parts = [
        f"# From {escaped(first)} to {escaped(second)}",
        *rehearsal(change.before),
        f"**{verdict}.** {escaped('; '.join(change.reasons))}".strip(),
        table_text(_figures(change, first, second)),
        "## For whom",
        _people(change),
        table_text(_paired(change)),
        "## Under the policy",
        f"The policy's bounds, with {escaped(first)} in the role of the source model.",
        table_text(_clauses(change)),
    ]
    made = _differences(change, first, second)
    if made.rows:
        parts += ["## What else differs", table_text(made)]
    return "\n\n".join(parts) + "\n"


def _figures(change: Change, first: str, second: str) -> Table:
    both = (change.before, change.after)
    found: list[Metrics] = [report.metrics for report in both if report.metrics]
    rows = (
        ("Verdict", *(r.verdict for r in both)),
        ("Missed", *(f"{m.fn} of {m.tp + m.fn}" for m in found)),
        ("False alarms", *(f"{m.fp} of {m.tn + m.fp}" for m in found)),
        ("Sensitivity", *(value_text(m.sensitivity) for m in found)),
        ("Specificity", *(value_text(m.specificity) for m in found)),
        ("AUC", *(f"{m.auc:.4f}" for m in found)),
        ("Bytes", *(str(r.artifact.size_bytes) for r in both)),
    )
    return Table("change", "Before and after, on the same images", ("", first, second), rows)


def _people(change: Change) -> str:
    said = (
        ("With pneumonia, found before and missed now", change.newly_missed),
        ("With pneumonia, missed before and found now", change.newly_found),
        ("Without, called normal before and ill now", change.new_alarms),
        ("Without, called ill before and normal now", change.alarms_gone),
    )
    return "\n".join(f"- {who}: {len(index)}{_listed(index)}" for who, index in said)


def _listed(index: tuple[int, ...]) -> str:
    return f" (by index: {', '.join(map(str, index))})" if index else ""


def _paired(change: Change) -> Table:
    data, found = change.before.data, change.comparison
    rows = (
        ("Sensitivity", *paired_cells(found.mcnemar_positives, data.pneumonia)),
        ("Specificity", *paired_cells(found.mcnemar_negatives, data.normal)),
    )
    columns = ("", "Right before only", "Right now only", "Difference", "95 % interval", "p-value")
    caption = "After less before, with Tango's interval and the exact McNemar test"
    return Table("paired", caption, columns, rows)


def _clauses(change: Change) -> Table:
    return replace(clause_rows(change.clauses), key="bounds", caption="Bounds")


def _differences(change: Change, first: str, second: str) -> Table:
    """What the artifacts were made from, with and by, where it is not the same."""
    aspects: dict[str, Callable[[Report], str]] = {
        "Format and precision": lambda r: f"{r.artifact.format} {r.artifact.precision}",
        "Source model": lambda r: f"{r.source.name}, {r.source.digest[:12]}",
        "Calibration": lambda r: r.calibration.digest[:12] if r.calibration else "none",
        "Executed by": lambda r: r.executor,
        "udacimed-edge": lambda r: r.toolkit_version,
        "Machine": lambda r: f"{r.environment.processor}, {r.environment.system}",
    }
    both = (change.before, change.after)
    rows = [(what, *(of(r) for r in both)) for what, of in aspects.items()]
    tools = dict.fromkeys([*change.before.environment.tools, *change.after.environment.tools])
    rows += [(tool, *(r.environment.tools.get(tool, "none") for r in both)) for tool in tools]
    different = tuple(row for row in rows if row[1] != row[2])
    caption = "What the artifacts and their judgements differ in"
    return Table("differences", caption, ("", first, second), different)
