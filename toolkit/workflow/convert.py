"""The way of the data as plain functions: convert and judge, or judge again."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import Quantization, run
from udacimed_edge.core import machine
from udacimed_edge.core.artifact import REPORT_NAME, locate, report_of
from udacimed_edge.core.data import DataSet, Split
from udacimed_edge.core.errors import EdgeError, InputError, OutputError, UnsupportedError
from udacimed_edge.core.files import path_digest, replace_directory, staging, write_atomic
from udacimed_edge.core.jobs import Job, Notify, run_jobs
from udacimed_edge.core.lock import locked
from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.validation.judging.evaluate import (
    EvaluationInputs,
    SourceScores,
    data_record,
    evaluate,
    open_predictor,
)
from udacimed_edge.validation.judging.external import evaluate_predictions, read_predictions
from udacimed_edge.validation.judging.inputs import IsaChoice
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import (
    RecipeRecord,
    Report,
    calibration_cost,
    read_report,
    with_digest,
    write_report,
)
from udacimed_edge.workflow.plan import ConversionPlan, Item, ItemResult, Stage
from udacimed_edge.workflow.prepare import Calibration, Needs, Shared, computed_scores, share
from udacimed_edge.workflow.recipes import choose_recipe, failed_clauses
from udacimed_edge.workflow.report import CARD_NAME, write_card

if TYPE_CHECKING:
    from udacimed_edge.source.load import SourceModel

__all__ = [
    "convert_all",
    "validate_all",
    "validate_predictions",
]

FOLDERS = {"PASS": "", "FAIL": "rejected", "SKIP": "unproven"}
"""Where below the output folder an artifact goes, by its verdict."""

LOGS = "logs"
"""Where below it the logs of what failed are."""


@dataclass(frozen=True)
class _FormatWork:
    """What the process of one format is given."""

    items: tuple[Item, ...]
    shared: Shared
    staging: Path
    plan: ConversionPlan
    threads: int

    @property
    def format(self) -> str:
        """The format."""
        return self.items[0].format


def convert_all(
    source: SourceModel, data: DataSet, plan: ConversionPlan, notify: Callable[[Stage | ItemResult], None]
) -> list[ItemResult]:
    """Convert a model to every item of a plan and judge each artifact from its bytes.

    An artifact that passes is put at OUT/<item>/ with its report the moment it has passed; one that
    fails at OUT/rejected/<item>/; one that could not be executed here at OUT/unproven/<item>/. What
    stood at OUT/<item>/ before is replaced only by one that passes.

    Args:
        source: The model.
        data: Training images calibrate, validation images set a missing threshold and choose the recipe of
            INT8, test images judge.
        plan: What to make, where, and by which policy.
        notify: Told of each stage and of each result.

    Raises:
        InputError: A split of the data is unusable.
        GateRefusedError: The source model itself does not satisfy the policy.
        OutputError: The output folder cannot be written.
    """
    with locked(plan.out), staging(plan.out) as folder:
        quantized = [FORMATS[item.format] for item in plan.items if item.precision == "int8"]
        needs = Needs(bool(quantized), any(row.calibrated for row in quantized), plan.calibrate)
        shared = share(
            source, data, plan.settings, folder, needs, lambda stage: notify(Stage("source", stage))
        )
        groups = [
            tuple(item for item in plan.items if item.format == name)
            for name in dict.fromkeys(item.format for item in plan.items)
        ]
        threads = max(1, machine.cores() // len(groups))
        work = [_FormatWork(items, shared, folder, plan, threads) for items in groups]
        results = _run(work, folder / LOGS, plan.out / LOGS, notify)
    order = [str(item) for item in plan.items]
    return sorted(results, key=lambda result: order.index(result.item))


def _run(
    work: Sequence[_FormatWork], logs: Path, kept: Path, notify: Callable[[Stage | ItemResult], None]
) -> list[ItemResult]:
    """One process per format; where one dies, the item it worked on gets the error, the rest another process.

    Args:
        work: What there is to do.
        logs: Takes what the processes print.
        kept: Where the logs of those stay that did not succeed.
        notify: Told of each stage and of each result.
    """
    logs.mkdir()
    results: dict[str, ItemResult] = {}

    def notice(job: Job[None], content: Stage | ItemResult) -> None:
        if isinstance(content, ItemResult):
            results[content.item] = content
        notify(content)

    todo = list(work)
    while todo:
        jobs = {part.format: _job(part, logs, kept) for part in todo}
        outcomes = run_jobs(jobs.values(), machine.cores(), notice)
        rest = []
        for part in todo:
            left = [item for item in part.items if str(item) not in results]
            outcome = outcomes[part.format]
            if left and isinstance(outcome, EdgeError):
                notice(jobs[part.format], ItemResult(str(left[0]), error=outcome))
                rest += [replace(part, items=tuple(left[1:]))] if left[1:] else []
        todo = rest
    for part in work:
        failed = any(results[str(item)].error for item in part.items)
        _keep_log(part.format, logs, kept, failed)
    return list(results.values())


def _job(part: _FormatWork, logs: Path, kept: Path) -> Job[None]:
    name = f"{part.format}.log"
    return Job(part.format, _convert_format, part, logs / name, part.threads, kept / name)


def _keep_log(name: str, logs: Path, kept: Path, failed: bool) -> None:
    """Keep what a format's process printed where it failed; else remove what an earlier run kept of it."""
    log = kept / f"{name}.log"
    if failed:
        with suppress(OutputError):  # a full disk; the item's own error says so
            write_atomic(log, (logs / log.name).read_bytes())
    elif kept.is_dir():
        log.unlink(missing_ok=True)
    if kept.is_dir() and not any(kept.iterdir()):
        kept.rmdir()


