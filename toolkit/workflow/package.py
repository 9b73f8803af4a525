"""From a proven artifact to what a device is given: the program alone, or a whole bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from udacimed_edge import __version__
from udacimed_edge.core.artifact import Precision, locate, report_of
from udacimed_edge.core.data import DataSet, open_data
from udacimed_edge.core.errors import GateRefusedError, InputError
from udacimed_edge.core.files import output_errors, path_digest, staging
from udacimed_edge.core.lock import locked
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.source.load import load_source
from udacimed_edge.targets.bundle.budgets import Budgets, check_budgets, measure, require_size
from udacimed_edge.targets.bundle.bundle import (
    Supplies,
    bundle_name,
    close_bundle,
    copy_artifact,
    place_bundle,
)
from udacimed_edge.targets.bundle.facts import DataFacts, Facts, Figure
from udacimed_edge.targets.bundle.pages import Subject
from udacimed_edge.targets.bundle.runner import NAME, build_runner
from udacimed_edge.targets.bundle.vectors import write_vectors
from udacimed_edge.targets.devices.profile import DeviceProfile
from udacimed_edge.validation.judging.evaluate import open_predictor
from udacimed_edge.validation.metrics.records import Metrics
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.rendering.statements import sentence
from udacimed_edge.validation.report import Report, read_report
from udacimed_edge.workflow.convert import convert_all
from udacimed_edge.workflow.plan import ConversionPlan, ItemResult, Stage, device_item
from udacimed_edge.workflow.report import write_card, write_html

__all__ = ["Package", "PackageRequest", "add_runner", "convert_for", "package"]

POOL = 64
"""Synthetic radiographs from which a self-test is chosen: twice as many as it takes."""


@dataclass(frozen=True)
class PackageRequest:
    """What `package` was asked for.

    Attributes:
        profile: The device.
        out: The folder for the bundle and its zip.
        rehearsal: Whether an artifact that passed a rehearsal only is packaged, marked on every page.
        wheels: A folder to take the wheels from instead of the network.
        key: The secret key to sign with.
    """

    profile: DeviceProfile
    out: Path
    rehearsal: bool = False
    wheels: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Package:
    """A finished bundle: its folder, its zip, and what was found about the device's budgets."""

    folder: Path
    archive: Path
    budgets: Budgets


def add_runner(path: Path) -> Path:
    """Put `screen.pyz`, the program a clinic runs, beside an artifact that has passed.

    Raises:
        InputError: No artifact, or Core ML, which needs an app.
        GateRefusedError: As for `_require_proof`; a rehearsal is refused.
    """
    artifact = locate(path)
    if artifact.suffix == ".mlpackage":
        raise InputError(f"{artifact} runs in an app, not in Python", "take ort, litert or openvino")
    _require_proof(artifact, rehearsal=False)
    return build_runner(artifact.with_name(NAME))


def convert_for(
    order: PackageRequest, data: DataSet, folder: Path, notify: Callable[[Stage | ItemResult], None]
) -> Path:
    """Convert the built-in model to what suits a device best, and judge it.

    Args:
        order: What was asked for.
        data: Calibrates, sets thresholds and judges, as for `convert_all`.
        folder: Where the artifact goes.
        notify: Told of each stage and of the result.

    Returns:
        The artifact, its report beside it.

    Raises:
        GateRefusedError: The data are synthetic and no rehearsal was asked for, or the policy refuses the
            artifact.
        EdgeError: The conversion failed.
    """
    if data.origin == "synthetic" and not order.rehearsal:
        raise GateRefusedError(
            "what is judged on synthetic images is a rehearsal, and not packaged",
            "name real radiographs with --data; or add --rehearsal, which marks every page",
        )
    item = device_item(order.profile, None)
    (result,) = convert_all(
        load_source(None), data, ConversionPlan((item,), folder, PolicySettings()), notify
    )
    if result.error is not None:
        if str(folder) in result.error.hint:  # the log will be gone with the folder
            result.error.hint = "its log is kept by: udacimed-edge convert, for the same device"
        raise result.error
    assert result.artifact is not None  # there is a report or an error
    _require_proof(result.artifact, order.rehearsal)
    return result.artifact


def package(path: Path, order: PackageRequest, notify: Callable[[str], None] = lambda stage: None) -> Package:
    """Make the bundle of a proven artifact, whole or not at all.

    Args:
        path: The artifact, or the folder that `convert` wrote.
        order: What was asked for.
        notify: Told of each stage.

    Raises:
        InputError: No artifact, a damaged report, or a wheel or key that cannot be had.
        GateRefusedError: It is not proven, does not suit the device, or breaks one of its budgets.
        ExtraMissingError: The format's runtime is not installed.
        OutputError: The bundle cannot be written.
    """
    artifact, profile = locate(path), order.profile
    report = _require_proof(artifact, order.rehearsal)
    _require_choice(report, profile)
    size_mib = require_size(artifact, profile)
    predictor = open_predictor(artifact, threads=1)
    _require_same_contract(report, predictor.contract)
    facts = _facts(report, artifact)
    with locked(order.out), staging(order.out) as stage:
        folder = stage / bundle_name(profile, facts)
        with output_errors(folder):
            folder.mkdir()
        copy = copy_artifact(artifact, folder)
        shutil.copyfile(report_of(artifact), folder / "report.json")  # its digest is over these very bytes
        write_html([report], folder / "report.html")
        write_card(report, folder / "model-card.md")
        notify("self-test")
        _write_selftest(folder, facts, predictor)
        notify("measure")
        runs = copy.suffix != ".mlpackage"
        budgets = check_budgets(profile, size_mib, measure(copy, folder) if runs else None)
        notify("wheels" if profile.runner else "pages")
        subject = Subject(folder.name, profile, facts, predictor.executor, order.key is not None, budgets.how)
        close_bundle(folder, subject, Supplies(report.environment.tools, order.wheels, order.key))
        notify("zip")
        return Package(*place_bundle(folder, order.out), budgets)


