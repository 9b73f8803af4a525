"""Judges an artifact: reads it back from disk, runs it over a split, asks the policy."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from udacimed_edge import __version__
from udacimed_edge.core import machine
from udacimed_edge.core.data import DataSet, Split
from udacimed_edge.core.errors import EdgeError, InputError, UnsupportedError
from udacimed_edge.core.extras import require_installed
from udacimed_edge.core.files import files_of, path_digest, sha256_file
from udacimed_edge.runtime.contract import ArtifactError, Contract, Predictor
from udacimed_edge.runtime.formats import FormatSpec, format_of
from udacimed_edge.runtime.reader import open_artifact
from udacimed_edge.validation.judging.audit import ComputeCost, count_macs, weight_dtypes
from udacimed_edge.validation.judging.inputs import (
    EvaluationInputs,
    Execution,
    Making,
    RunSettings,
    SourceScores,
)
from udacimed_edge.validation.judging.processors import evaluate_processors
from udacimed_edge.validation.metrics.metrics import (
    agreement,
    compare,
    compute_metrics,
    invariance,
    prediction_digest,
)
from udacimed_edge.validation.metrics.records import Agreement, Comparison, Invariance, Metrics
from udacimed_edge.validation.policy.clauses import ClauseResult, Evidence
from udacimed_edge.validation.policy.policy import PolicySettings, artifact_policy, source_policy
from udacimed_edge.validation.report import (
    ArtifactRecord,
    BasisRecord,
    CalibrationCost,
    DataRecord,
    EnvironmentRecord,
    FileRecord,
    LatencyRecord,
    PolicyRecord,
    PredictionRecord,
    ProcessorRecord,
    Report,
    SourceRecord,
    Verdict,
    calibration_cost,
    with_digest,
)

__all__ = [
    "BATCH",
    "altered_agreement",
    "check_source",
    "contract_of",
    "data_record",
    "evaluate",
    "evaluate_answers",
    "in_batches",
    "open_predictor",
    "require_promise",
]

BATCH = 64
"""Images in one call, where a format takes more than one."""

_RULE_TOLERANCE = 1e-4
"""How far a threshold may lie, relatively, from what the rule gives here: on another processor sums round
otherwise, and the scores that the rule picks from move by less than this."""


_PLAIN, _UNKNOWN = RunSettings(), Making()


def data_record(data: DataSet, split: Split) -> DataRecord:
    """How a report names the images."""
    ill = int(split.labels.sum())
    return DataRecord(
        origin=data.origin,
        name=data.name,
        file_digest=data.digest,
        split=split.name,
        digest=split.digest,
        pneumonia=ill,
        normal=len(split.labels) - ill,
        split_sizes=data.sizes(),
    )


def check_source(source: SourceScores, split: Split, settings: PolicySettings) -> Metrics:
    """The source model's own figures at its own threshold, if it is worth converting.

    Raises:
        GateRefusedError: It misses too many, calls too many ill, or answers with non-finite numbers.
    """
    finite = np.isfinite(source.probabilities)
    metrics = compute_metrics(split.labels, source.probabilities, source.threshold) if finite.all() else None
    source_policy(settings).check(Evidence(artifact=metrics, non_finite=int((~finite).sum())))
    assert metrics is not None  # otherwise the policy has raised
    return metrics


def open_predictor(path: Path, threads: int = 0) -> Predictor:
    """Open an artifact through its runtime, or through what stands in for that here: see FormatSpec.

    Raises:
        InputError: Not an artifact of ours, or damaged.
        ExtraMissingError: The format's runtime is not installed.
        UnsupportedError: It cannot be executed here.
    """
    row = format_of(path)
    _require_runtime(row)
    try:
        if (stand_in := row.stand_in_here) is None:
            return _guarded(path, open_artifact(path, threads))
        stand_in_open = import_module(stand_in.module).open_artifact
        return _guarded(path, cast("Callable[[Path, int], Predictor]", stand_in_open)(path, threads))
    except ArtifactError as error:
        raise InputError(str(error), "convert the model again") from error


def _guarded(path: Path, predictor: Predictor) -> Predictor:
    """The predictor, whose runtime's own exceptions name the artifact."""

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        try:
            return predictor.predict(images)
        except (EdgeError, MemoryError):
            raise
        except Exception as error:  # each runtime has exceptions of its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"{path} cannot be computed: {reason}", "convert the model again") from error

    return replace(predictor, predict=predict)


