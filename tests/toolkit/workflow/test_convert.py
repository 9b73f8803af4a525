"""Convert and judge, judge again: the way of the data as a user's folder shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import FP32, LENIENT, silent

from udacimed_edge.core.data import DataSet
from udacimed_edge.core.errors import ConversionError, GateRefusedError, InputError
from udacimed_edge.source.load import SourceModel
from udacimed_edge.validation.report import read_report
from udacimed_edge.workflow import convert, prepare
from udacimed_edge.workflow.convert import convert_all
from udacimed_edge.workflow.plan import ConversionPlan, Item, ItemResult, plan_items
from udacimed_edge.workflow.validate import validate_all

if TYPE_CHECKING:
    pass

STANDARD = ["ort-int8", "ort-fp32", "coreml-fp16", "coreml-int8"]
STANDARD += ["litert-int8", "litert-fp32", "openvino-int8", "openvino-fp32"]


def test_a_passing_artifact_lies_with_its_report(converted: ItemResult) -> None:
    """What passes is at OUT/<item>/ with a report that speaks of these bytes; nothing else is in OUT."""
    assert converted.artifact is not None
    folder = converted.artifact.parent
    report = read_report(folder / "report.json")
    assert (report.verdict, report.artifact.files[0].name) == ("PASS", "model.ort")
    assert sorted(p.name for p in folder.iterdir()) == ["model-card.md", "model.ort", "report.json"]
    assert [p.name for p in folder.parent.iterdir()] == ["ort-fp32"]


def test_a_synthetic_report_is_a_rehearsal(converted: ItemResult) -> None:
    """A report on synthetic images says so in its first line, its title, its origin and its own field."""
    assert converted.report is not None
    assert converted.artifact is not None
    written = converted.artifact.with_name("report.json").read_text()
    assert written.splitlines()[0].startswith('{"title": "REHEARSAL')
    assert converted.report.title.startswith("REHEARSAL")
    assert converted.report.rehearsal
    assert converted.report.data.origin == "synthetic"


def test_a_failing_artifact_is_rejected_and_the_earlier_one_stays(
    converted: ItemResult, source: SourceModel, data: DataSet
) -> None:
    """What fails goes to OUT/rejected/ with its reason; the artifact that passed before is untouched."""
    assert converted.artifact is not None
    out, before = converted.artifact.parent.parent, converted.artifact.read_bytes()
    strict = LENIENT.model_copy(update={"min_agreement": 1.0})
    items = (Item("ort", "int8"),)
    (result,) = convert_all(source, data, ConversionPlan(items, out, strict, max_recipe=2), silent)
    assert result.report is not None
    assert result.report.verdict == "FAIL"
    assert "agreement" in result.report.reason
    assert "none of 2 holds" in result.report.reason
    assert [(recipe.number, recipe.passed) for recipe in result.report.recipes] == [(1, False), (2, False)]
    assert all("agreement" in recipe.reason for recipe in result.report.recipes)
    assert result.artifact == out / "rejected" / "ort-int8" / "model.ort"
    assert read_report(out / "rejected" / "ort-int8" / "report.json") == result.report
    assert not (out / "ort-int8").exists()
    assert converted.artifact.read_bytes() == before


def test_synthetic_calibration_shows_its_cost(source: SourceModel, data: DataSet, tmp_path: Path) -> None:
    """A report names synthetic calibration and what it costs; judging again keeps that, and the recipes."""
    patients = replace(data, origin="custom")  # the same images under another name: no cost at all
    plan = ConversionPlan((Item("ort", "int8"),), tmp_path, LENIENT, max_recipe=1, calibrate="synthetic")
    (result,) = convert_all(source, patients, plan, silent)
    report = result.report
    assert report is not None
    assert report.calibration is not None
    assert report.calibration_cost is not None
    assert report.metrics is not None
    assert (report.calibration.origin, report.calibration_cost.calibration.origin) == ("synthetic", "custom")
    assert report.calibration_cost.auc == report.metrics.auc
    assert report.calibration_cost.sensitivity_cost == report.calibration_cost.auc_cost == 0
    assert report.calibration_cost.method.startswith("recipe 1: ")
    assert result.artifact is not None
    (again,) = validate_all([result.artifact], patients, LENIENT, lambda _: source, silent)
    assert again.report is not None
    for name in ("calibration", "calibration_cost", "recipes"):
        assert getattr(again.report, name) == getattr(report, name)


def test_int8_is_tried_on_validation_and_judged_on_test(
    source: SourceModel, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images that choose a recipe are the validation split's; those that judge it, the test split's."""
    monkeypatch.setattr(convert, "export", lambda source, out: out)
    plan = ConversionPlan((Item("ort", "int8"),), tmp_path, LENIENT)
    shared = convert._prepare(source, data, plan, tmp_path, silent)
    assert shared.trial is not None
    for inputs, name in ((shared.trial, "validation"), (shared.test, "test")):
        assert (inputs.split.name, inputs.split.digest) == (name, data.read(name).digest)
        assert inputs.data.split == name


