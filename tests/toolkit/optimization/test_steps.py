"""From a baseline file to a measured, written model; and a student, kept or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import write_synthetic

from udacimed_edge.cli.optimize_tables import figure, table
from udacimed_edge.core.data import DataSet, open_data
from udacimed_edge.core.errors import InputError
from udacimed_edge.optimization.distill import MOST_MACS, MOST_PARAMETERS, POLICY
from udacimed_edge.optimization.measure import flops
from udacimed_edge.optimization.steps import Optimization, OptimizationPlan, optimize, read_baseline
from udacimed_edge.optimization.trained import figures, markdown, measured
from udacimed_edge.source.load import BUILT_IN, REFERENCE, SourceOptions, built_in_of, load_source
from udacimed_edge.source.network import build_resnet18, build_student
from udacimed_edge.source.spec import read_spec
from udacimed_edge.validation.policy.clauses import Evidence
from udacimed_edge.workflow.prepare import source_probabilities

STATED = SourceOptions((0.5,), (0.5,), ("normal", "pneumonia"), architecture="torchvision-resnet18")


@pytest.fixture(scope="module")
def little_data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Synthetic images as a file: 64 to learn from, 24 to validate, 24 to test."""
    path = write_synthetic(tmp_path_factory.mktemp("data") / "little.npz", 64, 24, 24)
    return open_data(str(path))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference model's weights with three input channels, as a state dict."""
    state = {name: tensor.float() for name, tensor in load_file(REFERENCE).items()}
    state["conv1.weight"] = (state["conv1.weight"] / 3).repeat(1, 3, 1, 1)
    path = tmp_path_factory.mktemp("baseline") / "baseline.pth"
    torch.save(state, path)
    return path


@pytest.mark.slow
def test_optimize_measures_every_step_and_writes_the_model(
    baseline: Path, little_data: DataSet, tmp_path: Path
) -> None:
    """The record has each step in order with known costs, and the file answers like the last stored step."""
    said: list[str] = []
    out = tmp_path / "model.safetensors"
    record = optimize(
        read_baseline(baseline, STATED), little_data, OptimizationPlan(out, fine_tune=1), said.append
    )
    names = ["baseline", "native 64x64", "epochs: 1", "channels-last", "in-place ReLU", "gray stem fold"]
    assert [row.step for row in record.steps] == [*names, "fp16 storage", "batch norm fold"]
    assert [round(row.flops / 2e9, 2) for row in record.steps[:2]] == [1.81, 0.15]
    assert record.steps[0].parameters - record.steps[-2].parameters == 2 * 64 * 49
    assert record.steps[0].stored_bytes > 1.99 * record.steps[-2].stored_bytes
    assert all(r.max_probability_difference is not None for r in record.steps[1:])
    assert all(r.max_probability_difference < 1e-4 for r in record.steps if r.effect == "exact")  # type: ignore[operator]
    source, validation = load_source(out), little_data.read("validation")
    assert source.digest == record.model_sha256
    assert source.threshold == record.steps[-2].threshold
    scores = source_probabilities(source, validation.images)
    found = int((scores[validation.labels == 1] >= record.steps[-2].threshold).sum())
    assert found == record.steps[-2].metrics.tp
    written = read_spec(out.with_suffix(".json"))
    assert written.training["fine-tuning"]["epochs"] == 1
    assert written.training["optimized from"]["sha256"] == record.baseline_sha256
    assert not record.rehearsal
    assert any("epoch 1/1" in line for line in said)
    assert Optimization.model_validate_json(record.model_dump_json()) == record
    assert table(record).row_count == len(record.steps)
    assert figure(record).startswith(b"<?xml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def _gray(folder: Path) -> Path:
    torch.save(build_resnet18(1).state_dict(), folder / "gray.pth")
    return folder / "gray.pth"


def _student(folder: Path) -> Path:
    torch.save(build_student().state_dict(), folder / "student.pth")
    return folder / "student.pth"


def _resnet34(folder: Path) -> Path:
    state = build_resnet18(3).state_dict()
    state["layer1.2.conv1.weight"] = torch.zeros(64, 64, 3, 3)
    torch.save(state, folder / "deeper.pth")
    return folder / "deeper.pth"


def _not_finite(folder: Path) -> Path:
    state = build_resnet18(3).state_dict()
    state["fc.bias"][0] = float("nan")
    torch.save(state, folder / "nan.pth")
    return folder / "nan.pth"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_gray, "is no baseline: expected torchvision's ResNet-18 weights with three input channels"),
        (_student, "is not a torchvision-resnet18: "),
        (_resnet34, "is not a torchvision-resnet18: 0 tensors missing, 1 unexpected"),
        (_not_finite, "the tensor 'fc.bias' holds NaN or infinity"),
        (lambda folder: folder / "none.pth", "does not exist"),
    ],
)
def test_another_model_is_no_baseline(build: object, message: str, tmp_path: Path) -> None:
    """A model of another architecture, or a broken one, is refused by name."""
    assert callable(build)
    with pytest.raises(InputError) as caught:
        read_baseline(build(tmp_path), STATED)
    assert message in str(caught.value)