def contract_of(artifact: Path) -> Contract:
    """What an artifact says of itself; a Core ML package says it also where nothing can execute it.

    Raises:
        InputError: Not an artifact of ours, or damaged.
        ExtraMissingError: The libraries that read the format are not installed.
    """
    if artifact.suffix != ".mlpackage":
        return open_predictor(artifact, threads=1).contract
    from udacimed_edge.runtime.coreml import read_contract

    _require_runtime(format_of(artifact))
    try:
        return read_contract(artifact)
    except ArtifactError as error:
        raise InputError(str(error), "convert the model again") from error


def _require_runtime(row: FormatSpec) -> None:
    for module in row.to_execute:
        require_installed(module, row.extra)


def evaluate(
    path: Path,
    inputs: EvaluationInputs,
    run: RunSettings = _PLAIN,
    making: Making = _UNKNOWN,
    notify: Callable[[str], None] = lambda stage: None,
) -> Report:
    """Judge one artifact from its bytes.

    Args:
        path: The artifact.
        inputs: What it is judged on.
        run: How it is executed.
        making: How it came about, for the report and for the clause on INT8 recipes.
        notify: Called with each stage's name.

    Raises:
        InputError: Not an artifact of ours, damaged, or one that promises otherwise than its source model.
        ExtraMissingError: The format's runtime is not installed.
    """
    digest = path_digest(path)
    notify("audit")
    try:
        predictor = open_predictor(path, run.threads)
        require_promise(path, predictor.contract, inputs)
        notify("predict")
        execution = _execute(path, predictor, inputs, run, notify)
    except UnsupportedError as error:
        return _skipped(path, digest, inputs, making, error)
    notify("judge")
    return evaluate_answers(path, digest, execution, inputs, making)


def require_promise(path: Path, contract: Contract, inputs: EvaluationInputs) -> None:
    """Refuse an artifact that promises otherwise than the model whose answers it is compared with.

    Raises:
        InputError: It was made from another model, or states another threshold, other labels, input or
            normalisation than the source model.
    """
    source, promise = inputs.source, inputs.promise
    if contract.source_digest != source.digest:
        raise InputError(
            f"{path} was made from the model {contract.source_name} ({contract.source_digest[:12]}), "
            f"not from {source.name} ({source.digest[:12]})",
            "name the model it was made from with --source",
        )
    if promise is None:
        return
    tolerance = _RULE_TOLERANCE if inputs.by_rule else 0.0
    if not math.isclose(contract.threshold, promise.threshold, rel_tol=tolerance):
        whose = "the rule on the validation split gives" if inputs.by_rule else "the model's own is"
        raise InputError(
            f"{path} states the threshold {contract.threshold!r}; {whose} {promise.threshold!r}",
            "convert the model again; or, if it was converted with --threshold or other data, name the same",
        )
    told: dict[str, tuple[object, object]] = {
        "labels": (contract.labels, promise.labels),
        "input": (contract.input, promise.input),
    }
    if contract.toolkit_version != "0.1.0":  # which did not write the normalisation down
        told |= {"mean": (contract.mean, promise.mean), "std": (contract.std, promise.std)}
    for name, (states, own) in told.items():
        if states != own:
            raise InputError(
                f"{path} states the {name} {states!r}; the model's own is {own!r}", "convert the model again"
            )


def _execute(
    path: Path,
    predictor: Predictor,
    inputs: EvaluationInputs,
    run: RunSettings,
    notify: Callable[[str], None],
) -> Execution:
    """What the artifact answers, and how other processors compute it."""
    runs, latency = _runs(predictor, inputs.split.images, run.threads)
    execution = Execution(
        predictor.contract,
        predictor.executor,
        runs,
        latency,
        altered=altered_agreement(predictor, inputs),
    )
    processors = evaluate_processors(path, execution, inputs, run, notify)
    return Execution(
        execution.contract, execution.executor, runs, latency, processors, altered=execution.altered
    )