def test_a_source_that_fails_the_policy_converts_nothing(
    source: SourceModel, data: DataSet, tmp_path: Path
) -> None:
    """A source model that calls everyone ill is refused before anything is written."""
    alarmist = replace(source, threshold=1e-9)
    floor = LENIENT.model_copy(update={"min_specificity": 0.5})
    with pytest.raises(GateRefusedError, match="source model small itself"):
        convert_all(alarmist, data, ConversionPlan(FP32, tmp_path, floor), silent)
    assert not list(tmp_path.iterdir())


def test_a_missing_threshold_is_set_on_validation(source: SourceModel, data: DataSet) -> None:
    """A model without a threshold gets the highest one that finds 98 % on the validation split."""
    found = prepare.set_threshold(replace(source, threshold=None), data)
    validation = data.read("validation")
    scores = prepare.source_probabilities(source, validation.images)[validation.labels == 1]
    assert (scores >= found.value).mean() >= 0.98
    assert (scores > scores[scores >= found.value].min()).mean() < 0.98
    assert "validation split" in found.origin
    assert validation.digest[:12] in found.origin
    assert found.by_rule


def test_a_dead_process_is_one_formats_error(
    source: SourceModel, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a format's process cannot even start its work, its items say so and the log is named."""
    broken = replace(source, digest="not to be pickled")
    monkeypatch.setattr("udacimed_edge.workflow.convert._convert_format", sum)
    (result,) = convert_all(broken, data, ConversionPlan(FP32, tmp_path, LENIENT), silent)
    assert isinstance(result.error, ConversionError)
    assert "logs/ort.log" in result.error.hint
    assert (tmp_path / "logs" / "ort.log").read_text().startswith("Traceback")


@pytest.mark.parametrize(
    ("target", "precision", "items"),
    [
        ("ort", None, ["ort-int8"]),
        ("coreml", None, ["coreml-fp16"]),
        ("openvino", "fp16", ["openvino-fp16"]),
        ("all", "fp16", ["coreml-fp16", "openvino-fp16"]),
        ("all", None, STANDARD),
        ("raspberry-pi-4", None, ["ort-int8"]),
        ("raspberry-pi-4", "fp32", ["ort-fp32"]),
        ("mac", None, ["coreml-fp16"]),
    ],
)
def test_target_and_precision_name_items(target: str, precision: str | None, items: list[str]) -> None:
    """A format stands for its default precision, `all` for the standard set, a device for what suits it."""
    assert [str(item) for item in plan_items(target, precision)] == items  # type: ignore[arg-type]


def test_a_precision_the_target_lacks_is_refused() -> None:
    """Asking a format for what it does not have names what it has."""
    with pytest.raises(InputError, match="ort has no fp16") as caught:
        plan_items("ort", "fp16")
    assert "int8, fp32" in caught.value.hint
    with pytest.raises(InputError, match="raspberry-pi-4 takes no fp16"):
        plan_items("raspberry-pi-4", "fp16")
