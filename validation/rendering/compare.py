"""Two reports side by side: what changed, for whom, and whether it matters under the policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.metrics.metrics import compare
from udacimed_edge.validation.metrics.records import Comparison, Metrics
from udacimed_edge.validation.policy.clauses import (
    ClauseResult,
    Evidence,
    MaxAucDrop,
    MaxSpecificityDrop,
    MinAgreement,
    MinSensitivity,
)
from udacimed_edge.validation.policy.policy import Policy, PolicySettings
from udacimed_edge.validation.rendering.content import Table, clause_rows, names, paired_cells, value_text
from udacimed_edge.validation.rendering.markdown import escaped, rehearsal, table_text
from udacimed_edge.validation.report import Report

__all__ = ["Change", "change_markdown", "compare_reports", "require_same"]


@dataclass(frozen=True)
class Change:
    """What changed from one judged artifact to another on the same images.

    Attributes:
        before: The report on the first.
        after: The report on the second.
        comparison: The second's answers against the first's; `source` in it means the first.
        clauses: The policy's bounds, the first in the role of the source model.
        newly_missed: Images with pneumonia that only the first found, by index.
        newly_found: Images with pneumonia that only the second found.
        new_alarms: Normal images that only the second calls ill.
        alarms_gone: Normal images that only the first calls ill.
    """

    before: Report
    after: Report
    comparison: Comparison
    clauses: tuple[ClauseResult, ...]
    newly_missed: tuple[int, ...]
    newly_found: tuple[int, ...]
    new_alarms: tuple[int, ...]
    alarms_gone: tuple[int, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it matters under the policy; empty where it does not."""
        turned = f"the verdict turned from {self.before.verdict} to {self.after.verdict}"
        broken = tuple(str(clause) for clause in self.clauses if not clause.passed)
        return ((turned,) if self.before.verdict != self.after.verdict else ()) + broken


def require_same(reports: Sequence[Report], called: Sequence[str]) -> None:
    """Refuse reports that do not belong into one table.

    Args:
        reports: Any number.
        called: What each is called in an error, for example its path.

    Raises:
        InputError: They differ in the form's version, in the images, or in the policy.
    """
    for what, of, hint in _BELONGING:
        for report, name in zip(reports, called, strict=True):
            if of(report) != of(reports[0]):
                raise InputError(
                    f"{called[0]} and {name} are of different {what}: {of(reports[0])} and {of(report)}", hint
                )


def _data(report: Report) -> str:
    return f"{report.data.name}, {report.data.split} split {report.data.digest[:12]}"


_AGAIN = "validate both artifacts again, with the same --data and the same bounds"
_BELONGING: tuple[tuple[str, Callable[[Report], object], str], ...] = (
    ("versions", lambda report: f"version {report.schema_version}", "validate the older artifact again"),
    ("data", _data, _AGAIN),
    ("policies", lambda report: f"policy {report.policy.digest[:12]}", _AGAIN),
)


def compare_reports(before: Report, after: Report) -> Change:
    """Compare two artifacts by what their reports hold.

    Raises:
        InputError: The reports are of different versions, data, policies or thresholds, or one artifact has
            no finite answer for every image.
    """
    called = names((before, after))
    require_same((before, after), called)
    if before.threshold != after.threshold:
        raise InputError(
            f"{called[0]} and {called[1]} have different thresholds: {before.threshold:.6f} "
            f"and {after.threshold:.6f}",
            "convert both from a model with the same threshold, or state it with --threshold",
        )
    scores = [_answers(report, name) for report, name in zip((before, after), called, strict=True)]
    labels = np.array(before.predictions.labels, np.uint8)
    comparison = compare(labels, scores[0], scores[1], before.threshold)
    evidence = Evidence(artifact=after.metrics, non_finite=0, source=before.metrics, comparison=comparison)
    return Change(
        before=before,
        after=after,
        comparison=comparison,
        clauses=_bounds(before.policy.settings).judge(evidence),
        newly_missed=_where(comparison, "pneumonia", "normal"),
        newly_found=_where(comparison, "pneumonia", "pneumonia"),
        new_alarms=_where(comparison, "normal", "pneumonia"),
        alarms_gone=_where(comparison, "normal", "normal"),
    )


def _answers(report: Report, name: str) -> NDArray[np.float64]:
    if report.metrics is None or None in report.predictions.artifact:
        raise InputError(
            f"{name} has no answers to compare: {report.verdict}, {report.reason}",
            "compare artifacts that were executed and answer with finite numbers",
        )
    return np.array(report.predictions.artifact, dtype=np.float64)


def _bounds(settings: PolicySettings) -> Policy:
    """The clauses that compare; the others hold or break for one artifact alone, and its verdict says so."""
    return Policy(
        (
            MinSensitivity(settings.min_sensitivity),
            MaxSpecificityDrop(settings.max_specificity_drop),
            MaxAucDrop(settings.max_auc_drop),
            MinAgreement(settings.min_agreement),
        )
    )


def _where(comparison: Comparison, label: str, now: str) -> tuple[int, ...]:
    """The images of a label whose decision is now this one, and was not before."""
    return tuple(c.index for c in comparison.changed if c.label == label and c.artifact == now)


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
