"""The bill of materials: the model with its figures, the program and the wheels, as a CycloneDX 1.6 ML-BOM.

Format: https://cyclonedx.org/docs/1.6/json/ (a test validates against its schema).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from udacimed_edge.targets.bundle.spec import BundleSpec, marked
from udacimed_edge.targets.bundle.wheels import Wheel
from udacimed_edge.validation.report import Report

__all__ = ["BOM", "render_bom"]

BOM = "bom.cdx.json"

_MODEL, _RUNNER, _PYTHON = "model", "screen.pyz", "python"
"""References within the list."""


def render_bom(spec: BundleSpec, wheels: Sequence[Wheel]) -> str:
    """The list as JSON; the same inputs give the same text.

    Args:
        spec: What the bundle is made from.
        wheels: What is installed; empty where an app loads the model.
    """
    libraries = [_library(wheel) for wheel in wheels]
    runner = [_runner(spec), _python(spec)] if wheels else []
    digests = [spec.report.report_digest, spec.artifact_digest, *(wheel.sha256 for wheel in wheels)]
    identity = "\n".join([spec.name, *digests])
    parts = [_MODEL, *([_RUNNER] if runner else [])]
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
        "version": 1,
        "metadata": {
            "timestamp": spec.created,
            "tools": {"components": [_toolkit(spec)]},
            "component": _bundle(spec),
        },
        "components": [_model(spec), *runner, *libraries],
        "dependencies": [
            {"ref": spec.name, "dependsOn": parts},
            *(
                [{"ref": _RUNNER, "dependsOn": [_PYTHON, *(wheel.file for wheel in wheels)]}]
                if wheels
                else []
            ),
        ],
    }
    return json.dumps(bom, indent=1, ensure_ascii=False) + "\n"


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _properties(**values: str) -> list[dict[str, str]]:
    return [{"name": f"udacimed-edge:{name}", "value": value} for name, value in values.items()]


def _toolkit(spec: BundleSpec) -> dict[str, Any]:
    return {"type": "application", "name": "udacimed-edge", "version": spec.toolkit_version, **_ours()}


def _bundle(spec: BundleSpec) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": spec.name,
        "name": spec.name,
        "version": spec.report.report_digest[:12],
        "description": marked(spec.report, f"What {spec.profile.title} needs to screen radiographs offline."),
        "properties": _properties(device=spec.profile.name, rehearsal=str(spec.rehearsal).lower()),
    }


def _runner(spec: BundleSpec) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": _RUNNER,
        "name": _RUNNER,
        "version": spec.toolkit_version,
        "description": "Reads radiographs and asks the model; of the toolkit, its folder runtime alone.",
        **_ours(),
    }


def _python(spec: BundleSpec) -> dict[str, Any]:
    """What the runner needs on the device and the bundle does not bring."""
    assert spec.profile.runner is not None  # it has wheels
    return {
        "type": "platform",
        "bom-ref": _PYTHON,
        "supplier": {"name": "Python Software Foundation, or who built the device's"},
        "name": "Python",
        "version": " or ".join(spec.profile.runner.python),
        "description": "Not in the bundle: one of these versions must be on the device.",
        "scope": "required",
        "licenses": [{"license": {"id": "Python-2.0"}}],
    }


def _ours() -> dict[str, Any]:
    """Supplier and licence of what this project made."""
    return {"supplier": {"name": "The udacimed-edge authors"}, "licenses": [{"license": {"id": "MIT"}}]}


def _library(wheel: Wheel) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": wheel.file,
        "name": wheel.name,
        "version": wheel.version,
        "supplier": {"name": wheel.supplier or "not stated in the wheel"},
        "hashes": _hashes(wheel.sha256),
        "licenses": [{"license": {"name": wheel.licence or "not stated in the wheel"}}],
        "purl": f"pkg:pypi/{wheel.name}@{wheel.version}?file_name={wheel.file}",
    }


def _model(spec: BundleSpec) -> dict[str, Any]:
    report = spec.report
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": spec.artifact,
        "version": spec.artifact_digest[:12],
        "description": marked(report, f"{spec.summary} {spec.notice}"),
        "properties": _properties(
            artifact_digest=spec.artifact_digest,
            decision_threshold=repr(report.threshold),
            decision_threshold_origin=report.threshold_origin,
            report_digest=report.report_digest,
            policy_digest=report.policy.digest,
        ),
        "modelCard": {
            "modelParameters": _parameters(report),
            "quantitativeAnalysis": {"performanceMetrics": _metrics(report)},
            "considerations": _considerations(spec),
        },
        **_files(report),
        "pedigree": {"ancestors": [_source(report)]},
    }


def _files(report: Report) -> dict[str, Any]:
    """The hash of the artifact's file; of several files, each as a part of it."""
    files = report.artifact.files
    if len(files) == 1:
        return {"hashes": _hashes(files[0].sha256)}
    return {"components": [{"type": "file", "name": f.name, "hashes": _hashes(f.sha256)} for f in files]}


