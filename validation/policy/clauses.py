"""The clauses of the policy: each holds one thing that was measured against one bound.

A clause that cannot be evaluated fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from udacimed_edge.validation.metrics.metrics import least_count
from udacimed_edge.validation.metrics.records import (
    Agreement,
    Comparison,
    Invariance,
    Metrics,
    Proportion,
    Record,
)

__all__ = [
    "MIN_MAC_SHARE",
    "MIN_SHARE_BESIDE_FLOAT",
    "MIN_WEIGHT_SHARE",
    "AlteredAgreement",
    "Clause",
    "ClauseResult",
    "ComputeHeld",
    "DeviceAgreement",
    "Evidence",
    "FiniteOutputs",
    "Invariant",
    "MaxAucDrop",
    "MaxSpecificityDrop",
    "MinAgreement",
    "MinSensitivity",
    "MinSpecificity",
    "PrecisionHeld",
    "ProcessorsHold",
    "RecipeHeld",
]

MIN_WEIGHT_SHARE: Mapping[str, float] = {"fp32": 1.0, "fp16": 1.0, "int8": 0.95}
"""Share of weight elements that must have the claimed type. INT8 leaves biases and scales in wider types."""

MIN_MAC_SHARE: Mapping[str, float] = {"fp32": 1.0, "fp16": 0.0, "int8": 0.95}
"""Share of multiply-accumulates that must be computed in the claimed type. fp16 is how weights are stored:
OpenVINO computes them in float32."""

MIN_SHARE_BESIDE_FLOAT = 0.5
"""The same shares of int8 where the contract names layers left in float: what is mostly float is not int8."""

_ROUNDING = 1e-12
"""Slack for the subtraction of two values in 0..1, which errs by less than 1e-15. No drop that is truly
above a bound of two decimals, on a split of up to 100,000 images, comes as close to it as this."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a policy may look at; None, and no weights, where it was not measured: clauses then fail.

    Attributes:
        artifact: Of what is judged: the artifact or, under `source_policy`, the source model itself.
            None when outputs were not finite.
        non_finite: Number of images with a non-finite output.
        source: Of the source model, on the same images.
        comparison: Of the artifact with the source model.
        invariance: Of the artifact over batch sizes and repeated runs.
        altered: Of the artifact with the source model on images made from the split's by code; None where
            the source model was not at hand.
        executed_here: Of a device's answers with what the artifact answers here; None where nothing was
            stated of a device, or the artifact cannot be executed here.
        claimed_precision: "fp32", "fp16" or "int8".
        weight_dtypes: Weight elements per type, counted in the artifact's own tensors; keys are spelled
            like precisions: "int8", "fp16", "fp32" and others.
        macs: Multiply-accumulates of one image by the type they are computed in, spelled likewise; "int16"
            is an activation of 16 bits times a weight of 8.
        float_layers: The layers that the contract says INT8 left in float.
        recipes: Whether each INT8 recipe held on the validation split, by its number.
        processors: Verdict per processor case: "PASS", "FAIL", or "SKIP" where it was not
            computed.

    Raises:
        ValueError: Artifact and source model were not measured on the same images.
    """

    artifact: Metrics | None
    non_finite: int
    source: Metrics | None = None
    comparison: Comparison | None = None
    invariance: Invariance | None = None
    altered: Agreement | None = None
    executed_here: Agreement | None = None
    claimed_precision: str = ""
    weight_dtypes: Mapping[str, int] = field(default_factory=dict)
    macs: Mapping[str, int] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()
    recipes: Mapping[int, bool] = field(default_factory=dict)
    processors: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse figures that cannot be compared."""
        measured = {(m.tp + m.fn, m.tn + m.fp) for m in (self.artifact, self.source) if m}
        if len(measured) > 1:
            raise ValueError("artifact and source model were measured on different images")


class ClauseResult(Record):
    """The verdict of one clause, to be shown whether it passed or not."""

    name: str
    requirement: str
    measured: str
    passed: bool

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.name}: {self.measured}; required: {self.requirement}"