def in_batches(
    predictor: Predictor, images: NDArray[np.uint8], size: int | None = None
) -> NDArray[np.float64]:
    """An artifact's answers, float64 of shape (n,), `size` images at once; by default as many as suit it."""
    size = size or predictor.batch or BATCH
    return np.concatenate([predictor.predict(images[i : i + size]) for i in range(0, len(images), size)])


def _runs(
    predictor: Predictor, images: NDArray[np.uint8], threads: int
) -> tuple[list[NDArray[np.float64]], LatencyRecord]:
    """The whole split twice alike, the last time image by image; thrice where the format takes batches."""
    batch = predictor.batch or BATCH
    sizes = [batch, 1] if batch == 1 else [batch, batch, 1]
    runs = [in_batches(predictor, images, size) for size in sizes[:-1]]
    single, times_ms = [], []
    for image in images:
        started = time.perf_counter()
        single.append(predictor.predict(image[None]))
        times_ms.append(1000 * (time.perf_counter() - started))
    median, p95 = np.percentile(times_ms, [50, 95])
    latency = LatencyRecord(median_ms=float(median), p95_ms=float(p95), threads=threads)
    return [*runs, np.concatenate(single)], latency


def altered_agreement(predictor: Predictor, inputs: EvaluationInputs) -> Agreement | None:
    """How an artifact agrees with its source model on altered images; None where that is not at hand."""
    if inputs.altered is None:
        return None
    answers = in_batches(predictor, inputs.altered.images)
    source = inputs.altered.probabilities
    return agreement(answers, source, predictor.contract.threshold, inputs.source.threshold)


@dataclass(frozen=True)
class _Findings:
    """What the answers showed, and what the policy says of it; nothing of it where nothing was executed."""

    verdict: Verdict
    reason: str
    executor: str
    metrics: Metrics | None = None
    comparison: Comparison | None = None
    invariance: Invariance | None = None
    cost: ComputeCost | None = None
    dtypes: dict[str, int] | None = None
    clauses: tuple[ClauseResult, ...] = ()
    latency: LatencyRecord | None = None
    processors: tuple[ProcessorRecord, ...] = ()
    answers: tuple[float | None, ...] = ()
    digest: str | None = None
    basis: BasisRecord | None = None


def evaluate_answers(
    path: Path, digest: str, execution: Execution, inputs: EvaluationInputs, making: Making = _UNKNOWN
) -> Report:
    """Ask the policy about what an artifact answered.

    Args:
        path: The artifact; its weights are audited.
        digest: Of the artifact, taken before it was executed.
        execution: What it answered.
        inputs: What it is judged on.
        making: How it came about.
    """
    contract, first = execution.contract, execution.runs[0]
    labels, source = inputs.split.labels, inputs.source
    dtypes, cost = weight_dtypes(path), count_macs(path)
    non_finite = int((~np.isfinite(np.stack(execution.runs))).any(axis=0).sum())
    finite = not non_finite
    evidence = Evidence(
        artifact=compute_metrics(labels, first, contract.threshold) if finite else None,
        non_finite=non_finite,
        source=compute_metrics(labels, source.probabilities, source.threshold),
        comparison=compare(labels, source.probabilities, first, contract.threshold, source.threshold)
        if finite
        else None,
        invariance=invariance(execution.runs, contract.threshold)
        if finite and len(execution.runs) > 1
        else None,
        altered=execution.altered,
        executed_here=execution.executed_here,
        claimed_precision=contract.precision,
        weight_dtypes=dtypes,
        macs=cost.macs,
        float_layers=contract.float_layers,
        recipes={recipe.number: recipe.passed for recipe in making.recipes},
        processors={row.name: row.verdict for row in execution.processors if not row.comparison_only},
    )
    clauses = artifact_policy(inputs.settings, evidence).judge(evidence)
    failed = [str(clause) for clause in clauses if not clause.passed]
    findings = _Findings(
        verdict="FAIL" if failed else "PASS",
        reason="; ".join(failed),
        executor=execution.executor,
        metrics=evidence.artifact,
        comparison=evidence.comparison,
        invariance=evidence.invariance,
        cost=cost,
        dtypes=dtypes,
        clauses=clauses,
        latency=execution.latency,
        processors=execution.processors,
        answers=tuple(float(p) if np.isfinite(p) else None for p in first),
        digest=prediction_digest(first) if np.isfinite(first).all() else None,
        basis=_basis(execution, source),
    )
    return _report(_artifact_record(path, digest, contract, findings), contract, findings, inputs, making)


