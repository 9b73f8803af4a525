"""The record of one judgement: everything its verdict rests on, as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import write_atomic
from udacimed_edge.core.json_reader import read_json, validated
from udacimed_edge.validation.metrics.records import Agreement, Comparison, Invariance, Metrics, Record
from udacimed_edge.validation.policy.clauses import ClauseResult
from udacimed_edge.validation.policy.policy import PolicySettings

__all__ = [
    "LIMITS",
    "ArtifactRecord",
    "BasisRecord",
    "CalibrationCost",
    "CalibrationRecord",
    "DataRecord",
    "EnvironmentRecord",
    "FileRecord",
    "LatencyRecord",
    "PolicyRecord",
    "PredictionRecord",
    "ProcessorRecord",
    "RecipeRecord",
    "Report",
    "SourceRecord",
    "Verdict",
    "calibration_cost",
    "names",
    "read_report",
    "with_digest",
    "write_report",
]

Verdict = Literal["PASS", "FAIL", "SKIP"]

LIMITS = (
    "Not a medical device: decision support for research, not a diagnosis and not for clinical use. "
    "MedMNIST states that its data are not intended for clinical use.",
    "Children aged one to five of one hospital (Kermany et al. 2018, doi 10.1016/j.cell.2018.02.010), "
    "one image each of 64x64 pixels; no labels for age, sex, device or severity, so no subgroup was "
    "looked at.",
    "Elsewhere it may fail: a ResNet trained on these data fell from AUC 0.95 to 0.54 on another hospital's "
    "images (Xin, Li and Yi 2021, doi 10.1007/s10140-021-01954-x).",
)
"""What no figure in a report can show; printed with every one."""


class FileRecord(Record):
    """One file of an artifact."""

    name: str
    size_bytes: int
    sha256: str


class ArtifactRecord(Record):
    """The artifact that was judged.

    Attributes:
        format: Its name; "target" in JSON.
        precision: What it claims to be.
        digest: SHA-256; of several files, over the lines that `sha256sum` prints for them.
        size_bytes: All files together.
        files: Each file.
        contract: What the artifact says about itself, read from its bytes.
        weight_dtypes: Weight elements by type, counted in its tensors.
        operators: Operators by the type they compute in: "int8", "fp32" and others.
        macs: Multiply-accumulates of one image by the type they are computed in.
    """

    format: str = Field(validation_alias="target", serialization_alias="target")
    precision: str
    digest: str
    size_bytes: int
    files: tuple[FileRecord, ...]
    contract: dict[str, Any]
    weight_dtypes: dict[str, int]
    operators: dict[str, int] = Field(default_factory=dict)
    macs: dict[str, int] = Field(default_factory=dict)


class DataRecord(Record):
    """The images it was judged on.

    Attributes:
        origin: "official", "custom" or "synthetic".
        name: Of the file.
        file_digest: SHA-256 of the file.
        split: The split that judged.
        digest: SHA-256 of that split's pixels and labels.
        pneumonia: Images with pneumonia in that split.
        normal: Images without.
        split_sizes: Images in each split of the file; empty where it was not counted.
    """

    origin: Literal["official", "custom", "synthetic"]
    name: str
    file_digest: str
    split: str
    digest: str
    pneumonia: int
    normal: int
    split_sizes: dict[str, int] = Field(default_factory=dict)


class SourceRecord(Record):
    """The model the artifact was made from.

    Attributes:
        name: Of the model.
        digest: SHA-256 of its file.
        scores_from: Where its probabilities come from, in words.
        metrics: Its own figures at its own threshold.
        threshold: Its own; None in what version 0.1.0 wrote, which scored it at the artifact's.
        notes: What was assumed about its file, in lines.
        card: What its model card says of the test split and of what had been seen of it, in lines; empty
            where it has none, and in what version 0.1.0 wrote.
    """

    name: str
    digest: str
    scores_from: str
    metrics: Metrics
    threshold: float | None = None
    notes: tuple[str, ...] = ()
    card: tuple[str, ...] = ()


class BasisRecord(Record):
    """What a verdict rests on: what was executed here, and what is only somebody's word.

    Attributes:
        answers: "executed here", or "stated": then they come from a file.
        answers_by: What computed; or where they were computed, and the file that says so.
        source: "computed here" where the source model answered itself, which also says threshold, labels and
            normalisation; or "stated".
        source_by: What computed; or whose word it is.
        executed_here: How stated answers agree with those computed here; None where one kind is missing.
        altered: How the artifact agrees with the source model on images altered by code; None where one of
            the two was not executed here.
    """

    answers: Literal["executed here", "stated"]
    answers_by: str
    source: Literal["computed here", "stated"]
    source_by: str
    executed_here: Agreement | None = None
    altered: Agreement | None = None

    @property
    def answers_unproven(self) -> bool:
        """Whether the answers are somebody's word, and nothing executed here agrees with them."""
        return self.answers == "stated" and self.executed_here is None

    def __str__(self) -> str:
        """In a sentence for people."""
        answers = f"executed here by {self.answers_by}"
        if self.answers == "stated":
            answers = f"the answers are stated, not executed here: {self.answers_by}"
        if self.executed_here is not None:
            found = self.executed_here
            answers = (
                f"the answers are stated by {self.answers_by}; executed here too, "
                f"{found.changed} of {found.images} decisions differ"
            )
        source = f"the source model was computed here by {self.source_by}"
        if self.source == "stated":
            source = (
                f"the source model's answers and threshold are stated, not computed here: {self.source_by}"
            )
        return f"{answers}; {source}"


