"""Converts a model to every artifact of a plan and judges each from its bytes."""

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
from udacimed_edge.converters.base import Quantization, QuantizationRecipe, run
from udacimed_edge.core import machine
from udacimed_edge.core.artifact import REPORT_NAME
from udacimed_edge.core.data import DataSet
from udacimed_edge.core.errors import EdgeError, OutputError
from udacimed_edge.core.files import replace_directory, staging, write_atomic
from udacimed_edge.core.jobs import Job, Notify, run_jobs
from udacimed_edge.core.lock import locked
from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.validation.judging.evaluate import evaluate
from udacimed_edge.validation.judging.inputs import EvaluationInputs, Making, RunSettings
from udacimed_edge.validation.report import RecipeRecord, Report, write_report
from udacimed_edge.workflow.plan import ConversionPlan, Item, ItemResult, Stage
from udacimed_edge.workflow.prepare import (
    Calibration,
    calibrations,
    export,
    inputs_of,
    require_good_source,
    set_threshold,
)
from udacimed_edge.workflow.recipes import try_recipe
from udacimed_edge.workflow.report import CARD_NAME, write_card

if TYPE_CHECKING:
    from udacimed_edge.source.load import SourceModel

__all__ = ["convert_all"]

FOLDERS = {"PASS": "", "FAIL": "rejected", "SKIP": "unproven"}
"""Where below the output folder an artifact goes, by its verdict."""

LOGS = "logs"
"""Where below it the logs of what failed are."""


