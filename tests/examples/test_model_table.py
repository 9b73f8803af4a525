"""The table of networks: a row is measured against the network itself, once."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support import load_script

SCRIPT = Path(__file__).parents[2] / "examples" / "model_table.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    return load_script(SCRIPT)


@pytest.mark.slow
def test_a_row_is_measured_once(script: ModuleType, tmp_path: Path) -> None:
    """The smallest row passes in ONNX Runtime, and a second run takes it from the file."""
    said: list[str] = []
    out = tmp_path / "table.json"
    rows = script.ROWS[:1]
    found = script.table(out, rows, ("ort",), said.append)[str(rows[0])]
    assert found["ort"]["verdict"] == "PASS"
    assert found["ort"]["sqnr_db"] >= script.LEAST_SQNR_DB
    assert found["spread"] >= script.SPREAD
    script.table(out, rows, ("ort",), said.append)
    assert len(said) == 1


def test_rows_differ(script: ModuleType) -> None:
    """At least thirty rows, none twice, of both exporters and of programs."""
    assert len({str(row) for row in script.ROWS}) == len(script.ROWS) >= 30
    assert {row.file for row in script.ROWS} == {"legacy", "dynamo", "program"}


def test_pictures_differ(script: ModuleType) -> None:
    """Images that were alike would make any two networks agree."""
    pictures = script.pictures()
    assert pictures.shape == (32, 64, 64)
    assert np.ptp(pictures.mean((1, 2))) > 20