class CalibrationRecord(Record):
    """The images INT8 was calibrated on; `origin` is "custom", "official" or "synthetic"."""

    images: int
    digest: str
    split: str
    data_digest: str
    origin: str = ""


class CalibrationCost(Record):
    """What synthetic calibration costs: the same conversion, calibrated on patients' images instead.

    Each cost is its figure less this report's own, so positive where patients' images are better.

    Attributes:
        calibration: The patients' images.
        method: How it was made, in words.
        verdict: Of the policy, on the split of this report.
        sensitivity: 0..1; None where an output was not finite, as for all that follow.
        specificity: 0..1.
        auc: 0..1.
        sensitivity_cost: -1..1.
        specificity_cost: -1..1.
        auc_cost: -1..1.
    """

    calibration: CalibrationRecord
    method: str
    verdict: Verdict
    sensitivity: float | None = None
    specificity: float | None = None
    auc: float | None = None
    sensitivity_cost: float | None = None
    specificity_cost: float | None = None
    auc_cost: float | None = None


class RecipeRecord(Record):
    """One INT8 recipe that was tried, judged on the validation split.

    Attributes:
        number: 1 for the lowest.
        name: The method, in words.
        passed: Whether the policy held on the validation split.
        reason: Why not; empty where it did.
        float_layers: Names of the layers that were left in float.
    """

    number: int
    name: str
    passed: bool
    reason: str = ""
    float_layers: tuple[str, ...] = ()


class ProcessorRecord(Record):
    """The artifact as another processor computes it: one case.

    Attributes:
        name: Of the row, for example "openvino-avx2".
        processor: What it stands for, in words.
        way: How it was computed: "native", an environment variable, or the emulator's command.
        verdict: Of the policy on these answers; SKIP where it was not computed.
        reason: Why it is not PASS; empty otherwise.
        sensitivity: 0..1; None where it was not computed, as for all that follow.
        specificity: 0..1.
        auc: 0..1.
        changed: Decisions that differ from the judged run's.
        max_difference: Largest difference in probability from the judged run.
        prediction_digest: Over the probabilities, as in `PredictionRecord`.
        seconds: What computing it took.
        comparison_only: True for settings that are not the artifact's own, shown for what they would cost:
            such a row never decides the verdict.
    """

    name: str
    processor: str
    way: str
    verdict: Verdict
    reason: str = ""
    sensitivity: float | None = None
    specificity: float | None = None
    auc: float | None = None
    changed: int | None = None
    max_difference: float | None = None
    prediction_digest: str | None = None
    seconds: float | None = None
    comparison_only: bool = False


class PolicyRecord(Record):
    """What had to hold, and what did."""

    settings: PolicySettings
    digest: str
    clauses: tuple[ClauseResult, ...]


class PredictionRecord(Record):
    """Every probability of pneumonia, in the split's order; None where an output was not finite.

    `digest` is over the artifact's probabilities rounded to four decimals: two conversions whose bytes
    differ can be seen to answer alike.
    """

    digest: str | None
    labels: tuple[int, ...]
    source: tuple[float, ...]
    artifact: tuple[float | None, ...]


class LatencyRecord(Record):
    """How long one image took while the artifact was judged: beside other work, so no benchmark.

    Attributes:
        median_ms: Of all images of the split, one at a time.
        p95_ms: 95 of 100 images took no longer.
        threads: Threads of one prediction; 0 for one per core.
    """

    median_ms: float
    p95_ms: float
    threads: int


class EnvironmentRecord(Record):
    """Where it was judged."""

    python: str
    system: str
    processor: str
    instruction_sets: tuple[str, ...]
    cores: int
    tools: dict[str, str]


