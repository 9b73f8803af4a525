"""Judging again: PASS cannot be talked into, and what is only somebody's word is called so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import LENIENT, silent

from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import run
from udacimed_edge.core.data import DataSet
from udacimed_edge.core.errors import InputError
from udacimed_edge.source.load import SourceModel
from udacimed_edge.validation.metrics.metrics import compute_metrics
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import write_report
from udacimed_edge.workflow.plan import ItemResult
from udacimed_edge.workflow.prepare import export, promise_of, set_threshold
from udacimed_edge.workflow.validate import validate_all, validate_predictions

if TYPE_CHECKING:
    import torch


def test_validate_repeats_the_verdict(converted: ItemResult, data: DataSet, source: SourceModel) -> None:
    """Judging again gives the same figures and predictions."""
    assert converted.artifact is not None
    (again,) = validate_all([converted.artifact.parent], data, LENIENT, lambda _: source, silent)
    assert again.report is not None
    assert converted.report is not None
    assert again.report.predictions == converted.report.predictions
    assert again.report.metrics == converted.report.metrics
    assert again.report.verdict_words == "PASS"
    assert again.report.basis == converted.report.basis


def test_what_the_card_says_stays_with_the_report(
    converted: ItemResult, data: DataSet, source: SourceModel, tmp_path: Path
) -> None:
    """Lines of the model's card are in a report, and still in one judged without the model at hand."""
    assert converted.artifact is not None
    folder = shutil.copytree(converted.artifact.parent, tmp_path / "artifact")
    known = replace(source, card=("test split, soft normals: 58 of 67",))
    (first,) = validate_all([folder], data, LENIENT, lambda _: known, silent)
    assert first.report is not None
    assert first.report.source.card == known.card
    write_report(first.report, folder / "report.json")
    (second,) = validate_all([folder], data, LENIENT, lambda _: None, silent)
    assert second.report is not None
    assert second.report.source.card == known.card


Forge = Callable[..., Path]


@pytest.fixture
def forge(source: SourceModel, data: DataSet, tmp_path: Path) -> Forge:
    """Writes an ort artifact of the source model, or of another module, whose contract says otherwise."""

    def make(module: torch.nn.Module | None = None, **says: Any) -> Path:
        model = source if module is None else replace(source, module=module)
        program, out = export(model, tmp_path / "program.pt2"), tmp_path / "model.ort"
        contract = promise_of(source, set_threshold(source, data))
        run(FORMATS["ort"], program, replace(contract, format="ort", precision="fp32", **says), None, out)
        return out

    return make


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({"threshold": 1e-17}, "states the threshold 1e-17; the model's own is"),
        ({"source_digest": "9" * 64}, "was made from the model small (999999999999), not from small"),
        ({"input": "gray radiograph, inverted"}, "states the input 'gray radiograph, inverted'"),
        ({"mean": (0.1,)}, "states the mean (0.1,); the model's own is ()"),
        ({"std": (2.0,)}, "states the std (2.0,); the model's own is ()"),
    ],
)
def test_what_an_artifact_promises_is_the_source_model_s(
    says: dict[str, Any], message: str, forge: Forge, data: DataSet, source: SourceModel
) -> None:
    """An artifact whose threshold, input, normalisation or source is not the model's is refused, by name."""
    (found,) = validate_all([forge(**says)], data, LENIENT, lambda _: source, silent)
    assert isinstance(found.error, InputError)
    assert message in found.error.message


def test_a_threshold_lowered_within_all_bounds_is_refused(
    forge: Forge, data: DataSet, source: SourceModel
) -> None:
    """A threshold that changes no decision is still not the model's threshold."""
    lower = float(np.nextafter(source.threshold, 0)) if source.threshold else 0.0
    (found,) = validate_all([forge(threshold=lower)], data, LENIENT, lambda _: source, silent)
    assert isinstance(found.error, InputError)
    assert "states the threshold" in found.error.message


@pytest.mark.parametrize(("factor", "refused"), [(1.0, False), (1 - 1e-6, False), (0.99, True)])
def test_a_threshold_set_by_rule_is_set_again(
    factor: float, refused: bool, forge: Forge, data: DataSet, source: SourceModel
) -> None:
    """Where the model states none, the same rule on the same split gives it again, but for rounding."""
    silent_model = replace(source, threshold=None, threshold_origin=None)
    rule = set_threshold(silent_model, data)
    forged = forge(threshold=rule.value * factor)
    (found,) = validate_all([forged], data, LENIENT, lambda _: silent_model, silent)
    assert (found.error is not None) is refused
    if refused:
        assert found.error is not None
        assert "the rule on the validation split gives" in found.error.message
        assert "--threshold" in found.error.hint


