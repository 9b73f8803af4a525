"""The policy: what must hold before an artifact may leave.

A policy is an object whose `check` raises, made of clauses that must all hold; one without clauses is
refused, since it would accept anything (after sigstore-python, `verify/policy.py`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.validation.metrics.records import Record
from udacimed_edge.validation.policy import bounds
from udacimed_edge.validation.policy.clauses import (
    MIN_MAC_SHARE,
    MIN_SHARE_BESIDE_FLOAT,
    MIN_WEIGHT_SHARE,
    AlteredAgreement,
    Clause,
    ClauseResult,
    ComputeHeld,
    DeviceAgreement,
    Evidence,
    FiniteOutputs,
    Invariant,
    MaxAucDrop,
    MaxSpecificityDrop,
    MinAgreement,
    MinSensitivity,
    MinSpecificity,
    PrecisionHeld,
    ProcessorsHold,
    RecipeHeld,
)

__all__ = [
    "Policy",
    "PolicySettings",
    "artifact_policy",
    "processor_policy",
    "source_policy",
]

MAX_INVARIANCE = 1e-3
"""Largest probability difference between batch sizes and runs: kernels may add in another order, no more."""


@dataclass(frozen=True)
class Policy:
    """Clauses that must all hold.

    Raises:
        ValueError: There is no clause.
    """

    clauses: tuple[Clause, ...]

    def __post_init__(self) -> None:
        """Refuse to be empty, now and later: a list could still be emptied, a generator used up."""
        object.__setattr__(self, "clauses", tuple(self.clauses))
        if not self.clauses:
            raise ValueError("a policy without clauses would accept anything")

    def judge(self, evidence: Evidence) -> tuple[ClauseResult, ...]:
        """The verdict of every clause, in order, also after one has failed."""
        return tuple(clause.judge(evidence) for clause in self.clauses)

    def check(self, evidence: Evidence) -> None:
        """Let it pass in silence, or refuse it.

        Raises:
            GateRefusedError: A clause does not hold; the message names every one that does not.
        """
        failed = [str(result) for result in self.judge(evidence) if not result.passed]
        if failed:
            raise GateRefusedError("the policy refuses it:\n" + "\n".join(f"  {reason}" for reason in failed))


_Share = Annotated[float, Field(ge=0, le=1)]


class PolicySettings(Record):
    """The bounds that a user may set, each 0..1.

    Attributes:
        min_sensitivity: Of artifact and source model.
        min_specificity: Of artifact and source model, however little of it was lost. None in what version
            0.1.0 wrote, which had no floor for the artifact.
        max_specificity_drop: From source model to artifact, an absolute difference.
        max_auc_drop: From source model to artifact, an absolute difference.
        min_agreement: Share of decisions that are the source model's.
    """

    min_sensitivity: _Share = bounds.MIN_SENSITIVITY
    min_specificity: _Share | None = bounds.MIN_SPECIFICITY
    max_specificity_drop: _Share = bounds.MAX_SPECIFICITY_DROP
    max_auc_drop: _Share = bounds.MAX_AUC_DROP
    min_agreement: _Share = bounds.MIN_AGREEMENT

    def digest(self) -> str:
        """SHA-256 of the whole policy as canonical JSON: these bounds and those that nobody may set.

        A package must match the policy that its artifact was judged by, also when a later version of the
        toolkit has changed a fixed bound.
        """
        fixed = {
            "max_invariance": MAX_INVARIANCE,
            "min_mac_share": dict(MIN_MAC_SHARE),
            "min_share_beside_float": MIN_SHARE_BESIDE_FLOAT,
            "min_weight_share": dict(MIN_WEIGHT_SHARE),
        }
        if self.min_specificity is None:  # as version 0.1.0 wrote it
            fixed["min_source_specificity"] = bounds.MIN_SPECIFICITY
        settings = self.model_dump(exclude_none=True)
        text = json.dumps({"fixed": fixed, "settings": settings}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def artifact_policy(settings: PolicySettings, evidence: Evidence | None = None) -> Policy:
    """What an artifact must satisfy before it is packaged.

    Args:
        settings: The bounds.
        evidence: Holds what was asked of it besides, and must hold then: INT8 recipes, other processors,
            altered images, the same answers here as on a device. None where nothing was.
    """
    evidence = evidence or Evidence(artifact=None, non_finite=0)
    asked: tuple[tuple[object, Clause], ...] = (
        (evidence.altered, AlteredAgreement(settings.min_agreement)),
        (evidence.executed_here, DeviceAgreement(settings.min_agreement)),
        (evidence.recipes, RecipeHeld()),
        (evidence.processors, ProcessorsHold()),
    )
    own: tuple[Clause, ...] = (Invariant(MAX_INVARIANCE), PrecisionHeld())
    if MIN_MAC_SHARE.get(evidence.claimed_precision) != 0:  # a share of nothing always holds: no clause
        own += (ComputeHeld(),)
    return Policy((*processor_policy(settings).clauses, *own, *(clause for found, clause in asked if found)))


def processor_policy(settings: PolicySettings) -> Policy:
    """What an artifact's answers must satisfy as any processor computes them."""
    return Policy(
        (
            FiniteOutputs(),
            MinSensitivity(settings.min_sensitivity),
            *_specificity_floor(settings),
            MaxSpecificityDrop(settings.max_specificity_drop),
            MaxAucDrop(settings.max_auc_drop),
            MinAgreement(settings.min_agreement),
        )
    )


def source_policy(settings: PolicySettings) -> Policy:
    """What a source model must satisfy before anything is made from it.

    Its evidence is `Evidence(artifact=metrics_of_the_source, non_finite=...)`.
    """
    floor = _specificity_floor(settings) or (MinSpecificity(bounds.MIN_SPECIFICITY),)
    return Policy((FiniteOutputs(), MinSensitivity(settings.min_sensitivity), *floor))


def _specificity_floor(settings: PolicySettings) -> tuple[Clause, ...]:
    return () if settings.min_specificity is None else (MinSpecificity(settings.min_specificity),)