class Report(Record):
    """One artifact, one data set, one verdict.

    Attributes:
        title: Begins with REHEARSAL where the data are synthetic.
        schema_version: The version of this form.
        verdict: PASS only where every clause was evaluated and held; SKIP where nothing was executed.
        reason: Why it is not PASS; empty otherwise.
        rehearsal: True where no patient is in the data: then it is no evidence.
        created: UTC, ISO 8601.
        executor: What computed, with its version.
        threshold: Decision threshold on the probability of pneumonia.
        threshold_origin: Where the threshold comes from.
        sensitivity_bound_clears: Whether the lower end of sensitivity's exact 95 % interval reaches the
            required sensitivity; None where nothing was measured. At 390 positives it needs 390 or 389 found.
        calibration_cost: What calibrating on synthetic images costs; None where it was not asked for, and
            where the format or the data leave nothing to compare.
        recipes: The INT8 recipes that were tried, the artifact's own the last; "rungs" in JSON. Empty where
            the artifact is not INT8, or was not made by this run and carries no earlier report.
        processors: The processor cases; empty where it was not asked for.
        basis: What the verdict rests on; None in what version 0.1.0 wrote, which did not say.
        report_digest: SHA-256 of the rest of this report as canonical JSON.
    """

    title: str
    schema_version: Literal[1] = 1
    verdict: Verdict
    reason: str
    rehearsal: bool
    created: str
    toolkit_version: str
    artifact: ArtifactRecord
    executor: str
    threshold: float
    threshold_origin: str
    data: DataRecord
    calibration: CalibrationRecord | None
    calibration_cost: CalibrationCost | None = None
    source: SourceRecord
    metrics: Metrics | None
    sensitivity_bound_clears: bool | None
    comparison: Comparison | None
    invariance: Invariance | None
    latency: LatencyRecord | None = None
    recipes: tuple[RecipeRecord, ...] = Field(
        default=(), validation_alias="rungs", serialization_alias="rungs"
    )
    processors: tuple[ProcessorRecord, ...] = ()
    policy: PolicyRecord
    predictions: PredictionRecord
    environment: EnvironmentRecord
    limits: tuple[str, ...] = LIMITS
    basis: BasisRecord | None = None
    report_digest: str = ""

    @property
    def stated(self) -> bool:
        """Whether the verdict rests on somebody's word for the answers or for the source model."""
        return self.basis is not None and (self.basis.answers_unproven or self.basis.source == "stated")

    @property
    def verdict_words(self) -> str:
        """The verdict, and whether it is only stated."""
        return f"{self.verdict}, stated" if self.stated and self.verdict != "SKIP" else self.verdict


def names(reports: Sequence[Report]) -> tuple[str, ...]:
    """What to call each artifact: format, precision, the device elsewhere, and what tells it from others."""
    short = [f"{r.artifact.format} {r.artifact.precision}{_elsewhere(r)}" for r in reports]
    longer = [f"{name} ({r.artifact.digest[:8]})" for name, r in zip(short, reports, strict=True)]
    full = [f"{name} {r.report_digest[:8]}" for name, r in zip(short, reports, strict=True)]
    for choice in (short, longer):
        if len(set(choice)) == len(choice):
            return tuple(choice)
    return tuple(full)


def _elsewhere(report: Report) -> str:
    """The device's name, where the answers were computed elsewhere."""
    found, _, device = report.executor.partition("executed on ")
    return f" on {device.split(',')[0]}" if device and not found else ""


def calibration_cost(real: Report, synthetic: Metrics | None) -> CalibrationCost | None:
    """What synthetic images cost; None where the other artifact was not calibrated.

    Args:
        real: Of the artifact calibrated on patients' images.
        synthetic: What the one calibrated on synthetic images measured on the same split.
    """
    if real.calibration is None:
        return None
    theirs, ours = _figures(real.metrics), _figures(synthetic)
    return CalibrationCost(
        calibration=real.calibration,
        method=str(real.artifact.contract.get("method", "")),
        verdict=real.verdict,
        **theirs,
        **{f"{name}_cost": theirs[name] - ours[name] for name in theirs.keys() & ours.keys()},
    )


def _figures(metrics: Metrics | None) -> dict[str, float]:
    if metrics is None:
        return {}
    parts = {"sensitivity": metrics.sensitivity, "specificity": metrics.specificity}
    found = {name: part.value for name, part in parts.items() if part.value is not None}
    return {**found, "auc": metrics.auc}


def with_digest(report: Report) -> Report:
    """The report with its own digest, so that a change made afterwards shows."""
    return report.model_copy(update={"report_digest": _digest(report.model_dump(mode="json"))})


def write_report(report: Report, path: Path) -> None:
    """Write a sealed report as JSON, its title in the first line, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    text = report.model_dump_json(indent=1).replace("{\n ", "{", 1)
    write_atomic(path, f"{text}\n".encode())


def read_report(path: Path) -> Report:
    """Read a report back and check that it is as it was written.

    Raises:
        InputError: Missing, not a report, of another version, or changed since.
    """
    content, _ = read_json(path, "a report")
    version = content.get("schema_version")
    if version != 1:
        raise InputError(
            f"{path} is a report of version {str(version)[:40]}; this udacimed-edge reads version 1"
        )
    digest = _digest(content)
    _as_0_1_0_wrote_it(content)
    report = validated(Report, json.dumps(content), path, "a report")
    if report.report_digest != digest:
        raise InputError(f"{path} was changed after it was written", "validate the artifact again")
    return report


def _as_0_1_0_wrote_it(content: dict[str, Any]) -> None:
    """A policy without a floor for specificity is 0.1.0's, which had none for the artifact."""
    settings = content["policy"]["settings"] if isinstance(content.get("policy"), dict) else None
    if isinstance(settings, dict):
        settings.setdefault("min_specificity", None)


def _digest(content: dict[str, Any]) -> str:
    """Over what was written, so that a report stays valid where a later version knows more fields."""
    rest = {key: value for key, value in content.items() if key != "report_digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
