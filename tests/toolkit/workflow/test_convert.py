"""Convert and judge, judge again: the way of the data as a user's folder shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.core.data import DataSet, open_data
from udacimed_edge.core.errors import ConversionError, GateRefusedError, InputError
from udacimed_edge.source.load import SourceModel
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import read_report, write_report
from udacimed_edge.workflow import prepare
from udacimed_edge.workflow.convert import convert_all, validate_all, validate_predictions
from udacimed_edge.workflow.plan import ConversionPlan, Item, ItemResult, plan_items

if TYPE_CHECKING:
    import torch

LENIENT = PolicySettings(min_sensitivity=0, max_specificity_drop=1, max_auc_drop=1, min_agreement=0)
FP32 = (Item("ort", "fp32"),)
STANDARD = ["ort-int8", "ort-fp32", "coreml-fp16", "coreml-int8"]
STANDARD += ["litert-int8", "litert-fp32", "openvino-int8", "openvino-fp32"]


@pytest.fixture(scope="module")
def data() -> DataSet:
    """The synthetic set."""
    return open_data("synthetic")


@pytest.fixture(scope="module")
def source(
    small_network: torch.nn.Module,
    small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    data: DataSet,
) -> SourceModel:
    """The small network with a threshold that calls 60 % of the normal images normal."""
    test = data.read("test")
    threshold = float(np.quantile(small_answers(test.images[test.labels == 0]), 0.6))
    return SourceModel("small", small_network, "2" * 64, threshold, "chosen for a test", dynamic_batch=True)


def silent(event: object) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def converted(source: SourceModel, data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> ItemResult:
    """The small network as an fp32 ORT artifact that passed."""
    out = tmp_path_factory.mktemp("converted")
    (result,) = convert_all(source, data, ConversionPlan(FP32, out, LENIENT), silent)
    assert result.error is None
    return result


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


def test_validate_repeats_the_verdict(converted: ItemResult, data: DataSet) -> None:
    """Judging again gives the same figures and predictions, without the source model."""

    def no_model(digest: str) -> SourceModel:
        raise AssertionError("the earlier report holds the source's scores")

    assert converted.artifact is not None
    (again,) = validate_all([converted.artifact.parent], data, LENIENT, no_model, silent)
    assert again.report is not None
    assert converted.report is not None
    assert again.report.predictions == converted.report.predictions
    assert again.report.metrics == converted.report.metrics
    assert again.report.verdict == "PASS"


def test_validate_computes_the_source_where_no_report_tells(
    converted: ItemResult, data: DataSet, source: SourceModel, tmp_path: Path
) -> None:
    """An artifact without a report is judged against the model itself."""
    assert converted.artifact is not None
    lone = tmp_path / "model.ort"
    lone.write_bytes(converted.artifact.read_bytes())
    (again,) = validate_all([lone], data, LENIENT, lambda _: source, silent)
    assert again.report is not None
    assert again.report.source.scores_from == "computed by PyTorch"


def test_validate_refuses_another_source(
    converted: ItemResult, data: DataSet, source: SourceModel, tmp_path: Path
) -> None:
    """An artifact is never compared with a model it was not made from."""
    assert converted.artifact is not None
    lone = tmp_path / "model.ort"
    lone.write_bytes(converted.artifact.read_bytes())
    other = replace(source, name="other", digest="3" * 64)
    (again,) = validate_all([lone], data, LENIENT, lambda _: other, silent)
    assert isinstance(again.error, InputError)
    assert "was made from the model small" in again.error.message


def test_answers_from_a_device_are_judged_by_the_same_gate(
    converted: ItemResult, data: DataSet, source: SourceModel, tmp_path: Path
) -> None:
    """Answers that a device wrote into a file get the verdict and figures of an execution here."""
    assert converted.report is not None
    assert converted.artifact is not None
    answers = np.array(converted.report.predictions.artifact, dtype=np.float64)
    np.savez(
        tmp_path / "device.npz",
        artifact=converted.report.artifact.digest,
        device="a phone",
        index=np.tile(np.arange(len(answers)), 2),
        run=np.repeat([1, 2], len(answers)),
        probability=np.tile(answers, 2),
    )
    result = validate_predictions(
        converted.artifact.parent, tmp_path / "device.npz", data, LENIENT, lambda _: source
    )
    assert result.report is not None
    assert result.report.executor.startswith("executed on a phone, as stated in")
    assert (result.report.verdict, result.report.metrics) == ("PASS", converted.report.metrics)


def _flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "model.ort").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / "model.ort").write_bytes(content)


def _edit_the_report(folder: Path) -> None:
    path = folder / "report.json"
    path.write_text(path.read_text().replace('"verdict": "PASS"', '"verdict": "SKIP"'))


def _empty_the_report(folder: Path) -> None:
    (folder / "report.json").write_text("{}")


def _remove_the_artifact(folder: Path) -> None:
    (folder / "model.ort").unlink()


def _add_an_artifact(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_flip_a_byte, "was changed after its report"),
        (_edit_the_report, "report.json was changed after it was written"),
        (_empty_the_report, "is a report of version None"),
        (_remove_the_artifact, "holds no artifact"),
        (_add_an_artifact, "holds 2 artifacts"),
    ],
)
def test_validate_refuses_what_was_tampered_with(
    harm: Callable[[Path], None],
    message: str,
    converted: ItemResult,
    data: DataSet,
    source: SourceModel,
    tmp_path: Path,
) -> None:
    """An artifact or report that is not as it was written is an error that says so."""
    assert converted.artifact is not None
    assert converted.report is not None
    (tmp_path / "model.ort").write_bytes(converted.artifact.read_bytes())
    write_report(converted.report, tmp_path / "report.json")
    harm(tmp_path)
    (result,) = validate_all([tmp_path], data, LENIENT, lambda _: source, silent)
    assert result.error is not None
    assert message in result.error.message


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


def test_a_source_that_fails_the_policy_converts_nothing(
    source: SourceModel, data: DataSet, tmp_path: Path
) -> None:
    """A source model that calls everyone ill is refused before anything is written."""
    alarmist = replace(source, threshold=1e-9)
    with pytest.raises(GateRefusedError, match="source model small itself"):
        convert_all(alarmist, data, ConversionPlan(FP32, tmp_path, LENIENT), silent)
    assert not list(tmp_path.iterdir())


def test_a_missing_threshold_is_set_on_validation(source: SourceModel, data: DataSet) -> None:
    """A model without a threshold gets the highest one that finds 98 % on the validation split."""
    threshold, origin = prepare.set_threshold(replace(source, threshold=None), data)
    validation = data.read("validation")
    scores = prepare.source_probabilities(source, validation)[validation.labels == 1]
    assert (scores >= threshold).mean() >= 0.98
    assert (scores > scores[scores >= threshold].min()).mean() < 0.98
    assert "validation split" in origin
    assert validation.digest[:12] in origin


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
