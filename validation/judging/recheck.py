"""A report judged again from its own numbers, without the artifact: an edited one contradicts itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.metrics.metrics import compare, compute_metrics, prediction_digest
from udacimed_edge.validation.metrics.records import Record
from udacimed_edge.validation.policy.clauses import ClauseResult, Evidence
from udacimed_edge.validation.policy.policy import artifact_policy
from udacimed_edge.validation.report import Report

__all__ = ["judge_again", "recompute", "wrong_figures"]


def recompute(report: Report) -> Evidence:
    """What the policy looks at, computed from the probabilities and labels in a report.

    What is not in them is taken as the report states it: invariance, what was counted in the artifact's
    tensors, the INT8 recipes and the other processors.

    Raises:
        InputError: The artifact was not executed, an answer is not finite, or probabilities and labels
            cannot be used.
    """
    kept = report.predictions
    if not kept.artifact or None in kept.artifact:
        raise InputError("the artifact was not executed, or gave an answer that is not finite")
    if not set(kept.labels) <= {0, 1}:
        raise InputError("a label is neither 0 nor 1")
    labels = np.array(kept.labels, np.uint8)
    source, artifact = np.array(kept.source, np.float64), np.array(kept.artifact, np.float64)
    own = report.threshold if report.source.threshold is None else report.source.threshold
    return Evidence(
        artifact=compute_metrics(labels, artifact, report.threshold),
        non_finite=0,
        source=compute_metrics(labels, source, own),
        comparison=compare(labels, source, artifact, report.threshold, own),
        invariance=report.invariance,
        altered=report.basis.altered if report.basis else None,
        executed_here=report.basis.executed_here if report.basis else None,
        claimed_precision=report.artifact.precision,
        weight_dtypes=report.artifact.weight_dtypes,
        macs=report.artifact.macs,
        float_layers=tuple(report.artifact.contract.get("float_layers", ())),
        recipes={recipe.number: recipe.passed for recipe in report.recipes},
        processors={row.name: row.verdict for row in report.processors if not row.comparison_only},
    )


def wrong_figures(report: Report, evidence: Evidence) -> list[str]:
    """The fields of a report that its own probabilities contradict.

    Args:
        report: Any that was executed.
        evidence: From `recompute`.
    """
    labels, data = report.predictions.labels, report.data
    exact = evidence.artifact.sensitivity.clopper_pearson if evidence.artifact else None
    digest = prediction_digest(np.array(report.predictions.artifact, np.float64))
    pairs = {
        "metrics": (report.metrics, evidence.artifact),
        "source.metrics": (report.source.metrics, evidence.source),
        "comparison": (report.comparison, evidence.comparison),
        "sensitivity_bound_clears": (
            report.sensitivity_bound_clears,
            exact and exact.low >= report.policy.settings.min_sensitivity,
        ),
        "data": ((data.pneumonia, data.normal), (sum(labels), len(labels) - sum(labels))),
        "predictions.digest": (report.predictions.digest, digest),
    }
    return [name for name, (stated, computed) in pairs.items() if not _same(stated, computed)]


def judge_again(report: Report, evidence: Evidence) -> tuple[ClauseResult, ...]:
    """What this version's policy, with the report's bounds, says of the figures.

    Args:
        report: Any that was executed.
        evidence: From `recompute`.
    """
    return artifact_policy(report.policy.settings, evidence).judge(evidence)


def _same(a: Any, b: Any) -> bool:
    """Equal, but for what another version of SciPy may change in a float's last digits."""
    if isinstance(a, Record) and type(a) is type(b):
        return all(_same(getattr(a, name), getattr(b, name)) for name in type(a).model_fields)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return bool(a == b)