def _basis(execution: Execution, source: SourceScores) -> BasisRecord:
    return BasisRecord(
        answers="stated" if execution.stated_by else "executed here",
        answers_by=execution.stated_by or execution.executor,
        source="stated" if source.stated_by else "computed here",
        source_by=source.stated_by or source.origin.removeprefix("computed by "),
        executed_here=execution.executed_here,
        altered=execution.altered,
    )


def _skipped(
    path: Path, digest: str, inputs: EvaluationInputs, making: Making, error: UnsupportedError
) -> Report:
    """A report on an artifact that could not be executed here."""
    contract = contract_of(path)  # only Core ML can be unsupported, and it is read without being executed
    require_promise(path, contract, inputs)
    findings = _Findings(verdict="SKIP", reason=str(error), executor="not executed")
    return _report(_artifact_record(path, digest, contract, findings), contract, findings, inputs, making)


def _report(
    artifact: ArtifactRecord,
    contract: Contract,
    findings: _Findings,
    inputs: EvaluationInputs,
    making: Making,
) -> Report:
    """The record of one judgement, with its own digest."""
    data, source = inputs.data, inputs.source
    rehearsal = data.origin == "synthetic"
    report = Report(
        title=("REHEARSAL, no evidence: " if rehearsal else "")
        + f"{contract.format} {contract.precision} of {contract.source_name}",
        verdict=findings.verdict,
        reason=findings.reason,
        rehearsal=rehearsal,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        toolkit_version=__version__,
        artifact=artifact,
        executor=findings.executor,
        threshold=contract.threshold,
        threshold_origin=contract.threshold_origin,
        data=data,
        calibration=making.calibration,
        calibration_cost=_calibration_cost(findings.metrics, making),
        recipes=making.recipes,
        source=SourceRecord(
            name=source.name,
            digest=source.digest,
            scores_from=source.origin,
            metrics=compute_metrics(inputs.split.labels, source.probabilities, source.threshold),
            threshold=source.threshold,
            notes=making.notes,
            card=source.card,
        ),
        metrics=findings.metrics,
        sensitivity_bound_clears=_bound_clears(findings.metrics, inputs.settings),
        comparison=findings.comparison,
        invariance=findings.invariance,
        latency=findings.latency,
        processors=findings.processors,
        policy=PolicyRecord(
            settings=inputs.settings, digest=inputs.settings.digest(), clauses=findings.clauses
        ),
        predictions=PredictionRecord(
            digest=findings.digest,
            labels=tuple(int(label) for label in inputs.split.labels),
            source=tuple(float(p) for p in source.probabilities),
            artifact=findings.answers,
        ),
        environment=environment_record(),
        basis=findings.basis,
    )
    return with_digest(report)


def _calibration_cost(metrics: Metrics | None, making: Making) -> CalibrationCost | None:
    if making.on_patients is None:
        return making.calibration_cost
    return calibration_cost(making.on_patients, metrics)


def _bound_clears(metrics: Metrics | None, settings: PolicySettings) -> bool | None:
    interval = metrics.sensitivity.clopper_pearson if metrics else None
    return None if interval is None else interval.low >= settings.min_sensitivity


def _artifact_record(path: Path, digest: str, contract: Contract, findings: _Findings) -> ArtifactRecord:
    files = tuple(
        FileRecord(
            name=f.relative_to(path.parent).as_posix(), size_bytes=f.stat().st_size, sha256=sha256_file(f)
        )
        for f in files_of(path)
    )
    cost = findings.cost or ComputeCost({}, {})
    return ArtifactRecord(
        format=contract.format,
        precision=contract.precision,
        digest=digest,
        size_bytes=sum(f.size_bytes for f in files),
        files=files,
        contract=json.loads(contract.to_json()),
        weight_dtypes=findings.dtypes or {},
        operators=cost.operators,
        macs=cost.macs,
    )


def environment_record() -> EnvironmentRecord:
    """This machine, for a report."""
    return EnvironmentRecord(
        python=platform.python_version(),
        system=platform.platform(),
        processor=machine.processor(),
        instruction_sets=tuple(machine.instruction_sets()),
        cores=machine.cores(),
        tools=machine.tool_versions(),
    )
