"""The documented form of a predictions file is the one that is read, and the snippets write it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from udacimed_edge.runtime.coreml import INPUT, PROBABILITIES
from udacimed_edge.validation.judging.external import read_predictions

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_documented_csv_is_read(tmp_path: Path) -> None:
    """The example in PREDICTIONS.md, as it stands there, is a valid file."""
    text = (EXAMPLES / "PREDICTIONS.md").read_text(encoding="utf-8")
    block = re.search(r"(    # artifact: .*?)\n    \.\.\.", text, flags=re.DOTALL)
    assert block is not None
    path = tmp_path / "p.csv"
    path.write_text(re.sub(r"^    ", "", block[1], flags=re.MULTILINE), encoding="utf-8")

    found = read_predictions(path, 2)

    assert found.device == "Google Pixel 8, Android 15, LiteRT 1.0.1, CPU"
    assert np.round(found.runs[0]).tolist() == [1, 0]


@pytest.mark.parametrize("name", ["PredictionsWriter.kt", "PredictionsWriter.swift"])
def test_snippets_write_that_form(name: str, tmp_path: Path) -> None:
    """What a snippet writes before the rows, followed by rows of as many numbers, is read."""
    code = (EXAMPLES / name).read_text(encoding="utf-8")
    heading = re.search(r"index,run,[a-z_,]+", code)
    assert heading is not None
    rows = "\n".join(f"{i},{run}" + ",0.25" * (heading[0].count(",") - 1) for run in (1, 2) for i in range(3))
    path = tmp_path / "p.csv"
    path.write_text(f"# artifact: {'1' * 64}\n# device: x\n{heading[0]}\n{rows}\n", encoding="utf-8")

    assert [len(run) for run in read_predictions(path, 3).runs] == [3, 3]
    for line in ("# artifact: ", "# device: "):
        assert line in code


def test_the_swift_snippet_names_the_packages_features() -> None:
    """Input and output are called as in the package."""
    code = (EXAMPLES / "PredictionsWriter.swift").read_text(encoding="utf-8")

    assert f'"{INPUT}"' in code
    assert f'"{PROBABILITIES}"' in code