class Clause(Protocol):
    """One thing that must hold."""

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Compare what was measured with what is required; what was not measured does not pass."""


@dataclass(frozen=True)
class FiniteOutputs:
    """No image has a NaN or infinite output."""

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where no output was non-finite."""
        return ClauseResult(
            name="finite outputs",
            requirement="no image with a non-finite output",
            measured=f"{evidence.non_finite} images with a non-finite output",
            passed=evidence.non_finite == 0,
        )


@dataclass(frozen=True)
class MinSensitivity:
    """At least this share of the images with pneumonia is found. "Everyone is ill" passes it."""

    least: float

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where enough images with pneumonia are called positive."""
        found = evidence.artifact.sensitivity if evidence.artifact else None
        return _min_proportion("sensitivity", self.least, found, "missed")


@dataclass(frozen=True)
class MinSpecificity:
    """At least this share of the normal images is called normal."""

    least: float

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where enough normal images are called negative."""
        found = evidence.artifact.specificity if evidence.artifact else None
        return _min_proportion("specificity", self.least, found, "called ill")


@dataclass(frozen=True)
class MaxSpecificityDrop:
    """The source model's specificity is lost by no more than this, an absolute difference."""

    most: float

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where specificity fell by no more than allowed, or rose."""
        before = evidence.source.specificity.value if evidence.source else None
        after = evidence.artifact.specificity.value if evidence.artifact else None
        return _max_drop("specificity drop", self.most, before, after)


@dataclass(frozen=True)
class MaxAucDrop:
    """The source model's AUC is lost by no more than this, an absolute difference."""

    most: float

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where AUC fell by no more than allowed, or rose."""
        before = evidence.source.auc if evidence.source else None
        after = evidence.artifact.auc if evidence.artifact else None
        return _max_drop("AUC drop", self.most, before, after)


@dataclass(frozen=True)
class MinAgreement:
    """At least this share of the decisions is the source model's."""

    least: float

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where few enough decisions changed."""
        requirement, found = f">= {self.least:g}", evidence.comparison
        if found is None:
            return _not_measured("agreement", requirement)
        return ClauseResult(
            name="agreement",
            requirement=requirement,
            measured=f"{found.agreement:.4f}, {len(found.changed)} decisions changed",
            passed=found.agreement >= self.least,
        )


@dataclass(frozen=True)
class AlteredAgreement:
    """The artifact decides like the source model on images that stand in no file too.

    An artifact that answers from a table of the split's images passes every other clause.
    """

    least: float

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where few enough decisions on altered images are other than the source model's."""
        return _min_agreement("agreement on altered images", self.least, evidence.altered)


@dataclass(frozen=True)
class DeviceAgreement:
    """A device decides like the artifact executed here; small differences are a device's own."""

    least: float

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where few enough of the device's decisions are other than those computed here."""
        return _min_agreement("agreement with the run here", self.least, evidence.executed_here)


@dataclass(frozen=True)
class Invariant:
    """The answer for an image depends neither on its batch nor on the run.

    No decision may flip, however small the difference: a patient's result must not depend on who else was
    in the batch. The bound on the difference catches what the split's images only happen not to flip.
    """

    most: float

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where no decision flips and no probability moves further than allowed."""
        requirement, found = f"probabilities move <= {self.most:g}, no decision flips", evidence.invariance
        if found is None:
            return _not_measured("invariance", requirement)
        return ClauseResult(
            name="invariance",
            requirement=requirement,
            measured=f"they move by {found.max_difference:.3g}, {found.flips} decisions flip",
            passed=found.flips == 0 and found.max_difference <= self.most,
        )


@dataclass(frozen=True)
class PrecisionHeld:
    """The artifact's weights have the type that it claims; a claim we do not know is refused."""

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where the share of weight elements of the claimed type is large enough."""
        return _min_share("precision", "weight elements", MIN_WEIGHT_SHARE, evidence.weight_dtypes, evidence)


@dataclass(frozen=True)
class ComputeHeld:
    """The artifact's work is done in the type that it claims.

    16-bit activations, a last recipe, count as int8: their weights are, and so is the size.
    """

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where the share of multiply-accumulates in the claimed type is large enough."""
        counts = dict(evidence.macs)
        if evidence.claimed_precision == "int8" and "int16" in counts:
            counts["int8"] = counts.get("int8", 0) + counts.pop("int16")
        return _min_share("computation", "multiply-accumulates", MIN_MAC_SHARE, counts, evidence)