@dataclass(frozen=True)
class Shared:
    """What is made once for all formats.

    Attributes:
        program: The exported program.
        test: What every artifact is judged on.
        trial: What INT8 candidates are judged on: the validation split; None without INT8.
        calibration: What calibrates INT8; None where nothing is calibrated.
        on_patients: Training images to compare synthetic calibration with; None for no comparison.
        notes: What was assumed about the source model's file.
    """

    program: Path
    test: EvaluationInputs
    trial: EvaluationInputs | None = None
    calibration: Calibration | None = None
    on_patients: Calibration | None = None
    notes: tuple[str, ...] = ()


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
        """The one format that all of its items have."""
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
        shared = _prepare(source, data, plan, folder, lambda stage: notify(Stage("source", stage)))
        groups = [
            tuple(item for item in plan.items if item.format == name)
            for name in dict.fromkeys(item.format for item in plan.items)
        ]
        threads = max(1, machine.cores() // len(groups))
        work = [_FormatWork(items, shared, folder, plan, threads) for items in groups]
        results = _run(work, folder / LOGS, plan.out / LOGS, notify)
    order = [str(item) for item in plan.items]
    return sorted(results, key=lambda result: order.index(result.item))


def _prepare(
    source: SourceModel, data: DataSet, plan: ConversionPlan, folder: Path, notify: Callable[[str], None]
) -> Shared:
    """What is made once for all formats; the source model must satisfy the policy itself."""
    quantized = [FORMATS[item.format] for item in plan.items if item.precision == "int8"]
    calibration, on_patients = None, None
    if any(row.calibrated for row in quantized):
        calibration, on_patients = calibrations(data, plan.calibrate)
    threshold = set_threshold(source, data)
    notify("predict")
    test = inputs_of(source, data, "test", threshold, plan.settings)
    require_good_source(test)
    trial = inputs_of(source, data, "validation", threshold, plan.settings) if quantized else None
    notify("export")
    program = export(source, folder / "program.pt2")
    return Shared(program, test, trial, calibration, on_patients, source.notes)


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
    """Make one artifact, judge it, and put it in its place with its report."""
    row, shared = FORMATS[item.format], work.shared
    artifact = work.staging / str(item) / f"model{row.suffix}"

    def tell(stage: str) -> None:
        notify(Stage(str(item), stage))

    calibration, on_patients = None, None
    if item.precision == "int8" and row.calibrated:
        calibration = shared.calibration
        if shared.on_patients is not None:
            on_patients = _make_and_judge(artifact, item, work, shared.on_patients, None, tell)
    report = _make_and_judge(artifact, item, work, calibration, on_patients, tell)
    write_report(report, artifact.parent / REPORT_NAME)
    write_card(report, artifact.parent / CARD_NAME)
    final = work.plan.out / FOLDERS[report.verdict] / str(item)
    replace_directory(artifact.parent, final)
    return report, final / artifact.name


def _make_and_judge(
    artifact: Path,
    item: Item,
    work: _FormatWork,
    calibration: Calibration | None,
    on_patients: Report | None,
    tell: Callable[[str], None],
) -> Report:
    """Write an artifact, INT8 by the first recipe that holds on the validation split, and judge it.

    Args:
        artifact: What to write; its folder is emptied.
        item: Which artifact.
        work: What all items of the format share.
        calibration: What calibrates it; None where nothing is calibrated.
        on_patients: The report of the same artifact calibrated on patients' images, for comparison.
        tell: Told of each stage.
    """
    tried: tuple[RecipeRecord, ...] = ()
    unsafe = None
    if item.precision == "int8":
        tried = _write_int8(artifact, item, work, calibration, tell)
        if FORMATS[item.format].can_saturate and work.plan.isa != "none":
            unsafe = _write_unsafe(artifact, item, work, calibration, tried[-1].number, tell)
    else:
        tell("convert")
        _write(artifact, item, work, None, None)
    record = calibration.record if calibration else None
    return evaluate(
        artifact,
        work.shared.test,
        RunSettings(work.threads, work.plan.isa, unsafe),
        Making(record, tried, on_patients, notes=work.shared.notes),
        tell,
    )


def _write_int8(
    artifact: Path,
    item: Item,
    work: _FormatWork,
    calibration: Calibration | None,
    tell: Callable[[str], None],
) -> tuple[RecipeRecord, ...]:
    """Write by one recipe after another until one holds on the validation split; the last one stands."""
    trial = work.shared.trial
    assert trial is not None  # it is read wherever an item is int8
    tried = []
    for recipe in FORMATS[item.format].recipes[work.plan.min_recipe - 1 : work.plan.max_recipe]:
        tell(f"convert, recipe {recipe.number}")
        _write(artifact, item, work, calibration, recipe)
        tell(f"try recipe {recipe.number}")
        found = try_recipe(recipe, artifact, trial, work.threads)
        tried.append(found.record())
        if found.is_last:
            break
    return tuple(tried)


def _write_unsafe(
    artifact: Path,
    item: Item,
    work: _FormatWork,
    calibration: Calibration | None,
    number: int,
    tell: Callable[[str], None],
) -> Path:
    """The same artifact in its format's faster, unsafe setting, which a report compares with it."""
    tell("convert, for comparison")
    unsafe = artifact.parent.with_name(f"{item}-unsafe") / artifact.name
    recipe = FORMATS[item.format].recipes[number - 1]
    _write(unsafe, item, work, calibration, replace(recipe, saturating=True))
    return unsafe


def _write(
    out: Path,
    item: Item,
    work: _FormatWork,
    calibration: Calibration | None,
    recipe: QuantizationRecipe | None,
) -> None:
    """Write an artifact into an emptied folder; without a recipe in float."""
    row, shared = FORMATS[item.format], work.shared
    assert shared.test.promise is not None  # the source model is at hand
    contract = replace(
        shared.test.promise,
        format=item.format,
        precision=item.precision,
        calibration_digest=calibration.record.digest if calibration else None,
        output=row.output,
    )
    quantization = None
    if recipe is not None:
        assert shared.trial is not None
        images = calibration.images if calibration else np.empty((0, SIDE, SIDE), np.uint8)
        quantization = Quantization(recipe, images, shared.trial.split)
    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir()
    run(row, shared.program, contract, quantization, out)
