"""Judges an artifact: reads it back from disk, runs it over a split, asks the policy."""

from __future__ import annotations

import json
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
from udacimed_edge.core.errors import InputError, UnsupportedError
from udacimed_edge.core.extras import require_installed
from udacimed_edge.core.files import files_of, path_digest, sha256_file
from udacimed_edge.runtime.contract import ArtifactError, Contract, Predictor
from udacimed_edge.runtime.formats import format_of
from udacimed_edge.runtime.reader import open_artifact
from udacimed_edge.validation.judging.audit import count_macs, weight_dtypes
from udacimed_edge.validation.judging.inputs import EvaluationInputs, Execution, SourceScores
from udacimed_edge.validation.judging.processors import evaluate_processors
from udacimed_edge.validation.metrics.metrics import compare, compute_metrics, invariance, prediction_digest
from udacimed_edge.validation.metrics.records import Comparison, Invariance, Metrics
from udacimed_edge.validation.policy.clauses import Evidence
from udacimed_edge.validation.policy.policy import PolicySettings, artifact_policy, source_policy
from udacimed_edge.validation.report import (
    ArtifactRecord,
    DataRecord,
    EnvironmentRecord,
    FileRecord,
    LatencyRecord,
    PolicyRecord,
    PredictionRecord,
    Report,
    SourceRecord,
    with_digest,
)

__all__ = [
    "EvaluationInputs",
    "Execution",
    "SourceScores",
    "check_source",
    "data_record",
    "evaluate",
    "judge",
    "open_predictor",
    "require_same_source",
]

BATCH = 64
"""Images in one call, where a format takes more than one."""


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


def check_source(source: SourceScores, split: Split, threshold: float, settings: PolicySettings) -> Metrics:
    """The source model's own figures, if it is worth converting.

    Raises:
        GateRefusedError: It misses too many, calls too many ill, or answers with non-finite numbers.
    """
    finite = np.isfinite(source.probabilities)
    metrics = compute_metrics(split.labels, source.probabilities, threshold) if finite.all() else None
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
    for module in row.to_execute:
        require_installed(module, row.extra)
    try:
        if (stand_in := row.stand_in_here) is None:
            return open_artifact(path, threads)
        stand_in_open = import_module(stand_in.module).open_artifact
        return cast("Callable[[Path, int], Predictor]", stand_in_open)(path, threads)
    except ArtifactError as error:
        raise InputError(str(error), "convert the model again") from error


def evaluate(
    path: Path, inputs: EvaluationInputs, notify: Callable[[str], None] = lambda stage: None
) -> Report:
    """Judge one artifact from its bytes.

    Args:
        path: The artifact.
        inputs: What it is judged on.
        notify: Called with each stage's name.

    Raises:
        InputError: Not an artifact of ours, damaged, or made from another model than the inputs's.
        ExtraMissingError: The format's runtime is not installed.
    """
    digest = path_digest(path)
    notify("audit")
    try:
        predictor = open_predictor(path, inputs.threads)
        require_same_source(path, predictor.contract, inputs.source)
        notify("predict")
        runs, latency = _runs(predictor, inputs)
    except UnsupportedError as error:
        return _skipped(path, digest, inputs, error)
    execution = Execution(predictor.contract, predictor.executor, runs, latency)
    execution = replace(execution, processors=evaluate_processors(path, execution, inputs, notify))
    notify("judge")
    return judge(path, digest, execution, inputs)


def require_same_source(path: Path, contract: Contract, source: SourceScores) -> None:
    """Refuse an artifact of another model than the one whose answers it would be compared with.

    Raises:
        InputError: It was made from another model.
    """
    if contract.source_digest != source.digest:
        raise InputError(
            f"{path} was made from the model {contract.source_name} ({contract.source_digest[:12]}), "
            f"not from {source.name} ({source.digest[:12]})",
            "name the model it was made from with --source",
        )


def _runs(predictor: Predictor, inputs: EvaluationInputs) -> tuple[list[NDArray[np.float64]], LatencyRecord]:
    """The whole split twice alike, the last time image by image; thrice where the format takes batches."""
    images, batch = inputs.split.images, predictor.batch or BATCH
    sizes = [batch, 1] if batch == 1 else [batch, batch, 1]
    runs = [
        np.concatenate([predictor.predict(images[i : i + size]) for i in range(0, len(images), size)])
        for size in sizes[:-1]
    ]
    single, times_ms = [], []
    for image in images:
        started = time.perf_counter()
        single.append(predictor.predict(image[None]))
        times_ms.append(1000 * (time.perf_counter() - started))
    median, p95 = np.percentile(times_ms, [50, 95])
    latency = LatencyRecord(median_ms=float(median), p95_ms=float(p95), threads=inputs.threads)
    return [*runs, np.concatenate(single)], latency


@dataclass(frozen=True)
class _Findings:
    """What the runs showed; None where an output was not finite, invariance also after a single run."""

    metrics: Metrics | None = None
    comparison: Comparison | None = None
    invariance: Invariance | None = None


def _find(runs: list[NDArray[np.float64]], threshold: float, inputs: EvaluationInputs) -> _Findings:
    if not all(np.isfinite(run).all() for run in runs):
        return _Findings()
    labels = inputs.split.labels
    return _Findings(
        compute_metrics(labels, runs[0], threshold),
        compare(labels, inputs.source.probabilities, runs[0], threshold),
        invariance(runs, threshold) if len(runs) > 1 else None,
    )


