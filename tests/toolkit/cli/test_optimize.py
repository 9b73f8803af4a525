"""`optimize` and `--model` as a person meets them: what does not go together, and what a student leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from udacimed_edge.cli.main import cli
from udacimed_edge.core.data import open_data
from udacimed_edge.source.load import load_source


def said(*arguments: str) -> tuple[int, str]:
    """Exit code and output, in one line."""
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimize", "--out", "m.safetensors"], "name a BASELINE, or --student"),
        (["optimize", "b.pth", "--out", "m.onnx"], "--out m.onnx: weights are written as .safetensors"),
        (
            ["optimize", "m.safetensors", "--out", "./m.safetensors"],
            "is the model it starts from; name another file",
        ),
        (
            ["optimize", "b.pth", "--out", "m.safetensors", "--epochs", "3"],
            "--epochs is for --student; a baseline takes --fine-tune",
        ),
        (
            ["optimize", "--student", "--out", "m.safetensors", "--fine-tune", "3"],
            "--fine-tune is for a baseline; a student takes --epochs",
        ),
        (["optimize", "b.pth", "--out", "m.safetensors", "--fine-tune", "0"], "0 is not in the range x>=1"),
        (["convert", "--model", "studnet", "--target", "ort"], "did you mean 'student'?"),
        (
            ["convert", "m.onnx", "--model", "student", "--target", "ort"],
            "name either a file (m.onnx) or --model student",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str) -> None:
    """A command line that asks for two things is exit code 2 and says which."""
    code, output = said(*arguments)
    assert (code, message in output) == (2, True), output


@pytest.mark.slow
def test_a_student_that_learned_nothing_is_refused(tmp_path: Path) -> None:
    """What the policy refuses lies in rejected/ with its card, exit code 6; nothing is at OUT."""
    drawn = open_data("synthetic").read("train")
    arrays = {}
    for start, stop, name in ((0, 16, "train"), (16, 56, "val"), (56, 96, "test")):
        arrays[f"{name}_images"] = drawn.images[start:stop]
        arrays[f"{name}_labels"] = drawn.labels[start:stop, None]
    np.savez(tmp_path / "little.npz", **arrays)  # type: ignore[arg-type]
    out = tmp_path / "out" / "student.safetensors"
    code, output = said(
        "optimize", "--student", "--epochs", "1", "--data", str(tmp_path / "little.npz"), "--out", str(out)
    )
    assert code == 6, output
    assert "BROKEN AUC drop" in output
    assert output.index("now the test split is opened") < output.index("BROKEN")
    assert sorted(path.name for path in out.parent.iterdir()) == ["rejected"]
    kept = out.parent / "rejected" / out.name
    assert sorted(path.name for path in kept.parent.iterdir()) == [
        "student.json",
        "student.md",
        "student.safetensors",
    ]
    card = json.loads(kept.with_suffix(".json").read_text())
    assert load_source(kept).digest == card["weights_sha256"]
    assert card["architecture"] == "student"
    assert card["training"]["recipe"]["epochs"] == 1
    assert card["training"]["split sizes"]["train"] == 16
    assert set(card["test"]["policy"]) == {"sensitivity", "AUC drop", "size", "work"}
    assert "the teacher has" in card["test"]["against the teacher"]["specificity"]