@dataclass(frozen=True)
class RecipeHeld:
    """The recipe that the artifact stands on, the last that was tried, held on the validation split."""

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where the last recipe held."""
        requirement, tried = "a recipe holds on the validation split", list(evidence.recipes.items())
        if not tried:
            return _not_measured("recipe", requirement)
        number, held = tried[-1]
        return ClauseResult(
            name="recipe",
            requirement=requirement,
            measured=f"recipe {number} holds" if held else f"none of {len(tried)} holds",
            passed=held,
        )


@dataclass(frozen=True)
class ProcessorsHold:
    """As every other processor that was computed, the artifact satisfies `processor_policy` too.

    One that could not be computed here, for want of an emulator, is no evidence either way.
    """

    def judge(self, evidence: Evidence) -> ClauseResult:
        """Pass where a processor was computed and none failed."""
        requirement, verdicts = "no processor fails", list(evidence.processors.values())
        if not set(verdicts) - {"SKIP"}:
            return _not_measured("processors", requirement)
        failed = [name for name, verdict in evidence.processors.items() if verdict == "FAIL"]
        counted = f"{verdicts.count('PASS')} pass, {verdicts.count('SKIP')} not computed here"
        return ClauseResult(
            name="processors",
            requirement=requirement,
            measured=", ".join([counted, *(f"{name} fails" for name in failed)]),
            passed=not failed,
        )


def _min_proportion(name: str, least: float, found: Proportion | None, failure: str) -> ClauseResult:
    if found is None or found.total == 0:
        return _not_measured(name, f">= {least:g}")
    needed = least_count(least, found.total)
    return ClauseResult(
        name=name,
        requirement=f">= {least:g}, at most {found.total - needed} of {found.total} {failure}",
        measured=f"{found.successes / found.total:.4f}, {found.total - found.successes} {failure}",
        passed=found.successes >= needed,
    )


def _min_agreement(name: str, least: float, found: Agreement | None) -> ClauseResult:
    if found is None:
        return _not_measured(name, f">= {least:g}")
    return ClauseResult(
        name=name,
        requirement=f">= {least:g}",
        measured=f"{found.changed} of {found.images} decisions differ",
        passed=found.images - found.changed >= least_count(least, found.images),
    )


def _min_share(
    name: str, what: str, shares: Mapping[str, float], counts: Mapping[str, int], evidence: Evidence
) -> ClauseResult:
    """At least its share of what was counted has the claimed type; less of it beside float layers."""
    claim, total = evidence.claimed_precision, sum(counts.values())
    if claim not in shares or not total:
        return _not_measured(name, f"{what} of the claimed type {claim!r}")
    least, layers = shares[claim], len(evidence.float_layers)
    requirement = f"at least {least:.0%} of {what} {claim}"
    if layers and claim == "int8":
        least = MIN_SHARE_BESIDE_FLOAT
        requirement = f"at least {least:.0%} of {what} int8 beside {layers} layers left in float"
    return ClauseResult(
        name=name,
        requirement=requirement,
        measured=", ".join(f"{dtype} {n:,} ({n / total:.2%})" for dtype, n in sorted(counts.items())),
        passed=counts.get(claim, 0) / total >= least,
    )


def _max_drop(name: str, most: float, source: float | None, artifact: float | None) -> ClauseResult:
    requirement = f"<= {most:g}"
    if source is None or artifact is None:
        return _not_measured(name, requirement)
    drop = source - artifact
    return ClauseResult(
        name=name,
        requirement=requirement,
        measured=f"{drop:.6f}, from {source:.6f} to {artifact:.6f}",
        passed=drop <= most + _ROUNDING,
    )


def _not_measured(name: str, requirement: str) -> ClauseResult:
    return ClauseResult(name=name, requirement=requirement, measured="not measured", passed=False)
