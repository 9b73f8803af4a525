"""The record: it reads back as written, and shows when it was changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import make_up

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.validation.judging.evaluate import EvaluationInputs, SourceScores, evaluate
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import LIMITS, DataRecord, Report, _digest, read_report, write_report

LABELS = np.array([0, 1] * 20, dtype=np.uint8)
SCORES = np.where(LABELS == 1, 0.9, 0.1)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """A report on an artifact that answers as its source does."""
    path = tmp_path / "model.ort"
    path.write_bytes(b"artifact")
    contract = Contract("ort", "fp32", 0.5, "a test", "source", "4" * 64, None, "0")
    make_up(monkeypatch, {"fp32": 10}, Predictor(contract, lambda x: SCORES[: len(x)], None, "fake"))
    split = Split("test", "custom", np.zeros((40, 64, 64), np.uint8), LABELS)
    data = DataRecord(
        origin="custom",
        name="x.npz",
        file_digest="5" * 64,
        split="test",
        digest=split.digest,
        pneumonia=20,
        normal=20,
    )
    scores = SourceScores("source", "4" * 64, SCORES, "a test", 0.5)
    return evaluate(path, EvaluationInputs(split, data, scores, PolicySettings()))


def test_a_report_reads_back_as_written(report: Report, tmp_path: Path) -> None:
    """What is read from report.json equals what was written."""
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report


def test_a_report_without_later_fields_reads_back(report: Report, tmp_path: Path) -> None:
    """A report that was sealed before a field existed is still as it was written."""
    content = json.loads(report.model_dump_json())
    del content["latency"]
    content["report_digest"] = _digest(content)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    assert read_report(path).latency is None


def test_every_report_states_the_limits(report: Report) -> None:
    """The statements on clinical use and on other hospitals are in every report."""
    text = " ".join(report.limits)
    assert report.limits == LIMITS
    assert "not for clinical use" in text
    assert "0.95 to 0.54" in text


def _edit(**changes: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_edit(verdict="SKIP"), "was changed after it was written"),
        (_edit(threshold=0.4), "was changed after it was written"),
        (_edit(report_digest=""), "was changed after it was written"),
        (_edit(schema_version=2), "is a report of version 2"),
        (_edit(surprise=1), "surprise: Extra inputs are not permitted"),
        (_edit(threshold="NaN"), "threshold"),
        (lambda text: text[: len(text) // 2], "is not a report"),
        (lambda text: "", "is not a report"),
        (lambda text: "[]", "is not a report"),
        (lambda text: "null", "is not a report"),
    ],
)
def test_a_report_that_is_not_as_written_is_refused(
    harm: Callable[[str], str], message: str, report: Report, tmp_path: Path
) -> None:
    """A damaged, foreign or edited report is an error with its name."""
    path = tmp_path / "report.json"
    write_report(report, path)
    path.write_text(harm(path.read_text()))
    with pytest.raises(InputError, match=r"report\.json") as caught:
        read_report(path)
    assert message in caught.value.message


def test_a_missing_report_is_refused(tmp_path: Path) -> None:
    """A report that is not there is an error with its path."""
    with pytest.raises(InputError, match=r"cannot read .*none\.json"):
        read_report(tmp_path / "none.json")
