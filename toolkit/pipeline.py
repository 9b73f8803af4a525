"""The way of the data as plain functions: convert and judge, or judge again."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from udacimed_edge import machine
from udacimed_edge.artifact import REPORT_NAME, Precision, locate, report_of
from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import run
from udacimed_edge.data import DataSet, Split
from udacimed_edge.errors import EdgeError, GateRefusedError, InputError
from udacimed_edge.files import output_errors, path_digest, replace_directory, staging
from udacimed_edge.jobs import Job, Notify, run_jobs
from udacimed_edge.prepare import Shared, computed_scores, share
from udacimed_edge.reporting import CARD_NAME, write_card
from udacimed_edge.targets.profile import DeviceProfile, find_profile
from udacimed_edge.targets.runner import build_runner
from udacimed_edge.validation.evaluate import Examination, SourceScores, data_record, examine
from udacimed_edge.validation.external import examine_predictions, read_predictions
from udacimed_edge.validation.gate import PolicySettings
from udacimed_edge.validation.report import Report, read_report, write_report

if TYPE_CHECKING:
    from udacimed_edge.source import SourceModel

__all__ = [
    "Item",
    "Plan",
    "Result",
    "Stage",
    "add_runner",
    "convert_all",
    "device_item",
    "plan_items",
    "validate_all",
    "validate_predictions",
]

FOLDERS = {"PASS": "", "FAIL": "rejected", "SKIP": "unproven"}
"""Where below the output folder an artifact goes, by its verdict."""


@dataclass(frozen=True)
class Item:
    """One artifact to be made."""

    target: str
    precision: Precision

    def __str__(self) -> str:
        """The name of its folder."""
        return f"{self.target}-{self.precision}"


@dataclass(frozen=True)
class Stage:
    """What is being done now, and for which item."""

    item: str
    name: str


@dataclass(frozen=True)
class Result:
    """What became of one item.

    Attributes:
        item: Its name.
        report: Its report; None where there is no artifact to report on.
        error: Why there is none.
        artifact: Where the artifact lies, its report beside it.
        seconds: Spent on converting and judging it.
    """

    item: str
    report: Report | None = None
    error: EdgeError | None = None
    artifact: Path | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What `convert` was asked for."""

    items: tuple[Item, ...]
    out: Path
    settings: PolicySettings


@dataclass(frozen=True)
class _FormatWork:
    """What the process of one format is given."""

    items: tuple[Item, ...]
    shared: Shared
    staging: Path
    out: Path
    threads: int

    @property
    def target(self) -> str:
        """The format."""
        return self.items[0].target


def plan_items(target: str, precision: Precision | None) -> tuple[Item, ...]:
    """The items that `--target` and `--precision` stand for.

    Args:
        target: A format, "all", or a device: then the first of its formats, with that precision if given.
        precision: None for the format's default, the standard set, or the device's preference.

    Raises:
        InputError: The format or device has no such precision, or there is no such device.
    """
    if target == "all":
        return tuple(
            Item(row.name, chosen)
            for row in FORMATS.values()
            for chosen in (row.standard if precision is None else (precision,))
            if chosen in row.precisions
        )
    if target not in FORMATS:
        return (device_item(find_profile(target), precision),)
    row = FORMATS[target]
    chosen = precision or row.precisions[0]
    if chosen not in row.precisions:
        raise InputError(f"{target} has no {chosen}", f"it has: {', '.join(row.precisions)}")
    return (Item(target, chosen),)


def device_item(profile: DeviceProfile, precision: Precision | None) -> Item:
    """The artifact that suits a device best.

    Raises:
        InputError: None of its formats has that precision.
    """
    for choice in profile.formats:
        if precision in (None, choice.precision):
            return Item(choice.target, choice.precision)
    has = ", ".join(f"{choice.target} {choice.precision}" for choice in profile.formats)
    raise InputError(f"{profile.name} takes no {precision}", f"it takes: {has}")


