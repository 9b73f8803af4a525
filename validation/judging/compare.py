"""Two reports compared: what changed, for whom, and whether it matters under the policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.metrics.metrics import compare
from udacimed_edge.validation.metrics.records import Comparison
from udacimed_edge.validation.policy.clauses import (
    ClauseResult,
    Evidence,
    MaxAucDrop,
    MaxSpecificityDrop,
    MinAgreement,
    MinSensitivity,
)
from udacimed_edge.validation.policy.policy import Policy, PolicySettings
from udacimed_edge.validation.report import Report, names

__all__ = ["Change", "compare_reports", "require_same"]


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