def judge(path: Path, digest: str, execution: Execution, inputs: EvaluationInputs) -> Report:
    """Ask the policy about what an artifact answered.

    Args:
        path: The artifact; its weights are audited.
        digest: Of the artifact, taken before it was executed.
        execution: What it answered.
        inputs: What it is judged on.
    """
    contract, runs = execution.contract, execution.runs
    dtypes, work = weight_dtypes(path), count_macs(path)
    found = _find(runs, contract.threshold, inputs)
    labels, source = inputs.split.labels, inputs.source.probabilities
    processors = {row.name: row.verdict for row in execution.processors if not row.comparison_only}
    clauses = artifact_policy(
        inputs.settings, with_processors=bool(processors), with_recipes=bool(inputs.recipes)
    ).judge(
        Evidence(
            artifact=found.metrics,
            non_finite=int((~np.isfinite(np.stack(runs))).any(axis=0).sum()),
            source=compute_metrics(labels, source, contract.threshold),
            comparison=found.comparison,
            invariance=found.invariance,
            claimed_precision=contract.precision,
            weight_dtypes=dtypes,
            macs=work.macs,
            float_layers=contract.float_layers,
            recipes={recipe.number: recipe.passed for recipe in inputs.recipes},
            processors=processors,
        )
    )
    failed = [str(clause) for clause in clauses if not clause.passed]
    report = _blank(path, digest, contract, inputs)
    return with_digest(
        report.model_copy(
            update={
                "verdict": "FAIL" if failed else "PASS",
                "reason": "; ".join(failed),
                "executor": execution.executor,
                "artifact": report.artifact.model_copy(
                    update={"weight_dtypes": dtypes, "operators": work.operators, "macs": work.macs}
                ),
                "metrics": found.metrics,
                "sensitivity_bound_clears": _bound_clears(found.metrics, inputs.settings),
                "comparison": found.comparison,
                "invariance": found.invariance,
                "latency": execution.latency,
                "processors": execution.processors,
                "policy": report.policy.model_copy(update={"clauses": clauses}),
                "predictions": report.predictions.model_copy(update=_predictions(runs[0])),
            }
        )
    )


def _predictions(run: NDArray[np.float64]) -> dict[str, object]:
    finite = bool(np.isfinite(run).all())
    return {
        "digest": prediction_digest(run) if finite else None,
        "artifact": tuple(float(p) if np.isfinite(p) else None for p in run),
    }


def _bound_clears(metrics: Metrics | None, settings: PolicySettings) -> bool | None:
    interval = metrics.sensitivity.clopper_pearson if metrics else None
    return None if interval is None else interval.low >= settings.min_sensitivity


def _skipped(path: Path, digest: str, inputs: EvaluationInputs, error: UnsupportedError) -> Report:
    from udacimed_edge.runtime.coreml import read_contract

    # only a Core ML artifact can be unsupported, and its contract is read without executing it
    contract = read_contract(path)
    return with_digest(_blank(path, digest, contract, inputs).model_copy(update={"reason": str(error)}))


def _blank(path: Path, digest: str, contract: Contract, inputs: EvaluationInputs) -> Report:
    """A report on an artifact that was not executed: SKIP until shown otherwise."""
    data, source = inputs.data, inputs.source
    rehearsal = data.origin == "synthetic"
    return Report(
        title=("REHEARSAL, no evidence: " if rehearsal else "")
        + f"{contract.format} {contract.precision} of {contract.source_name}",
        verdict="SKIP",
        reason="",
        rehearsal=rehearsal,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        toolkit_version=__version__,
        artifact=_artifact_record(path, digest, contract),
        executor="not executed",
        threshold=contract.threshold,
        threshold_origin=contract.threshold_origin,
        data=data,
        calibration=inputs.calibration,
        calibration_cost=inputs.calibration_cost,
        recipes=inputs.recipes,
        source=SourceRecord(
            name=source.name,
            digest=source.digest,
            scores_from=source.origin,
            metrics=compute_metrics(inputs.split.labels, source.probabilities, contract.threshold),
        ),
        metrics=None,
        sensitivity_bound_clears=None,
        comparison=None,
        invariance=None,
        policy=PolicyRecord(settings=inputs.settings, digest=inputs.settings.digest(), clauses=()),
        predictions=PredictionRecord(
            digest=None,
            labels=tuple(int(label) for label in inputs.split.labels),
            source=tuple(float(p) for p in source.probabilities),
            artifact=(),
        ),
        environment=environment_record(),
    )


def _artifact_record(path: Path, digest: str, contract: Contract) -> ArtifactRecord:
    files = tuple(
        FileRecord(
            name=f.relative_to(path.parent).as_posix(), size_bytes=f.stat().st_size, sha256=sha256_file(f)
        )
        for f in files_of(path)
    )
    return ArtifactRecord(
        format=contract.format,
        precision=contract.precision,
        digest=digest,
        size_bytes=sum(f.size_bytes for f in files),
        files=files,
        contract=json.loads(contract.to_json()),
        weight_dtypes={},
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
