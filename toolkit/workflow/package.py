"""From a proven artifact to what a device is given: the program alone, or a whole bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from udacimed_edge import __version__
from udacimed_edge.core.artifact import REPORT_NAME, locate, report_of
from udacimed_edge.core.data import DataSet, open_data
from udacimed_edge.core.errors import GateRefusedError, InputError
from udacimed_edge.core.files import output_errors, path_digest, staging
from udacimed_edge.core.lock import locked
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.source.load import built_in_of, load_source
from udacimed_edge.source.spec import read_spec, spec_path
from udacimed_edge.targets.bundle.budgets import Budgets, check_budgets, measure, require_size
from udacimed_edge.targets.bundle.bundle import add_runner as add_runner_and_wheels
from udacimed_edge.targets.bundle.bundle import close_bundle, copy_artifact, place_bundle
from udacimed_edge.targets.bundle.runner import NAME, build_runner
from udacimed_edge.targets.bundle.signing import load_key
from udacimed_edge.targets.bundle.spec import BundleSpec
from udacimed_edge.targets.bundle.vectors import POOL, write_vectors
from udacimed_edge.targets.devices.profile import DeviceProfile
from udacimed_edge.validation.judging.evaluate import open_predictor
from udacimed_edge.validation.judging.recheck import judge_again, recompute, wrong_figures
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import Report, read_report
from udacimed_edge.workflow.convert import convert_all
from udacimed_edge.workflow.pages import render_all, renderers, summary_of
from udacimed_edge.workflow.plan import ConversionPlan, ItemResult, Stage, device_item

__all__ = ["Package", "PackageRequest", "add_runner", "convert_for", "package"]


MAX_CONTACT = 200


@dataclass(frozen=True)
class PackageRequest:
    """What `package` was asked for.

    Attributes:
        profile: The device.
        out: The folder for the bundle and its zip.
        rehearsal: Whether an artifact that passed a rehearsal only is packaged, marked on every page.
        wheels: A folder to take the wheels from instead of the network.
        key: The secret key to sign with.
        ask: Gives the key's password, where it has one; None where nobody can be asked.
        contact: Name and telephone of the person to call, for START-HERE.txt.
    """

    profile: DeviceProfile
    out: Path
    rehearsal: bool = False
    wheels: Path | None = None
    key: Path | None = None
    ask: Callable[[], str] | None = None
    contact: str = ""


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
    request: PackageRequest, data: DataSet, folder: Path, notify: Callable[[Stage | ItemResult], None]
) -> Path:
    """Convert the built-in model to what suits a device best, and judge it.

    Args:
        request: What was asked for.
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
    if data.origin == "synthetic" and not request.rehearsal:
        raise GateRefusedError(
            "what is judged on synthetic images is a rehearsal, and not packaged",
            "name real radiographs with --data; or add --rehearsal, which marks every page",
        )
    item = device_item(request.profile, None)
    (result,) = convert_all(
        load_source(None), data, ConversionPlan((item,), folder, PolicySettings()), notify
    )
    if result.error is not None:
        if str(folder) in result.error.hint:  # the log will be gone with the folder
            result.error.hint = "its log is kept by: udacimed-edge convert, for the same device"
        raise result.error
    assert result.artifact is not None  # there is a report or an error
    _require_proof(result.artifact, request.rehearsal)
    return result.artifact