def _convert_format(work: _FormatWork, notify: Notify) -> None:
    """In the process of one format: each precision converted, judged and put in its place."""
    for item in work.items:
        started = time.monotonic()
        try:
            report, artifact = _convert_item(item, work, notify)
            result = ItemResult(str(item), report=report, artifact=artifact)
        except EdgeError as error:
            traceback.print_exc()  # into the log; the person sees the message alone
            log = work.plan.out / LOGS / f"{work.format}.log"
            error.hint = error.hint or f"what the libraries printed is in {log}"
            result = ItemResult(str(item), error=error)
        notify(replace(result, seconds=time.monotonic() - started))


def _convert_item(item: Item, work: _FormatWork, notify: Notify) -> tuple[Report, Path]:
    row, shared = FORMATS[item.format], work.shared
    folder = work.staging / str(item)
    artifact = folder / f"model{row.suffix}"
    calibration = shared.calibration if item.precision == "int8" and row.calibrated else None
    real = None
    if calibration is not None and shared.comparison is not None:
        real = _make(artifact, item, work, shared.comparison, notify)
    report = _make(artifact, item, work, calibration, notify)
    if real is not None:
        report = with_digest(report.model_copy(update={"calibration_cost": calibration_cost(real, report)}))
    write_report(report, folder / REPORT_NAME)
    write_card(report, folder / CARD_NAME)
    final = work.plan.out / FOLDERS[report.verdict] / str(item)
    replace_directory(folder, final)
    return report, final / artifact.name


def _make(
    artifact: Path, item: Item, work: _FormatWork, calibration: Calibration | None, notify: Notify
) -> Report:
    """Convert, INT8 by the lowest recipe that holds on the validation split, and judge what stands.

    Args:
        artifact: What to write; its folder is emptied.
        item: Which artifact.
        work: What all items of the format share.
        calibration: What calibrates it; None where nothing is calibrated.
        notify: Told of each stage.
    """
    row, shared = FORMATS[item.format], work.shared
    record = calibration.record if calibration else None
    contract = replace(
        shared.contract,
        format=item.format,
        precision=item.precision,
        calibration_digest=record.digest if record else None,
        output=row.output,
    )

    def make(quantization: Quantization | None, stage: str, out: Path = artifact) -> None:
        notify(Stage(str(item), stage))
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()
        run(row, shared.program, contract, quantization, out)

    tried: tuple[RecipeRecord, ...] = ()
    unsafe = None
    if (trial := shared.trial) is not None and item.precision == "int8":
        images = calibration.images if calibration else np.empty((0, SIDE, SIDE), np.uint8)
        tried = choose_recipe(
            row.recipes[: work.plan.max_recipe],
            lambda recipe: make(
                Quantization(recipe, images, trial.split), f"convert, recipe {recipe.number}"
            ),
            lambda: failed_clauses(artifact, replace(trial, threads=work.threads)),
        )
        if row.can_saturate and work.plan.isa != "none":
            recipe = replace(row.recipes[tried[-1].number - 1], saturating=True)
            unsafe = artifact.parent.with_name(f"{item}-unsafe") / artifact.name
            make(Quantization(recipe, images, trial.split), "convert, for comparison", unsafe)
    else:
        make(None, "convert")
    inputs = replace(
        shared.inputs,
        threads=work.threads,
        calibration=record,
        recipes=tried,
        isa=work.plan.isa,
        unsafe=unsafe,
    )
    return evaluate(artifact, inputs, lambda stage: notify(Stage(str(item), stage)))