def test_the_source_is_scored_at_its_own_threshold(
    converted: ItemResult, data: DataSet, source: SourceModel
) -> None:
    """The source model's figures in a report are those at the model's threshold."""
    assert converted.report is not None
    assert converted.report.source.threshold == source.threshold
    kept = converted.report.predictions
    labels, scores = np.array(kept.labels, np.uint8), np.array(kept.source, np.float64)
    assert source.threshold is not None
    assert converted.report.source.metrics == compute_metrics(labels, scores, source.threshold)


def test_everyone_is_ill_never_passes(forge: Forge, data: DataSet, source: SourceModel) -> None:
    """An absolute floor of specificity holds for the artifact, whatever the source model's was."""
    alarmist = replace(source, threshold=1e-6)
    settings = LENIENT.model_copy(update={"min_specificity": 0.5})
    (found,) = validate_all([forge(threshold=1e-6)], data, settings, lambda _: alarmist, silent)
    assert found.report is not None
    assert found.report.verdict == "FAIL"
    assert found.report.reason.startswith("specificity: 0.0000")


def test_a_table_of_the_test_images_does_not_pass(
    forge: Forge, data: DataSet, source: SourceModel, small_network: torch.nn.Module
) -> None:
    """An artifact that answers from a table of the test images decides otherwise on altered ones."""
    import torch

    test = data.read("test")
    keys = torch.from_numpy(test.images[:, None].astype(np.float32))
    answers = small_network(keys)

    class Table(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("keys", (keys.flatten(1) / 255).clone())
            self.register_buffer("answers", answers.detach().clone())

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            images = pixels.flatten(1) / 255
            distance = (
                (images * images).sum(1, keepdim=True) - 2 * images @ self.keys.T + (self.keys**2).sum(1)
            )
            hit = distance < 0.5
            found = hit.float() @ self.answers / hit.float().sum(1, keepdim=True).clamp(min=1)
            missed = torch.tensor([[-9.0, 9.0]]) * (hit.float().sum(1, keepdim=True) < 0.5).float()
            return found + missed

    bounds = PolicySettings(min_sensitivity=0, min_specificity=0, min_agreement=0.98)
    (found,) = validate_all([forge(Table().eval())], data, bounds, lambda _: source, silent)
    assert found.report is not None
    assert found.report.comparison is not None
    assert found.report.comparison.agreement == 1
    assert "agreement on altered images" in found.report.reason


def test_without_the_source_model_everything_is_only_stated(
    converted: ItemResult, data: DataSet, tmp_path: Path
) -> None:
    """Where the model is not at hand the report beside the artifact is its maker's word, and said to be."""
    assert converted.artifact is not None
    (found,) = validate_all([converted.artifact.parent], data, LENIENT, lambda _: None, silent)
    assert found.report is not None
    assert (found.report.verdict, found.report.verdict_words) == ("PASS", "PASS, stated")
    assert "stated, not computed here: the report of" in str(found.report.basis)
    lone = shutil.copy(converted.artifact, tmp_path / "model.ort")
    (bare,) = validate_all([Path(lone)], data, LENIENT, lambda _: None, silent)
    assert isinstance(bare.error, InputError)
    assert "not at hand" in bare.error.message
    assert "--source" in bare.error.hint


def device_answers(converted: ItemResult, path: Path, changed: int = 0) -> Path:
    """What a phone answered, twice; the first `changed` decisions are turned round."""
    assert converted.report is not None
    answers = np.array(converted.report.predictions.artifact, dtype=np.float64)
    answers[:changed] = np.where(answers[:changed] >= converted.report.threshold, 1e-4, 0.9999)
    np.savez(
        path,
        artifact=converted.report.artifact.digest,
        device="a phone",
        index=np.tile(np.arange(len(answers)), 2),
        run=np.repeat([1, 2], len(answers)),
        probability=np.tile(answers, 2),
    )
    return path


@pytest.mark.parametrize(("changed", "passed"), [(0, True), (12, True), (13, False)])
def test_a_device_that_decides_otherwise_than_here_fails(
    changed: int,
    passed: bool,
    converted: ItemResult,
    data: DataSet,
    source: SourceModel,
    tmp_path: Path,
) -> None:
    """Stated answers are compared with those computed here: 98 % of the decisions must be the same."""
    assert converted.artifact is not None
    path = device_answers(converted, tmp_path / "device.npz", changed)
    bounds = LENIENT.model_copy(update={"min_agreement": 0.98})
    result = validate_predictions(converted.artifact.parent, path, data, bounds, lambda _: source)
    assert result.report is not None
    names = [clause.name for clause in result.report.policy.clauses if not clause.passed]
    assert ("agreement with the run here" not in names) is passed
    assert result.report.basis is not None
    assert result.report.basis.executed_here is not None
    assert result.report.basis.executed_here.changed == changed
    assert not result.report.stated


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
    path = device_answers(converted, tmp_path / "device.npz")
    result = validate_predictions(converted.artifact.parent, path, data, LENIENT, lambda _: source)
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
