"""The bill of materials."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from udacimed_edge.targets.bundle.bom import render_bom
from udacimed_edge.targets.bundle.facts import Facts
from udacimed_edge.targets.bundle.wheels import Wheel
from udacimed_edge.targets.devices.profile import find_profile

WHEELS = (
    Wheel("numpy", "2.4.6", "1" * 64, "numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl"),
    Wheel("numpy", "2.4.6", "2" * 64, "numpy-2.4.6-cp313-cp313-manylinux_2_28_x86_64.whl"),
)
LAPTOP = find_profile("clinic-laptop")


def rendered(facts: Facts, wheels: tuple[Wheel, ...] = WHEELS) -> dict[str, Any]:
    """The list, parsed."""
    found: dict[str, Any] = json.loads(render_bom("clinic-laptop-ort-int8", LAPTOP, facts, wheels))
    return found


@pytest.mark.parametrize("rehearsal", [False, True])
@pytest.mark.parametrize("wheels", [WHEELS, ()])
def test_it_satisfies_the_schema(facts: Facts, wheels: tuple[Wheel, ...], rehearsal: bool) -> None:
    """With a runner, without one, and for a rehearsal, CycloneDX's own validator finds nothing."""
    pytest.importorskip("jsonschema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    text = render_bom("clinic-laptop-ort-int8", LAPTOP, replace(facts, rehearsal=rehearsal), wheels)
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"machine-learning-model"', '"oracle"')) is not None


def test_the_model_has_its_figures_and_their_intervals(facts: Facts) -> None:
    """The model card names each figure with its interval, the threshold, the data and the limits."""
    model = rendered(facts)["components"][0]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0] == {
        "type": "sensitivity",
        "value": "0.992300",
        "slice": "file.npz, test split, at the decision threshold 0.250000",
        "confidenceInterval": {"lowerBound": "0.977700", "upperBound": "0.998400"},
    }
    assert "confidenceInterval" not in metrics[1]
    assert {"name": "udacimed-edge:decision_threshold", "value": "0.25"} in model["properties"]
    datasets = model["modelCard"]["modelParameters"]["datasets"]
    assert [data["contents"]["properties"][0]["value"] for data in datasets] == ["d" * 64, "e" * 64]
    limits = model["modelCard"]["considerations"]["technicalLimitations"]
    assert limits == ["Not a diagnosis.", "Not a medical device.", "Elsewhere it may fail."]


def test_every_wheel_is_a_component_of_its_own(facts: Facts) -> None:
    """Each wheel has its hash and an address; the runner depends on all of them."""
    bom = rendered(facts)
    libraries = [part for part in bom["components"] if part["type"] == "library"]
    assert [part["hashes"][0]["content"] for part in libraries] == ["1" * 64, "2" * 64]
    assert libraries[0]["purl"] == f"pkg:pypi/numpy@2.4.6?file_name={WHEELS[0].file}"
    assert bom["dependencies"][1] == {"ref": "screen.pyz", "dependsOn": [w.file for w in WHEELS]}


def test_the_same_inputs_give_the_same_list(facts: Facts) -> None:
    """Neither clock nor chance is in it; another report gives another serial number."""
    one, two, other = rendered(facts), rendered(facts), rendered(replace(facts, report_digest="f" * 64))
    assert one == two
    assert one["metadata"]["timestamp"] == facts.created
    assert one["serialNumber"] != other["serialNumber"]


def test_a_rehearsal_is_marked(facts: Facts) -> None:
    """The bundle, the model, its figures and its limits say that a rehearsal is no evidence."""
    bom = rendered(replace(facts, rehearsal=True))
    model = bom["components"][0]
    said = [bom["metadata"]["component"]["description"], model["description"]]
    said += [metric["slice"] for metric in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]]
    said.append(model["modelCard"]["considerations"]["technicalLimitations"][0])
    assert all(text.startswith("REHEARSAL, no evidence") for text in said)
