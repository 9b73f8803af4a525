"""Judges artifacts again, from their bytes, or answers that an artifact gave elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from udacimed_edge.core.artifact import locate, report_of
from udacimed_edge.core.data import DataSet, Split
from udacimed_edge.core.errors import EdgeError, InputError
from udacimed_edge.core.files import path_digest
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.validation.judging.evaluate import contract_of, data_record, evaluate
from udacimed_edge.validation.judging.external import evaluate_predictions, read_predictions
from udacimed_edge.validation.judging.inputs import (
    EvaluationInputs,
    IsaChoice,
    Making,
    RunSettings,
    SourceScores,
)
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import Report, read_report
from udacimed_edge.workflow.plan import ItemResult, Stage
from udacimed_edge.workflow.prepare import inputs_of, set_threshold

if TYPE_CHECKING:
    from udacimed_edge.source.load import SourceModel

__all__ = ["FindSource", "validate_all", "validate_predictions"]

FindSource = Callable[[str], "SourceModel | None"]
"""Loads the source model, given the SHA-256 of the one an artifact says it was made from; None where it is
not at hand. Naming an unknown model must not help an artifact: what it says is then only stated."""


def validate_all(
    artifacts: Sequence[Path],
    data: DataSet,
    settings: PolicySettings,
    find_source: FindSource,
    notify: Callable[[Stage | ItemResult], None],
    isa: IsaChoice = "none",
) -> list[ItemResult]:
    """Judge artifacts again, from their bytes.

    Args:
        artifacts: Files or the folders `convert` wrote.
        data: Its test split judges; its validation split sets a threshold that the model does not state.
        settings: The policy's bounds.
        find_source: Finds the model an artifact was made from.
        notify: Told of each stage and of each result.
        isa: Which processor cases are computed.
    """
    test, results = data.read("test"), []
    for path in artifacts:
        started, name = time.monotonic(), str(path)

        def tell(stage: str, name: str = name) -> None:
            notify(Stage(name, stage))

        try:
            artifact = locate(path)
            tell("source")
            earlier = _earlier_report(artifact)
            inputs = _inputs(artifact, earlier, data, test, settings, find_source)
            report = evaluate(artifact, inputs, RunSettings(isa=isa), _making(earlier, test), tell)
            result = ItemResult(name, report=report, artifact=artifact)
        except EdgeError as error:
            result = ItemResult(name, error=error)
        results.append(replace(result, seconds=time.monotonic() - started))
        notify(results[-1])
    return results


def validate_predictions(
    path: Path, predictions: Path, data: DataSet, settings: PolicySettings, find_source: FindSource
) -> ItemResult:
    """Judge answers that an artifact gave on another device, by the same policy.

    Args:
        path: The artifact, or the folder `convert` wrote.
        predictions: The file of answers; its form is described in examples/PREDICTIONS.md.
        data: As for `validate_all`.
        settings: The policy's bounds.
        find_source: Finds the model the artifact was made from.

    Raises:
        InputError: The artifact or the file cannot be used, or the file speaks of another artifact.
    """
    started, test, artifact = time.monotonic(), data.read("test"), locate(path)
    earlier = _earlier_report(artifact)
    inputs = _inputs(artifact, earlier, data, test, settings, find_source)
    answers = read_predictions(predictions, len(test.labels))
    report = evaluate_predictions(artifact, answers, inputs, _making(earlier, test))
    return ItemResult(str(path), report=report, artifact=artifact, seconds=time.monotonic() - started)


def _inputs(
    artifact: Path,
    earlier: Report | None,
    data: DataSet,
    test: Split,
    settings: PolicySettings,
    find_source: FindSource,
) -> EvaluationInputs:
    """What the artifact is judged on: by the source model itself where it is at hand."""
    contract = contract_of(artifact)
    source = find_source(contract.source_digest)
    if source is not None:
        return inputs_of(source, data, "test", set_threshold(source, data), settings)
    return EvaluationInputs(
        test, data_record(data, test), _stated_scores(artifact, contract, earlier, test), settings
    )


def _stated_scores(artifact: Path, contract: Contract, earlier: Report | None, test: Split) -> SourceScores:
    """What the report beside an artifact says of its source model.

    Raises:
        InputError: There is no report on these images.
    """
    if earlier is None or earlier.data.digest != test.digest:
        raise InputError(
            f"{artifact} was made from the model {contract.source_name} ({contract.source_digest[:12]}), "
            "which is not at hand, and no report beside it holds that model's answers for these images",
            "name the model it was made from with --source",
        )
    origin = f"the report of {earlier.created} beside the artifact ({earlier.report_digest[:12]})"
    return SourceScores(
        earlier.source.name,
        earlier.source.digest,
        np.array(earlier.predictions.source, dtype=np.float64),
        origin,
        earlier.threshold if earlier.source.threshold is None else earlier.source.threshold,
        stated_by=origin,
        card=earlier.source.card,
    )


def _earlier_report(artifact: Path) -> Report | None:
    """The report beside an artifact, if there is one.

    Raises:
        InputError: It is damaged, or the artifact's bytes are not the ones it speaks of.
    """
    path = report_of(artifact)
    if not path.exists():
        return None
    report = read_report(path)
    if report.artifact.digest != path_digest(artifact):
        raise InputError(
            f"{artifact} was changed after its report {path.name} was written",
            "convert the model again; or, to judge the changed file, move the report away",
        )
    return report


def _making(earlier: Report | None, test: Split) -> Making:
    """How an artifact came about, as the report beside it says."""
    if earlier is None:
        return Making()
    return Making(
        calibration=earlier.calibration,
        recipes=earlier.recipes,
        calibration_cost=earlier.calibration_cost if earlier.data.digest == test.digest else None,
        notes=earlier.source.notes,
    )