def convert_all(
    source: SourceModel, data: DataSet, plan: Plan, notify: Callable[[Stage | Result], None]
) -> list[Result]:
    """Convert a model to every item of a plan and judge each artifact from its bytes.

    An artifact that passes is put at OUT/<item>/ with its report the moment it has passed; one that
    fails at OUT/rejected/<item>/; one that could not be executed here at OUT/unproven/<item>/. What
    stood at OUT/<item>/ before is replaced only by one that passes.

    Args:
        source: The model.
        data: Training images calibrate, validation images set a missing threshold, test images judge.
        plan: What to make, where, and by which policy.
        notify: Told of each stage and of each result.

    Raises:
        InputError: A split of the data is unusable.
        GateRefusedError: The source model itself does not satisfy the policy.
        OutputError: The output folder cannot be written.
    """
    with staging(plan.out) as folder:
        calibrated = any(item.precision == "int8" and FORMATS[item.target].calibrated for item in plan.items)
        shared = share(
            source, data, plan.settings, folder, calibrated, lambda stage: notify(Stage("source", stage))
        )
        groups = [
            tuple(item for item in plan.items if item.target == target)
            for target in dict.fromkeys(item.target for item in plan.items)
        ]
        threads = max(1, machine.cores() // len(groups))
        work = [_FormatWork(items, shared, folder, plan.out, threads) for items in groups]
        results = _run(work, plan.out / "logs", notify)
    order = [str(item) for item in plan.items]
    return sorted(results, key=lambda result: order.index(result.item))


def _run(work: Sequence[_FormatWork], logs: Path, notify: Callable[[Stage | Result], None]) -> list[Result]:
    """One process per format; an item whose process died before its result gets the error as its result."""
    with output_errors(logs):
        logs.mkdir(exist_ok=True)
    results: dict[str, Result] = {}

    def notice(job: Job[None], content: Stage | Result) -> None:
        if isinstance(content, Result):
            results[content.item] = content
        notify(content)

    jobs = {
        part.target: Job(part.target, _convert_format, part, logs / f"{part.target}.log", part.threads)
        for part in work
    }
    for job in jobs.values():
        job.log.unlink(missing_ok=True)
    outcomes = run_jobs(jobs.values(), machine.cores(), notice)
    for part in work:
        job, outcome = jobs[part.target], outcomes[part.target]
        for item in map(str, part.items):
            if isinstance(outcome, EdgeError) and item not in results:
                notice(job, Result(item, error=outcome))
        if not any(results[item].error for item in map(str, part.items)):
            job.log.unlink(missing_ok=True)
    if not any(logs.iterdir()):
        logs.rmdir()
    return list(results.values())


def _convert_format(work: _FormatWork, notify: Notify) -> None:
    """In the process of one format: each precision converted, judged and put in its place."""
    for item in work.items:
        started = time.monotonic()
        try:
            report, artifact = _convert_item(item, work, notify)
            result = Result(str(item), report=report, artifact=artifact)
        except EdgeError as error:
            traceback.print_exc()  # into the log; the person sees the message alone
            log = work.out / "logs" / f"{work.target}.log"
            error.hint = error.hint or f"what the libraries printed is in {log}"
            result = Result(str(item), error=error)
        notify(replace(result, seconds=time.monotonic() - started))


def _convert_item(item: Item, work: _FormatWork, notify: Notify) -> tuple[Report, Path]:
    row, shared = FORMATS[item.target], work.shared
    calibrated = item.precision == "int8" and row.calibrated
    contract = replace(
        shared.contract,
        target=item.target,
        precision=item.precision,
        calibration_digest=shared.contract.calibration_digest if calibrated else None,
        output=row.output,
    )
    folder = work.staging / str(item)
    folder.mkdir()
    artifact = folder / f"model{row.suffix}"
    notify(Stage(str(item), "convert"))
    run(row, shared.program, contract, shared.calibration, artifact)
    examination = replace(shared.examination, threads=work.threads)
    if not calibrated:
        examination = replace(examination, calibration=None)
    report = examine(artifact, examination, lambda stage: notify(Stage(str(item), stage)))
    write_report(report, folder / REPORT_NAME)
    write_card(report, folder / CARD_NAME)
    final = work.out / FOLDERS[report.verdict] / str(item)
    replace_directory(folder, final)
    return report, final / artifact.name


def validate_all(
    artifacts: Sequence[Path],
    data: DataSet,
    settings: PolicySettings,
    load_model: Callable[[], SourceModel],
    notify: Callable[[Stage | Result], None],
) -> list[Result]:
    """Judge artifacts again, from their bytes.

    Args:
        artifacts: Files or the folders `convert` wrote.
        data: Its test split judges.
        settings: The policy's bounds.
        load_model: Loads the source model; called only where no earlier report holds its scores.
        notify: Told of each stage and of each result.
    """
    test = data.read("test")
    results = []
    for path in artifacts:
        started, name = time.monotonic(), str(path)
        try:
            artifact = locate(path)
            notify(Stage(name, "source"))
            examination = _examination(artifact, data, test, settings, load_model)
            report = examine(artifact, examination, lambda stage, name=name: notify(Stage(name, stage)))  # type: ignore[misc]
            result = Result(name, report=report, artifact=artifact)
        except EdgeError as error:
            result = Result(name, error=error)
        results.append(replace(result, seconds=time.monotonic() - started))
        notify(results[-1])
    return results


def validate_predictions(
    path: Path,
    predictions: Path,
    data: DataSet,
    settings: PolicySettings,
    load_model: Callable[[], SourceModel],
) -> Result:
    """Judge answers that an artifact gave on another device, by the same policy.

    Args:
        path: The artifact, or the folder `convert` wrote.
        predictions: The file of answers; its form is described in examples/PREDICTIONS.md.
        data: Its test split judges.
        settings: The policy's bounds.
        load_model: Loads the source model; called only where no earlier report holds its scores.

    Raises:
        InputError: The artifact or the file cannot be used, or the file speaks of another artifact.
    """
    started, test, artifact = time.monotonic(), data.read("test"), locate(path)
    examination = _examination(artifact, data, test, settings, load_model)
    report = examine_predictions(artifact, read_predictions(predictions, len(test.labels)), examination)
    return Result(str(path), report=report, artifact=artifact, seconds=time.monotonic() - started)


def add_runner(path: Path) -> Path:
    """Put `screen.pyz`, the program a clinic runs, beside an artifact that has passed.

    Raises:
        InputError: No artifact, Core ML (which needs an app), or changed since its report.
        GateRefusedError: There is no report, it is not PASS, it is a rehearsal, or its bounds are not ours.
    """
    artifact = locate(path)
    if artifact.suffix == ".mlpackage":
        raise InputError(f"{artifact} runs in an app, not in Python", "take ort, litert or openvino")
    report = _earlier_report(artifact)
    if report is None or report.verdict != "PASS" or report.rehearsal:
        why = "there is no report" if report is None else report.reason or "it passed a rehearsal only"
        raise GateRefusedError(f"{artifact} is not proven: {why}", "convert it on real radiographs")
    if report.policy.digest != PolicySettings().digest():
        raise GateRefusedError(
            f"{artifact} is not proven: it was judged by other bounds than the policy's own",
            "convert it without --min-sensitivity, --max-specificity-drop, --max-auc-drop, --min-agreement",
        )
    return build_runner(artifact.with_name("screen.pyz"))


def _examination(
    artifact: Path,
    data: DataSet,
    test: Split,
    settings: PolicySettings,
    load_model: Callable[[], SourceModel],
) -> Examination:
    earlier = _earlier_report(artifact)
    scores = _scores(earlier, test, load_model)
    return Examination(
        test, data_record(data, test), scores, settings, earlier.calibration if earlier else None
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


def _scores(earlier: Report | None, test: Split, load_model: Callable[[], SourceModel]) -> SourceScores:
    """The source model's answers for the split: from the earlier report, or computed."""
    if earlier is not None and earlier.data.digest == test.digest:
        origin = f"the report of {earlier.created} beside the artifact ({earlier.report_digest[:12]})"
        probabilities = np.array(earlier.predictions.source, dtype=np.float64)
        return SourceScores(earlier.source.name, earlier.source.digest, probabilities, origin)
    return computed_scores(load_model(), test)