def validate_all(
    artifacts: Sequence[Path],
    data: DataSet,
    settings: PolicySettings,
    load_model: Callable[[str], SourceModel],
    notify: Callable[[Stage | ItemResult], None],
    isa: IsaChoice = "none",
) -> list[ItemResult]:
    """Judge artifacts again, from their bytes.

    Args:
        artifacts: Files or the folders `convert` wrote.
        data: Its test split judges.
        settings: The policy's bounds.
        load_model: Loads the source model, given the SHA-256 of the one the artifact was made from; called
            only where no earlier report holds its scores.
        notify: Told of each stage and of each result.
        isa: Which processor cases are computed.
    """
    test = data.read("test")
    results = []
    for path in artifacts:
        started, name = time.monotonic(), str(path)
        try:
            artifact = locate(path)
            notify(Stage(name, "source"))
            inputs = replace(_inputs(artifact, data, test, settings, load_model), isa=isa)
            report = evaluate(artifact, inputs, lambda stage, name=name: notify(Stage(name, stage)))  # type: ignore[misc]
            result = ItemResult(name, report=report, artifact=artifact)
        except EdgeError as error:
            result = ItemResult(name, error=error)
        results.append(replace(result, seconds=time.monotonic() - started))
        notify(results[-1])
    return results


def validate_predictions(
    path: Path,
    predictions: Path,
    data: DataSet,
    settings: PolicySettings,
    load_model: Callable[[str], SourceModel],
) -> ItemResult:
    """Judge answers that an artifact gave on another device, by the same policy.

    Args:
        path: The artifact, or the folder `convert` wrote.
        predictions: The file of answers; its form is described in examples/PREDICTIONS.md.
        data: Its test split judges.
        settings: The policy's bounds.
        load_model: Loads the source model, given the SHA-256 of the one the artifact was made from; called
            only where no earlier report holds its scores.

    Raises:
        InputError: The artifact or the file cannot be used, or the file speaks of another artifact.
    """
    started, test, artifact = time.monotonic(), data.read("test"), locate(path)
    inputs = _inputs(artifact, data, test, settings, load_model)
    report = evaluate_predictions(artifact, read_predictions(predictions, len(test.labels)), inputs)
    return ItemResult(str(path), report=report, artifact=artifact, seconds=time.monotonic() - started)


def _inputs(
    artifact: Path,
    data: DataSet,
    test: Split,
    settings: PolicySettings,
    load_model: Callable[[str], SourceModel],
) -> EvaluationInputs:
    earlier = _earlier_report(artifact)
    scores = _earlier_scores(earlier, test)
    if scores is None:
        scores = computed_scores(load_model(_source_digest(artifact, earlier)), test)
    inputs = EvaluationInputs(test, data_record(data, test), scores, settings)
    if earlier is None:
        return inputs
    return replace(
        inputs,
        calibration=earlier.calibration,
        calibration_cost=earlier.calibration_cost if earlier.data.digest == test.digest else None,
        recipes=earlier.recipes,
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


def _earlier_scores(earlier: Report | None, test: Split) -> SourceScores | None:
    """The source model's answers for the split, where the earlier report holds them."""
    if earlier is None or earlier.data.digest != test.digest:
        return None
    origin = f"the report of {earlier.created} beside the artifact ({earlier.report_digest[:12]})"
    probabilities = np.array(earlier.predictions.source, dtype=np.float64)
    return SourceScores(earlier.source.name, earlier.source.digest, probabilities, origin)


def _source_digest(artifact: Path, earlier: Report | None) -> str:
    """SHA-256 of the model an artifact was made from; empty where it cannot be asked on this machine."""
    if earlier is not None:
        return earlier.source.digest
    try:
        return open_predictor(artifact, threads=1).contract.source_digest
    except UnsupportedError:
        return ""