def _require_proof(artifact: Path, rehearsal: bool) -> Report:
    """The passing report of an artifact.

    Raises:
        InputError: The report is damaged.
        GateRefusedError: There is none, it is not PASS, speaks of other bytes, was judged by other bounds
            than the policy's own, or is a rehearsal where `rehearsal` is False.
    """
    path = report_of(artifact)
    if not path.exists():
        raise GateRefusedError(
            f"{artifact} is not proven: there is no report", "convert it on real radiographs"
        )
    report, settings = read_report(path), PolicySettings()
    if report.artifact.digest != path_digest(artifact):
        raise GateRefusedError(
            f"{artifact} is not proven: its report {path.name} speaks of other bytes",
            "it was changed after its report was written: convert the model again",
        )
    if report.verdict != "PASS":
        raise GateRefusedError(f"{artifact} is not proven: {report.reason}", "convert it on real radiographs")
    if report.rehearsal and not rehearsal:
        raise GateRefusedError(
            f"{artifact} is not proven: it passed a rehearsal only", "convert it on real radiographs"
        )
    if (report.policy.digest, report.policy.settings) != (settings.digest(), settings):
        raise GateRefusedError(
            f"{artifact} is not proven: it was judged by other bounds than the policy's own",
            "convert it again with this version, and without --min-sensitivity, --max-specificity-drop, "
            "--max-auc-drop and --min-agreement",
        )
    return report


def _require_choice(report: Report, profile: DeviceProfile) -> None:
    """Make sure that the device takes such an artifact.

    Raises:
        GateRefusedError: Format and precision are not among its choices.
    """
    takes = [f"{choice.format} {choice.precision}" for choice in profile.formats]
    item = f"{report.artifact.format} {report.artifact.precision}"
    if item not in takes:
        raise GateRefusedError(f"{profile.name} takes no {item}", f"it takes, best first: {', '.join(takes)}")


def _require_same_contract(report: Report, contract: Contract) -> None:
    """Make sure that the report's decisions are those the artifact's own contract promises.

    Raises:
        GateRefusedError: They differ in threshold, format, precision or source model.
    """
    told = {
        "threshold": (report.threshold, contract.threshold),
        "format": (report.artifact.format, contract.format),
        "precision": (report.artifact.precision, contract.precision),
        "source model": (report.source.digest, contract.source_digest),
    }
    for name, (judged, promised) in told.items():
        if judged != promised:
            raise GateRefusedError(
                f"the report was made for the {name} {judged}, and the artifact's own is {promised}",
                "validate the artifact again",
            )


def _write_selftest(folder: Path, facts: Facts, predictor: Predictor) -> None:
    images = open_data("synthetic").read("test").images[:POOL]
    answers = np.array([predictor.predict(image[None])[0] for image in images])
    write_vectors(folder, facts, images, answers, predictor.executor)


def _facts(report: Report, artifact: Path) -> Facts:
    assert report.metrics is not None  # it passed
    contract = report.artifact.contract
    return Facts(
        title=report.title,
        rehearsal=report.rehearsal,
        created=report.created,
        toolkit_version=__version__,
        format=report.artifact.format,
        precision=cast("Precision", report.artifact.precision),
        artifact=artifact.name,
        artifact_digest=report.artifact.digest,
        input=contract["input"],
        output=contract["output"],
        source_name=report.source.name,
        source_digest=report.source.digest,
        threshold=report.threshold,
        threshold_origin=report.threshold_origin,
        policy_digest=report.policy.digest,
        report_digest=report.report_digest,
        summary=sentence(report),
        figures=(*_figures(report.metrics), Figure("AUC", report.metrics.auc)),
        datasets=_datasets(report),
        limits=report.limits,
        notice=Contract.notice,
        processor_difference=max(
            (row.max_difference or 0.0 for row in report.processors if not row.comparison_only), default=0.0
        ),
    )


def _figures(metrics: Metrics) -> tuple[Figure, ...]:
    found = []
    for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
        measured = getattr(metrics, name)
        if measured.value is not None and measured.clopper_pearson is not None:
            exact = measured.clopper_pearson
            found.append(Figure(name, measured.value, exact.low, exact.high))
    return tuple(found)


def _datasets(report: Report) -> tuple[DataFacts, ...]:
    data, calibration = report.data, report.calibration
    counted = f"{data.pneumonia} radiographs with pneumonia, {data.normal} without; origin: {data.origin}"
    judged = DataFacts(f"{data.name}, {data.split} split", data.digest, f"judged it: {counted}")
    if calibration is None:
        return (judged,)
    used = f"calibrated INT8: {calibration.images} images of the {calibration.split} split"
    return (judged, DataFacts("calibration images", calibration.digest, used))