def test_a_baseline_of_unknown_preprocessing_is_refused(baseline: Path) -> None:
    """Without a card, normalisation and labels must be said."""
    with pytest.raises(InputError, match="missing: --mean, --std, --labels"):
        read_baseline(baseline, SourceOptions())


def test_nothing_is_trained_where_nothing_can_be_written(
    baseline: Path, little_data: DataSet, tmp_path: Path
) -> None:
    """A folder that cannot be made is found out before the first step."""
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    plan = OptimizationPlan(tmp_path / "file" / "model.safetensors", fine_tune=1)
    with pytest.raises(Exception, match="a file stands where a folder is needed"):
        optimize(read_baseline(baseline, STATED), little_data, plan, said.append)
    assert said == []


# the student


def test_the_student_is_small() -> None:
    """At most 2 MB of parameters in INT8, and at most 40 million multiply-accumulates an image."""
    network = build_student().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) <= MOST_PARAMETERS == 2_000_000
    assert flops(network, torch.zeros(1, 1, 64, 64)) / 2 <= MOST_MACS == 40_000_000


def test_the_policy_holds_the_student_to_the_issue_s_bounds() -> None:
    """Eight missed of 390, or an AUC more than 0.01 below its teacher's, are refused; so is no evidence."""
    assert [clause.requirement for clause in POLICY.judge(Evidence(artifact=None, non_finite=0))] == [
        ">= 0.98",
        "<= 0.01",
    ]
    assert not any(clause.passed for clause in POLICY.judge(Evidence(artifact=None, non_finite=0)))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_model_loads_with_its_card(name: str) -> None:
    """Each built-in model has the digest and threshold of its card, and is found by its digest."""
    path = BUILT_IN[name]
    source, card = load_source(path), read_spec(path.with_suffix(".json"))
    assert (source.name, source.digest, source.threshold) == (name, card.weights_sha256, card.threshold)
    assert built_in_of(source.digest) == path
    assert path.with_suffix(".md").read_text() == markdown(card)


def test_an_unknown_digest_is_no_built_in_model() -> None:
    """Naming a model that nobody has does not bring one to hand."""
    assert built_in_of("0" * 64) is None


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_model_does_what_its_card_says(name: str, real_data: DataSet) -> None:
    """On the data of the card, the test figures are the card's."""
    card, test = read_spec(BUILT_IN[name].with_suffix(".json")), real_data.read("test")
    if card.test["split digest"] != test.digest:
        pytest.skip("these are not the data the card was written on")
    assert card.threshold is not None
    metrics = measured(BUILT_IN[name], test, card.threshold)
    shown = json.loads(json.dumps(figures(metrics)))
    assert (shown["sensitivity"], shown["specificity"]) == (
        card.test["sensitivity"],
        card.test["specificity"],
    )
    assert metrics.auc == pytest.approx(card.test["auc"], abs=1e-4)
    assert metrics.tp >= 383
