"""The bill of materials."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from udacimed_edge.targets.bundle.bom import render_bom
from udacimed_edge.targets.bundle.spec import BundleSpec
from udacimed_edge.targets.bundle.wheels import Wheel

WHEELS = (
    Wheel("numpy", "2.4.6", "1" * 64, "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl"),
    Wheel("numpy", "2.4.6", "2" * 64, "numpy-2.4.6-cp313-cp313-manylinux_2_28_x86_64.whl"),
)


def rendered(spec: BundleSpec, wheels: tuple[Wheel, ...] = WHEELS) -> dict[str, Any]:
    """The list, parsed."""
    found: dict[str, Any] = json.loads(render_bom(spec, wheels))
    return found


def changed(spec: BundleSpec, **fields: object) -> BundleSpec:
    """The same with another report."""
    return replace(spec, report=spec.report.model_copy(update=fields))


def rehearsed(spec: BundleSpec) -> BundleSpec:
    """The same as a rehearsal."""
    return changed(spec, rehearsal=True)


@pytest.mark.parametrize("rehearsal", [False, True])
@pytest.mark.parametrize("wheels", [WHEELS, ()])
def test_it_satisfies_the_schema(spec: BundleSpec, wheels: tuple[Wheel, ...], rehearsal: bool) -> None:
    """With a runner, without one, and for a rehearsal, CycloneDX's own validator finds nothing."""
    pytest.importorskip("jsonschema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    text = render_bom(rehearsed(spec) if rehearsal else spec, wheels)
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"machine-learning-model"', '"oracle"')) is not None


def test_the_model_has_its_figures_and_their_intervals(spec: BundleSpec) -> None:
    """The model card names each figure with its interval, the threshold, the data and the limits."""
    model = rendered(spec)["components"][0]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    measured = spec.report.metrics
    assert measured is not None
    assert measured.sensitivity.clopper_pearson is not None
    assert metrics[0] == {
        "type": "sensitivity",
        "value": f"{measured.sensitivity.value:.6f}",
        "slice": "file.npz, test split, at the decision threshold 0.250000",
        "confidenceInterval": {
            "lowerBound": f"{measured.sensitivity.clopper_pearson.low:.6f}",
            "upperBound": f"{measured.sensitivity.clopper_pearson.high:.6f}",
        },
    }
    assert [metric["type"] for metric in metrics] == [
        "sensitivity", "specificity", "accuracy", "AUC"
    ]  # fmt: skip
    assert "confidenceInterval" not in metrics[-1]
    assert {"name": "udacimed-edge:decision_threshold", "value": "0.25"} in model["properties"]
    datasets = model["modelCard"]["modelParameters"]["datasets"]
    assert spec.report.calibration is not None
    digests = [spec.report.data.digest, spec.report.calibration.digest]
    assert [data["contents"]["properties"][0]["value"] for data in datasets] == digests
    limits = model["modelCard"]["considerations"]["technicalLimitations"]
    assert limits == [spec.notice, *spec.report.limits]


def test_every_wheel_is_a_component_of_its_own(spec: BundleSpec) -> None:
    """Each wheel has its hash and an address; the runner depends on all of them."""
    bom = rendered(spec)
    libraries = [part for part in bom["components"] if part["type"] == "library"]
    assert [part["hashes"][0]["content"] for part in libraries] == ["1" * 64, "2" * 64]
    assert libraries[0]["purl"] == f"pkg:pypi/numpy@2.4.6?file_name={WHEELS[0].file}"
    assert bom["dependencies"][1] == {"ref": "screen.pyz", "dependsOn": ["python", *(w.file for w in WHEELS)]}


def test_every_component_has_a_supplier_and_a_licence(spec: BundleSpec) -> None:
    """A wheel's are those that its METADATA state; where it states none, that is said; Python is listed."""
    stated = replace(WHEELS[0], licence="BSD-3-Clause", supplier="NumPy Developers")
    runner, python, one, two = rendered(spec, (stated, WHEELS[1]))["components"][1:]
    assert runner["licenses"] == [{"license": {"id": "MIT"}}]
    assert (python["name"], python["scope"]) == ("Python", "required")
    assert one["licenses"] == [{"license": {"name": "BSD-3-Clause"}}]
    assert one["supplier"] == {"name": "NumPy Developers"}
    assert two["supplier"] == {"name": "not stated in the wheel"}
    assert all("licenses" in part and "supplier" in part for part in (runner, python, one, two))


def test_the_model_has_the_hash_of_each_file(spec: BundleSpec) -> None:
    """One file's hash is the model's own; of several, each is a part of it."""
    (file,) = spec.report.artifact.files
    assert rendered(spec)["components"][0]["hashes"] == [{"alg": "SHA-256", "content": file.sha256}]
    two = spec.report.artifact.model_copy(update={"files": (file, file.model_copy(update={"name": "b"}))})
    parts = rendered(changed(spec, artifact=two))["components"][0]["components"]
    assert [part["name"] for part in parts] == [file.name, "b"]


def test_the_same_inputs_give_the_same_list(spec: BundleSpec) -> None:
    """Neither clock nor chance is in it; another report gives another serial number."""
    one, two, other = rendered(spec), rendered(spec), rendered(changed(spec, report_digest="f" * 64))
    assert one == two
    assert one["metadata"]["timestamp"] == spec.created
    assert one["serialNumber"] != other["serialNumber"]


def test_a_rehearsal_is_marked(spec: BundleSpec) -> None:
    """The bundle, the model, its figures and its limits say that a rehearsal is no evidence."""
    bom = rendered(rehearsed(spec))
    model = bom["components"][0]
    said = [bom["metadata"]["component"]["description"], model["description"]]
    said += [metric["slice"] for metric in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]]
    said.append(model["modelCard"]["considerations"]["technicalLimitations"][0])
    assert all(text.startswith("REHEARSAL, no evidence") for text in said)