def package(
    path: Path, request: PackageRequest, notify: Callable[[str], None] = lambda stage: None
) -> Package:
    """Make the bundle of a proven artifact, whole or not at all.

    Args:
        path: The artifact, or the folder that `convert` wrote.
        request: What was asked for.
        notify: Told of each stage.

    Raises:
        InputError: No artifact, a damaged report, or a wheel or key that cannot be had.
        GateRefusedError: It is not proven, does not suit the device, or breaks one of its budgets.
        ExtraMissingError: The format's runtime is not installed.
        OutputError: The bundle cannot be written.
    """
    artifact, profile = locate(path), request.profile
    if not request.contact.isprintable() or len(request.contact) > MAX_CONTACT:
        raise InputError(f"the contact is one printable line of at most {MAX_CONTACT} characters")
    key = None if request.key is None else load_key(request.key, request.ask)
    report = _require_proof(artifact, request.rehearsal)
    _require_choice(report, profile)
    size_mib = require_size(artifact, profile)
    predictor = open_predictor(artifact, threads=1)
    _require_same_contract(report, predictor.contract)
    with locked(request.out), staging(request.out) as stage:
        folder = stage / f"{profile.name}-{report.artifact.format}-{report.artifact.precision}"
        with output_errors(folder):
            folder.mkdir()
        copy = copy_artifact(artifact, folder)
        shutil.copyfile(report_of(artifact), folder / REPORT_NAME)  # its digest is over these very bytes
        notify("self-test")
        _write_selftest(folder, report, predictor)
        notify("measure")
        runs = copy.suffix != ".mlpackage"
        budgets = check_budgets(profile, size_mib, measure(copy, folder) if runs else None)
        notify("wheels" if profile.runner else "pages")
        wheels = add_runner_and_wheels(folder, profile, report, request.wheels)
        spec = BundleSpec(
            profile=profile,
            report=report,
            artifact=artifact.name,
            summary=summary_of(report),
            executor=predictor.executor,
            signed=key is not None,
            budgets=budgets.how,
            toolkit_version=__version__,
            contact=request.contact,
        )
        close_bundle(folder, spec, render_all(spec, wheels), renderers(), key)
        notify("zip")
        return Package(*place_bundle(folder, request.out), budgets)


def _require_proof(artifact: Path, rehearsal: bool) -> Report:
    """The passing report of an artifact.

    Raises:
        InputError: The report is damaged.
        GateRefusedError: There is none, it is not PASS, speaks of other bytes, was judged by other bounds
            than the policy's own, rests on somebody's word for the source model, or is a rehearsal where
            `rehearsal` is False.
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
    if report.basis is None or report.basis.source == "stated":
        raise GateRefusedError(
            f"{artifact} is not proven: its source model is only stated, and was not computed here",
            "validate it again, and name the model it was made from with --source",
        )
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
    _require_consistent(artifact, report)
    _require_own_threshold(artifact, report)
    return report


def _require_consistent(artifact: Path, report: Report) -> None:
    """Judge a report again from its own numbers: its digest can be made anew by anyone, its figures cannot.

    Raises:
        GateRefusedError: Its figures do not follow from its probabilities, or the policy refuses them.
    """
    evidence = recompute(report)
    wrong = wrong_figures(report, evidence)
    broken = [str(clause) for clause in judge_again(report, evidence) if not clause.passed]
    if wrong or broken:
        what = f"its report contradicts itself in {', '.join(wrong)}" if wrong else "; ".join(broken)
        raise GateRefusedError(f"{artifact} is not proven: {what}", "validate the artifact again")


def _require_own_threshold(artifact: Path, report: Report) -> None:
    """Make sure that a built-in model decides at its own threshold, whatever a command line said.

    Raises:
        GateRefusedError: It was judged at another.
    """
    path = built_in_of(report.source.digest)
    if path is None:
        return
    own = read_spec(spec_path(path)).threshold
    if report.threshold != own:
        raise GateRefusedError(
            f"{artifact} is not proven: it was judged at the threshold {report.threshold!r}, and that of the "
            f"built-in model {report.source.name} is {own!r}",
            "convert it again without --threshold",
        )


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


def _write_selftest(folder: Path, report: Report, predictor: Predictor) -> None:
    images = open_data("synthetic").read("test").images[:POOL]
    answers = np.array([predictor.predict(image[None])[0] for image in images])
    write_vectors(folder, report, images, answers, predictor.executor)