def _source(report: Report) -> dict[str, Any]:
    """The model it was converted from."""
    return {
        "type": "machine-learning-model",
        "name": report.source.name,
        "version": report.source.digest[:12],
        "hashes": _hashes(report.source.digest),
    }


def _parameters(report: Report) -> dict[str, Any]:
    artifact = report.artifact
    return {
        "task": "binary classification of chest radiographs: normal, pneumonia",
        "modelArchitecture": f"{artifact.format} {artifact.precision}, converted from {report.source.name}",
        "datasets": _datasets(report),
        "inputs": [{"format": artifact.contract["input"]}],
        "outputs": [{"format": artifact.contract["output"]}],
    }


def _datasets(report: Report) -> list[dict[str, Any]]:
    """The images it was judged on, and those it was calibrated with."""
    data, calibration = report.data, report.calibration
    counted = f"{data.pneumonia} radiographs with pneumonia, {data.normal} without; origin: {data.origin}"
    found = [_dataset(_judged_on(report), data.digest, f"judged it: {counted}")]
    if calibration is not None:
        used = f"calibrated INT8: {calibration.images} images of the {calibration.split} split"
        found.append(_dataset("calibration images", calibration.digest, used))
    return found


def _judged_on(report: Report) -> str:
    return f"{report.data.name}, {report.data.split} split"


def _dataset(name: str, digest: str, description: str) -> dict[str, Any]:
    return {
        "type": "dataset",
        "name": name,
        "description": description,
        "contents": {"properties": _properties(sha256_of_pixels_and_labels=digest)},
    }


def _metrics(report: Report) -> list[dict[str, Any]]:
    """Each figure with its exact 95 % interval; numbers are texts in this format."""
    assert report.metrics is not None  # it passed
    test = marked(report, f"{_judged_on(report)}, at the decision threshold {report.threshold:.6f}")
    found: list[dict[str, Any]] = []
    for name in (
        "sensitivity",
        "specificity",
        "accuracy",
    ):  # PPV and NPV hold at this split's prevalence alone
        measured = getattr(report.metrics, name)
        if measured.value is not None and measured.clopper_pearson is not None:
            exact = measured.clopper_pearson
            bounds = {"lowerBound": f"{exact.low:.6f}", "upperBound": f"{exact.high:.6f}"}
            figure = {"type": name, "value": f"{measured.value:.6f}", "slice": test}
            found.append({**figure, "confidenceInterval": bounds})
    return [*found, {"type": "AUC", "value": f"{report.metrics.auc:.6f}", "slice": test}]


def _considerations(spec: BundleSpec) -> dict[str, Any]:
    report = spec.report
    return {
        "users": ["clinicians, auditors and engineers who examine the model on a device"],
        "useCases": ["research into decision support for chest radiographs; never a diagnosis"],
        "technicalLimitations": [marked(report, spec.notice), *report.limits],
        "performanceTradeoffs": [
            f"The threshold {report.threshold:.6f} favours sensitivity over specificity: "
            f"{report.threshold_origin}."
        ],
        "ethicalConsiderations": [
            {
                "name": "A missed pneumonia can harm a patient who is sent home.",
                "mitigationStrategy": "A clinician decides on every image; the model only draws attention.",
            }
        ],
    }
