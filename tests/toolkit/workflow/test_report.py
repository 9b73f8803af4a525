"""Reports for people: gathered from folders, mixed ones refused, written whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import make_up

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.core.files import path_digest
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.validation.judging import evaluate as evaluation
from udacimed_edge.validation.judging.evaluate import EvaluationInputs, Execution, SourceScores
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import DataRecord, with_digest, write_report
from udacimed_edge.workflow.report import collect, compare_paths, write_card, write_html, write_markdown

LABELS = np.array([0, 1] * 20, dtype=np.uint8)
SCORES = np.where(LABELS == 1, 0.9, 0.1)
SPLIT = Split("test", "custom", np.zeros((40, 64, 64), np.uint8), LABELS)

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts an artifact and its report into OUT/<item>/ and returns that folder."""

    def write(item: str, digest: str = SPLIT.digest, least: float = 0.98, **update: Any) -> Path:
        folder = tmp_path / "out" / item
        folder.mkdir(parents=True)
        path = folder / "model.ort"
        path.write_bytes(item.encode())
        make_up(monkeypatch, {"int8": 1000})
        data = DataRecord(origin="custom", name="x.npz", file_digest="5" * 64, split="test", digest=digest,
                          pneumonia=20, normal=20)  # fmt: skip
        inputs = EvaluationInputs(
            SPLIT,
            data,
            SourceScores("source", "4" * 64, SCORES, "a test", 0.5),
            PolicySettings(min_sensitivity=least),
        )
        contract = Contract(item.split("-")[0], "int8", 0.5, "a test", "source", "4" * 64, None, "0")
        report = evaluation.evaluate_answers(
            path, path_digest(path), Execution(contract, "x", [SCORES, SCORES]), inputs
        )
        write_report(with_digest(report.model_copy(update=update)), folder / "report.json")
        return folder

    return write


def test_a_folder_is_searched(put: Put, tmp_path: Path) -> None:
    """A folder stands for every report.json below it, but not for what is still being written."""
    for item in ("ort-int8", "rejected/litert-int8", ".staging-1/openvino-int8"):
        put(item)

    assert [r.artifact.format for r in collect([tmp_path / "out"])] == ["ort", "rejected/litert"]


def test_each_report_once(put: Put) -> None:
    """A report that is named twice, as a file and by its folder or as a copy, is taken once."""
    folder = put("ort-int8")
    copy = shutil.copy(folder / "report.json", folder / "copy.json")

    assert len(collect([folder, folder / "report.json", Path(copy)])) == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"digest": "9" * 64}, "are of different data"),
        ({"least": 0.9}, "are of different policies"),
        ({"schema_version": 2}, "is a report of version 2"),
    ],
)
def test_mixed_reports_are_refused(put: Put, other: dict[str, Any], message: str) -> None:
    """Reports of other data, policies or versions in one call are an error that names a file."""
    folders = [put("ort-int8"), put("litert-int8", **other)]
    with pytest.raises(InputError, match=message) as caught:
        collect(folders)
    assert str(folders[1] / "report.json") in str(caught.value)


def _edit(folder: Path) -> list[Path]:
    file = folder / "report.json"
    file.write_text(file.read_text().replace('"verdict": "PASS"', '"verdict": "FAIL"'))
    return [folder]


def _empty(folder: Path) -> list[Path]:
    (folder / "report.json").unlink()
    return [folder]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_edit, "was changed after it was written"),
        (_empty, "holds no report.json"),
        (lambda folder: [folder / "nothing"], "there is no report at"),
        (lambda folder: [folder / "model.ort"], "is not a report"),
        (lambda folder: [], "no report was named"),
    ],
)
def test_what_is_no_report_is_refused(put: Put, harm: Callable[[Path], list[Path]], message: str) -> None:
    """A report edited by hand, a folder without one, a missing path and another file are errors."""
    with pytest.raises(InputError, match=message):
        collect(harm(put("ort-int8")))


def test_written(put: Put, tmp_path: Path) -> None:
    """Page, overview and model card are written as files that name the artifact."""
    reports = collect([put("ort-int8")])

    write_html(reports, tmp_path / "new" / "report.html", SPLIT)
    write_markdown(reports, tmp_path / "report.md")
    write_card(reports[0], tmp_path / "card.md")

    for name in ("new/report.html", "report.md", "card.md"):
        assert "ort int8" in (tmp_path / name).read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written(put: Put, tmp_path: Path) -> None:
    """Where a folder is in the way the error says so."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*report\.html"):
        write_html(collect([put("ort-int8")]), tmp_path / "report.html")


def test_compare_artifacts_or_reports(put: Put) -> None:
    """A folder, the artifact in it and its report stand for the same."""
    first, second = put("ort-int8"), put("litert-int8")

    for after in (second, second / "model.ort", second / "report.json"):
        change = compare_paths(first, after)
        assert (change.before.artifact.format, change.after.artifact.format) == ("ort", "litert")


def test_an_artifact_that_its_report_does_not_speak_of(put: Put) -> None:
    """An artifact changed after it was judged is not compared by its old report."""
    first, second = put("ort-int8"), put("litert-int8")
    (second / "model.ort").write_bytes(b"other")
    with pytest.raises(InputError, match="was changed after its report was written"):
        compare_paths(first, second)
