"""What a terminal shows is what the report holds."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support import make_up

from udacimed_edge.cli.display import (
    basis_text,
    changes_text,
    clauses_text,
    figures_text,
    left,
    processors_table,
    progress,
    result_table,
)
from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import ConversionError
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.validation.judging.evaluate import EvaluationInputs, SourceScores, evaluate
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import DataRecord, ProcessorRecord, RecipeRecord, Report
from udacimed_edge.workflow.plan import ItemResult, Stage

LABELS = np.array([0, 1] * 20, dtype=np.uint8)
SOURCE = np.where(LABELS == 1, 0.9, 0.1)
ARTIFACT = np.where(np.arange(40) == 3, 0.4567, SOURCE)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """A rehearsal's report on an artifact that misses one of 20."""
    path = tmp_path / "model.ort"
    path.write_bytes(b"artifact")
    predictor = Predictor(
        Contract("ort", "fp32", 0.5, "a rule", "source", "4" * 64, None, "0"),
        lambda images: ARTIFACT[images[:, 0, 0]],
        None,
        "made up 1.0",
    )
    make_up(monkeypatch, {"fp32": 10}, predictor)
    images = np.zeros((40, 64, 64), np.uint8)
    images[:, 0, 0] = np.arange(40)
    split = Split("test", "synthetic", images, LABELS)
    data = DataRecord(
        origin="synthetic",
        name="x",
        file_digest="5" * 64,
        split="test",
        digest=split.digest,
        pneumonia=20,
        normal=20,
    )
    return evaluate(
        path,
        EvaluationInputs(split, data, SourceScores("source", "4" * 64, SOURCE, "", 0.5), PolicySettings()),
    )


def shown(*results: ItemResult) -> str:
    """The table as it is printed."""
    stream = io.StringIO()
    Console(file=stream, width=116).print(result_table(results))
    return stream.getvalue()


def test_the_table_shows_the_report_s_figures(report: Report) -> None:
    """A row has target, precision, verdict and figures; a rehearsal says so above it."""
    text = shown(ItemResult("ort-fp32", report=report, seconds=2.04))
    row = next(line for line in text.splitlines() if "ort" in line).split()
    assert row == ["ort", "fp32", "FAIL", "0.0", "0.9500", "19/20", "1.0000", "1.0000", "1/40", "2.0", "s"]
    assert "REHEARSAL" in text.splitlines()[0]


def test_the_table_shows_how_int8_was_made(report: Report) -> None:
    """An INT8 row names its recipe and how much of the work is in int8."""
    artifact = report.artifact.model_copy(update={"precision": "int8", "macs": {"int8": 980, "fp32": 20}})
    recipes = (RecipeRecord(number=1, name="", passed=False), RecipeRecord(number=2, name="", passed=True))
    made = report.model_copy(update={"artifact": artifact, "recipes": recipes})
    row = next(x for x in shown(ItemResult("ort-int8", report=made)).splitlines() if "ort" in x).split()
    assert row[:6] == ["ort", "int8", "FAIL", "2", "98%", "0.0"]


def test_the_table_shows_what_has_no_report() -> None:
    """An item that could not be made is a row too."""
    row = next(
        x for x in shown(ItemResult("ort-int8", error=ConversionError("no"))).splitlines() if "ort" in x
    )
    assert row.split() == ["ort", "int8", "ERROR", "0.0", "s"]


def test_the_texts_tell_the_whole_verdict(report: Report) -> None:
    """Basis, figures, clauses and changed decisions are those of the report."""
    assert "threshold: 0.5000, a rule" in basis_text(report)
    assert "sensitivity >= 0.98; specificity >= 0.5 and >= source - 0.03" in basis_text(report)
    assert "sensitivity 0.9500 (19/20), 95 % interval 0.7639 to 0.9911 (Wilson)" in figures_text(report)
    assert "does not reach 0.98" in figures_text(report)
    assert "where 2% are ill: PPV 1.000 (0." in figures_text(report)
    assert "where 30% are ill: PPV" in figures_text(report)
    assert "BROKEN sensitivity: 0.9500, 1 missed" in clauses_text(report)
    assert changes_text(report) == "  image 3 (pneumonia): pneumonia -> normal, probability 0.9000 -> 0.4567"


