"""The bill of materials: the model with its figures, the program and the wheels, as a CycloneDX 1.6 ML-BOM.

Format: https://cyclonedx.org/docs/1.6/json/ (a test validates against its schema).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from udacimed_edge.targets.bundle.facts import REHEARSAL, Facts
from udacimed_edge.targets.bundle.wheels import Wheel
from udacimed_edge.targets.devices.profile import DeviceProfile

__all__ = ["BOM", "render_bom"]

BOM = "bom.cdx.json"

_MODEL, _RUNNER = "model", "screen.pyz"
"""References within the list."""


def render_bom(name: str, profile: DeviceProfile, facts: Facts, wheels: Sequence[Wheel]) -> str:
    """The list as JSON; the same inputs give the same text.

    Args:
        name: The bundle's.
        profile: The device.
        facts: The artifact's.
        wheels: What is installed; empty where an app loads the model.
    """
    libraries = [_library(wheel) for wheel in wheels]
    runner = [_runner(facts)] if wheels else []
    identity = "\n".join([name, facts.report_digest, facts.artifact_digest, *(w.sha256 for w in wheels)])
    parts = [_MODEL, *([_RUNNER] if runner else [])]
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}",
        "version": 1,
        "metadata": {
            "timestamp": facts.created,
            "tools": {"components": [_toolkit(facts)]},
            "component": _bundle(name, profile, facts),
        },
        "components": [_model(facts), *runner, *libraries],
        "dependencies": [
            {"ref": name, "dependsOn": parts},
            *({"ref": _RUNNER, "dependsOn": [library["bom-ref"] for library in libraries]} for _ in runner),
        ],
    }
    return json.dumps(bom, indent=1, ensure_ascii=False) + "\n"


def _marked(facts: Facts, text: str) -> str:
    return f"{REHEARSAL} {text}" if facts.rehearsal else text


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _properties(**values: str) -> list[dict[str, str]]:
    return [{"name": f"udacimed-edge:{name}", "value": value} for name, value in values.items()]


def _toolkit(facts: Facts) -> dict[str, Any]:
    return {"type": "application", "name": "udacimed-edge", "version": facts.toolkit_version}


def _bundle(name: str, profile: DeviceProfile, facts: Facts) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": name,
        "name": name,
        "version": facts.report_digest[:12],
        "description": _marked(facts, f"What {profile.title} needs to screen radiographs offline."),
        "properties": _properties(device=profile.name, rehearsal=str(facts.rehearsal).lower()),
    }


def _runner(facts: Facts) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": _RUNNER,
        "name": _RUNNER,
        "version": facts.toolkit_version,
        "description": "Reads radiographs and asks the model; of the toolkit, its folder runtime alone.",
    }


def _library(wheel: Wheel) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": wheel.file,
        "name": wheel.name,
        "version": wheel.version,
        "hashes": _hashes(wheel.sha256),
        "purl": f"pkg:pypi/{wheel.name}@{wheel.version}?file_name={wheel.file}",
    }


def _model(facts: Facts) -> dict[str, Any]:
    described = f"{facts.summary} {facts.notice}"
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": facts.artifact,
        "version": facts.artifact_digest[:12],
        "description": _marked(facts, described),
        "properties": _properties(
            artifact_digest=facts.artifact_digest,
            decision_threshold=repr(facts.threshold),
            decision_threshold_origin=facts.threshold_origin,
            report_digest=facts.report_digest,
            policy_digest=facts.policy_digest,
        ),
        "modelCard": {
            "modelParameters": _parameters(facts),
            "quantitativeAnalysis": {"performanceMetrics": _metrics(facts)},
            "considerations": _considerations(facts),
        },
        "pedigree": {"ancestors": [_source(facts)]},
    }


def _source(facts: Facts) -> dict[str, Any]:
    """The model it was converted from."""
    return {
        "type": "machine-learning-model",
        "name": facts.source_name,
        "version": facts.source_digest[:12],
        "hashes": _hashes(facts.source_digest),
    }


def _parameters(facts: Facts) -> dict[str, Any]:
    return {
        "task": "binary classification of chest radiographs: normal, pneumonia",
        "modelArchitecture": f"{facts.format} {facts.precision}, converted from {facts.source_name}",
        "datasets": [
            {
                "type": "dataset",
                "name": data.name,
                "description": data.description,
                "contents": {"properties": _properties(sha256_of_pixels_and_labels=data.digest)},
            }
            for data in facts.datasets
        ],
        "inputs": [{"format": facts.input}],
        "outputs": [{"format": facts.output}],
    }


def _metrics(facts: Facts) -> list[dict[str, Any]]:
    """Each figure with its exact 95 % interval; numbers are texts in this format."""
    test = _marked(facts, f"{facts.datasets[0].name}, at the decision threshold {facts.threshold:.6f}")
    found = []
    for figure in facts.figures:
        entry: dict[str, Any] = {"type": figure.name, "value": f"{figure.value:.6f}", "slice": test}
        if figure.low is not None and figure.high is not None:
            bounds = {"lowerBound": f"{figure.low:.6f}", "upperBound": f"{figure.high:.6f}"}
            entry["confidenceInterval"] = bounds
        found.append(entry)
    return found


def _considerations(facts: Facts) -> dict[str, Any]:
    return {
        "users": ["clinicians, auditors and engineers who examine the model on a device"],
        "useCases": ["research into decision support for chest radiographs; never a diagnosis"],
        "technicalLimitations": [_marked(facts, facts.notice), *facts.limits],
        "performanceTradeoffs": [
            f"The threshold {facts.threshold:.6f} favours sensitivity over specificity: "
            f"{facts.threshold_origin}."
        ],
        "ethicalConsiderations": [
            {
                "name": "A missed pneumonia can harm a patient who is sent home.",
                "mitigationStrategy": "A clinician decides on every image; the model only draws attention.",
            }
        ],
    }
