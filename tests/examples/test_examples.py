"""Each example runs, on little data, as a person would start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import write_synthetic

from udacimed_edge.core.data import open_data, sample_synthetic
from udacimed_edge.optimization.steps import read_baseline
from udacimed_edge.source.load import SourceOptions, load_source
from udacimed_edge.source.spec import read_spec

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def little_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MedMNIST file of synthetic images: 300 to learn from, 60 to validate, 60 to test."""
    return write_synthetic(tmp_path_factory.mktemp("data") / "little.npz", 300, 60, 60)


def run(script: str, *arguments: str) -> str:
    """What the script prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fit_synthetic_writes_a_sampler(little_data: Path, tmp_path: Path) -> None:
    """The fitted sampler draws images whose class means are those of the images it was fitted on."""
    out = tmp_path / "synthetic.npz"
    assert "MB" in run("fit_synthetic.py", "--data", str(little_data), "--out", str(out))
    with np.load(out) as sampler:
        images, labels = sample_synthetic(dict(sampler), 200, 200, seed=0)
    train = open_data(str(little_data)).read("train")
    for label in (0, 1):
        drawn, fitted = images[labels == label].mean(0), train.images[train.labels == label].mean(0)
        assert np.abs(drawn - fitted).mean() < 5


@pytest.mark.slow
def test_train_reference_writes_a_model_and_its_card(little_data: Path, tmp_path: Path) -> None:
    """Training writes a model that loads with its card, a threshold set on validation, and test figures."""
    out = tmp_path / "model.safetensors"
    said = run("train_reference.py", "--data", str(little_data), "--out", str(out), "--epochs", "1")
    assert "now the test split is opened" in said
    card, source = read_spec(out.with_suffix(".json")), load_source(out)
    assert source.threshold == card.threshold
    assert card.threshold_origin is not None
    assert "before the test split was opened" in card.threshold_origin
    assert card.test["sensitivity"]["total"] + card.test["specificity"]["total"] == 60
    assert card.training["split sizes"]["train"] == 300
    assert json.loads(json.dumps(card.training["recipe"]))["student"]["epochs"] == 1
    assert out.with_suffix(".md").read_text().startswith("# Model card")


@pytest.mark.slow
def test_three_seeds_are_trained_chosen_among_and_tested_once(little_data: Path, tmp_path: Path) -> None:
    """Three students go on from 0.1.0's, validation chooses one, and the test split opens a single time."""
    common = ("--data", str(little_data), "--runs", str(tmp_path))
    for seed in ("0", "1", "2"):
        run("continue_training.py", "student", *common, "--seed", seed, "--epochs", "1")
    assert "going on after epoch 1" in run("continue_training.py", "student", *common, "--epochs", "1")
    assert "ships: " in run("select_model.py", "choose", "student", *common)
    run("select_model.py", "test", "student", *common, "--rule", "abc1234")
    out = tmp_path / "student-2.safetensors"
    card, source = read_spec(out.with_suffix(".json")), load_source(out)
    choice = json.loads((tmp_path / "student-choice.json").read_text())
    rows = {name: row for name, row in choice["candidates"].items() if name != "0.1.0"}
    assert list(rows) == ["seed 0", "seed 1", "seed 2", "mean"]
    best = max(row["pooled specificity"] for row in rows.values())
    assert rows[choice["shipped"]]["pooled specificity"] == best
    assert source.threshold == card.threshold == rows[choice["shipped"]]["threshold"]
    assert card.training["rule"].endswith("abc1234")
    assert list(card.test["all candidates"]) == [*rows, "0.1.0"]
    assert card.test["sensitivity"]["total"] + card.test["specificity"]["total"] == 60
    again = [sys.executable, str(EXAMPLES / "select_model.py"), "test", "student", *common, "--rule", "x"]
    refused = subprocess.run(again, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "was opened for student-2 already" in refused.stderr


@pytest.mark.slow
def test_make_baseline_writes_a_baseline_with_its_card(little_data: Path, tmp_path: Path) -> None:
    """The example writes weights that `optimize` takes, and a card that says what they are."""
    out = tmp_path / "baseline.safetensors"
    options = ("--epochs", "1", "--images", "8")
    assert "Next: udacimed-edge optimize" in run(
        "make_baseline.py", "--data", str(little_data), "--out", str(out), *options
    )
    state = read_baseline(out, SourceOptions()).state
    assert state.card.mean == (0.5, 0.5, 0.5)
    card = read_spec(out.with_suffix(".json"))
    assert card.architecture == "torchvision-resnet18"
    assert card.training["input"] == "enlarged to 224x224"
    assert card.training["split sizes"]["train"] == 8