def test_the_matrix_shows_every_row(report: Report) -> None:
    """Each row has its verdict, what changed and how it was computed, or the reason and what to type."""
    rows = (
        ProcessorRecord(
            name="ort-haswell", processor="x", way="an emulator", verdict="PASS", changed=2,
            max_difference=0.0123, seconds=61.26,
        ),
        ProcessorRecord(
            name="ort-cortex-a72", processor="x", way="y", verdict="SKIP", reason="[x]: apt-get install it"
        ),
        ProcessorRecord(name="ort-native", processor="x", way="native", verdict="FAIL", changed=4,
                        comparison_only=True, reason="agreement: 5 decisions changed"),
    )  # fmt: skip
    table = processors_table([report, report.model_copy(update={"processors": rows})])
    stream = io.StringIO()
    Console(file=stream, width=120).print(table)
    lines = stream.getvalue().splitlines()
    haswell, cortex = (next(x for x in lines if name in x) for name in ("ort-haswell", "ort-cortex"))
    assert haswell.split() == ["ort-haswell", "PASS", "2/40", "0.012", "61.3", "s", "an", "emulator"]
    assert cortex.split() == ["ort-cortex-a72", "SKIP", "[x]:", "apt-get", "install", "it"]
    assert lines[-2].startswith("For comparison, no verdict")
    assert lines[-1].strip() == (
        "ort-native: would be broken, 4/40 other than judged; agreement: 5 decisions changed"
    )
    assert "FAIL" not in stream.getvalue()
    assert "in a reason are counted against the source model" in " ".join(stream.getvalue().split())


def test_no_matrix_is_no_table(report: Report) -> None:
    """Where no row was asked for nothing is shown."""
    assert processors_table([report]) is None


def test_progress_is_one_line_a_stage_in_a_pipe() -> None:
    """Without a terminal each stage and each verdict is a plain line."""
    stream = io.StringIO()
    with progress(Console(file=stream, width=80)) as notify:
        notify(Stage("ort-int8", "convert"))
        notify(ItemResult("ort-int8", error=ConversionError("no"), seconds=1))
    assert stream.getvalue().split("\n")[:2] == ["ort-int8: convert", "ort-int8: ERROR (1.0 s)"]


def test_progress_counts_where_the_total_is_known() -> None:
    """Each verdict says how many of all items have ended."""
    stream = io.StringIO()
    with progress(Console(file=stream, width=80), 3) as notify:
        notify(ItemResult("ort-int8", error=ConversionError("no"), seconds=1))
    assert stream.getvalue().split("\n")[0] == "ort-int8: ERROR (1.0 s) [1 of 3]"


def test_a_terminal_keeps_one_line_an_item() -> None:
    """On a terminal the verdict takes the place of the stage, and the count stands below."""
    stream = io.StringIO()
    with progress(Console(file=stream, width=80, force_terminal=True), 2) as notify:
        notify(Stage("ort-int8", "convert"))
        notify(Stage("ort-fp32", "convert"))
        notify(ItemResult("ort-int8", error=ConversionError("no"), seconds=1))
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "\n", stream.getvalue()).splitlines()]
    last = [line for line in lines if line][-3:]
    assert last[0].split() == ["ort-int8", "ERROR", "(1.0", "s)"]
    assert last[1].split()[1:] == ["ort-fp32", "convert"]
    assert last[2].split()[:3] == ["1", "of", "2"]


@pytest.mark.parametrize(
    ("done", "total", "seconds", "told"),
    [(0, 8, 5, ""), (2, 8, 20, "about 60 s left"), (1, 8, 60, "about 7 min left"), (8, 8, 90, "")],
)
def test_the_time_left(done: int, total: int, seconds: float, told: str) -> None:
    """The rest takes as long an item as what has ended."""
    assert left(done, total, seconds) == told


def test_headings_are_explained(report: Report) -> None:
    """Below the table stands what its headings mean."""
    text = " ".join(shown(ItemResult("ort-fp32", report=report)).split())
    for words in ("recipe: which", "in int8: share", "changed: decisions other than the source model's"):
        assert words in text
