"""The processor cases: every row is computed and judged, or says why it is not."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import make_up

from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import run
from udacimed_edge.core import machine
from udacimed_edge.core.data import Split, open_data
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.validation.judging import evaluate as evaluation
from udacimed_edge.validation.judging import processors
from udacimed_edge.validation.judging.evaluate import (
    EvaluationInputs,
    Execution,
    SourceScores,
    data_record,
    evaluate,
)
from udacimed_edge.validation.judging.inputs import RunSettings
from udacimed_edge.validation.judging.processors import CASES, cases_of, processor_records
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import ProcessorRecord, Report

IMAGES = 624
CONTRACT = Contract("ort", "int8", 0.5, "a test", "source", "4" * 64, None, "0")
HASWELL = next(row for row in CASES if row.name == "ort-haswell")

Compute = Callable[..., ProcessorRecord]


@pytest.fixture
def compute(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: EvaluationInputs,
    source_scores: NDArray[np.float64],
) -> Compute:
    """The record of the row ort-haswell whose emulator is a shell script; ANSWERS in it names a file."""

    def run(script: str | None, answers: NDArray[np.float64] = source_scores) -> ProcessorRecord:
        if script is not None:
            np.save(tmp_path / "given.npy", answers)
            emulator = tmp_path / "qemu-x86_64-static"
            emulator.write_text(f"#!/bin/sh\nfor OUT; do :; done\nANSWERS={tmp_path}/given.npy\n{script}\n")
            emulator.chmod(0o755)
        path = str(tmp_path) if script is None else f"{tmp_path}:/usr/bin:/bin"
        monkeypatch.setenv("PATH", path)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(processors, "CASES", (HASWELL,))
        monkeypatch.setattr(processors, "PATIENCE_S", 0.5)
        execution = Execution(CONTRACT, "made up", [source_scores])
        run = RunSettings(isa="all")
        (record,) = processor_records(tmp_path / "model.ort", execution, inputs, run, lambda stage: None)
        return record

    return run


emulates = pytest.mark.skipif(sys.platform != "linux", reason="qemu emulates user programs on Linux only")
WRITES = f'cp "$ANSWERS" "$OUT"; seq {IMAGES}'


@emulates
@pytest.mark.parametrize(
    ("changes", "verdict", "reason", "changed"),
    [
        ({}, "PASS", "", 0),
        ({0: 0.4}, "PASS", "", 1),
        (dict.fromkeys(range(6, 12), 0.4), "FAIL", "sensitivity: 0.9769, 9 missed", 6),
        ({17: np.nan}, "FAIL", "finite outputs: 1 images", None),
    ],
)
def test_a_row_is_judged_by_its_own_answers(
    changes: dict[int, float],
    verdict: str,
    reason: str,
    changed: int | None,
    compute: Compute,
    source_scores: NDArray[np.float64],
) -> None:
    """A processor's answers pass or fail by the policy, and are compared with the judged run's."""
    answers = source_scores.copy()
    answers[list(changes)] = list(changes.values())
    record = compute(WRITES, answers)
    assert (record.verdict, record.changed) == (verdict, changed)
    assert record.reason.startswith(reason)
    assert record.way == "qemu-x86_64-static -cpu Haswell"
    assert record.seconds is not None
    assert (record.sensitivity is None) == (record.prediction_digest is None) == (changed is None)


@emulates
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "qemu-x86_64-static is not installed: apt-get install qemu-user-static"),
        ("echo 1; echo unknown instruction >&2; kill -4 $$", "(signal 4): unknown instruction"),
        ("echo 1; sleep 60", "it hung: nothing new within 0.5 s after 1 of 624 images"),
        (f"seq {IMAGES}", "it ended without answers"),
        (f'echo broken > "$OUT"; seq {IMAGES}', "it ended without answers"),
    ],
)
def test_an_emulator_that_fails_is_no_evidence(script: str | None, reason: str, compute: Compute) -> None:
    """A missing emulator, or one that dies, hangs or writes nonsense, is a SKIP that says so."""
    record = compute(script)
    assert record.verdict == "SKIP"
    assert reason in record.reason
    assert record.sensitivity is None


@emulates
@pytest.mark.parametrize("answers", [np.zeros(3), np.zeros(IMAGES, np.float32), np.full(IMAGES, 1.5)])
def test_other_than_one_probability_an_image_is_no_answer(
    answers: NDArray[np.float64], compute: Compute
) -> None:
    """Too few answers, of another type, or outside 0..1 are not judged."""
    record = compute(WRITES, answers)
    assert (record.verdict, record.reason) == ("SKIP", "it ended with something else than 624 probabilities")


@emulates
def test_a_row_shows_how_far_it_is(
    compute: Compute, monkeypatch: pytest.MonkeyPatch, inputs: EvaluationInputs, tmp_path: Path
) -> None:
    """Progress names the row and counts its images."""
    compute(WRITES)
    monkeypatch.setattr(processors, "TELL_EVERY_S", 0)
    told: list[str] = []
    execution = Execution(CONTRACT, "made up", [inputs.source.probabilities])
    processor_records(tmp_path / "model.ort", execution, inputs, RunSettings(isa="all"), told.append)
    assert told[:3] == ["processors", "ort-haswell 1/624", "ort-haswell 2/624"]


def test_an_artifact_that_does_not_run_here_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: EvaluationInputs
) -> None:
    """Where no emulator stands between, a process that dies speaks of the artifact."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "model.ort").write_bytes(b"no model")
    execution = Execution(CONTRACT, "made up", [inputs.source.probabilities])
    run = RunSettings(isa="here")
    (record,) = processor_records(tmp_path / "model.ort", execution, inputs, run, lambda stage: None)
    assert (record.name, record.verdict) == ("ort-native", "FAIL")
    assert "is not a model ONNX Runtime can read" in record.reason


def test_a_processor_without_the_instructions_is_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without AVX-512 cannot show what one with it computes."""
    row = next(row for row in CASES if row.name == "openvino-avx512")
    monkeypatch.setattr(machine, "instruction_sets", lambda: ["avx2"])
    assert row.missing() == "this processor has no avx512f"
    monkeypatch.setattr(machine, "instruction_sets", lambda: ["avx2", "avx512f"])
    assert row.missing() == ""


@pytest.mark.parametrize(
    ("target", "precision", "choice", "names"),
    [
        ("openvino", "int8", "auto", ["openvino-native", "openvino-avx512", "openvino-avx2"]),
        ("openvino", "fp32", "auto", []),
        ("openvino", "int8", "none", []),
        ("ort", "fp32", "here", ["ort-native"]),
        ("litert", "int8", "all", ["litert-native", "litert-haswell", "litert-cortex-a72"]),
        ("coreml", "int8", "auto", ["coreml-judged", "coreml-half-sums"]),
    ],
)
def test_a_choice_stands_for_rows(target: str, precision: str, choice: str, names: list[str]) -> None:
    """Emulated rows are computed only when all are asked for, rows of float artifacts only when asked for."""
    assert [row.name for row in cases_of(target, precision, choice)] == names  # type: ignore[arg-type]


def test_no_matrix_without_finite_answers(tmp_path: Path, inputs: EvaluationInputs) -> None:
    """Where the judged run is not finite there is nothing to compare with."""
    execution = Execution(CONTRACT, "made up", [np.full(IMAGES, np.nan)])
    run, artifact = RunSettings(isa="here"), tmp_path / "model.ort"
    assert processors.evaluate_processors(artifact, execution, inputs, run, lambda stage: None) == ()


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([("PASS", False)], "PASS"),
        ([("PASS", False), ("SKIP", False)], "PASS"),
        ([("PASS", False), ("FAIL", False)], "FAIL"),
        ([("PASS", False), ("FAIL", True)], "PASS"),
    ],
)
def test_a_row_that_fails_fails_the_artifact(
    rows: list[tuple[str, bool]],
    verdict: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: EvaluationInputs,
) -> None:
    """Every row that was computed must hold; one skipped, or shown for comparison alone, decides nothing."""
    records = tuple(
        ProcessorRecord(name=f"row{i}", processor="", way="", verdict=v, comparison_only=only)  # type: ignore[arg-type]
        for i, (v, only) in enumerate(rows)
    )
    make_up(monkeypatch, {"int8": 1000})
    path, scores = tmp_path / "model.ort", inputs.source.probabilities
    path.write_bytes(b"artifact")
    execution = Execution(CONTRACT, "made up", [scores, scores], processors=records)
    report = evaluation.evaluate_answers(path, "5" * 64, execution, inputs)
    assert (report.verdict, report.processors) == (verdict, records)
    assert ("row1 fails" in report.reason) == (verdict == "FAIL")


def _little_report(
    target: str,
    isa: str,
    program: Path,
    answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    folder: Path,
) -> Report:
    """The small network in a format, judged over 40 synthetic images by a policy that is easy to hold."""
    row, data = FORMATS[target], open_data("synthetic")
    contract = replace(CONTRACT, format=target, precision="fp16" if target == "coreml" else "fp32")
    artifact = folder / f"model{row.suffix}"
    run(row, program, contract, None, artifact)
    test = data.read("test")
    few = Split("test", "synthetic", test.images[::16][:40], test.labels[::16][:40])
    scores = SourceScores("source", "4" * 64, answers(few.images), "PyTorch", 0.5)
    easy = PolicySettings(min_sensitivity=0, max_specificity_drop=0.5, max_auc_drop=0.5, min_agreement=0.9)
    asked = EvaluationInputs(few, data_record(data, few), scores, easy)
    return evaluate(artifact, asked, RunSettings(isa=isa))  # type: ignore[arg-type]


@pytest.mark.slow
def test_openvino_computes_without_newer_instructions(
    small_program: Path,
    small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    tmp_path: Path,
) -> None:
    """Every row that this processor can stand for is really computed, and decides as the judged run does."""
    pytest.importorskip("openvino")
    report = _little_report("openvino", "here", small_program, small_answers, tmp_path)
    able = {row.name for row in cases_of("openvino", "int8", "here") if not row.missing()}
    assert {row.name for row in report.processors if row.verdict == "PASS" and row.changed == 0} == able
    assert "openvino-native" in able
    assert report.verdict == "PASS", report.reason


@pytest.mark.slow
def test_core_ml_is_computed_with_coarser_sums(
    small_program: Path,
    small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    tmp_path: Path,
) -> None:
    """The judged run stands for itself; float16 sums are computed, differ, and differ little."""
    pytest.importorskip("coremltools")
    report = _little_report("coreml", "here", small_program, small_answers, tmp_path)
    judged, half = report.processors
    assert (judged.verdict, judged.max_difference, judged.seconds) == ("PASS", 0, None)
    assert half.verdict == "PASS", half.reason
    assert half.max_difference is not None
    assert 0 < half.max_difference < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("target", ["ort", "litert"])
def test_emulated_processors_compute_it(
    target: str,
    small_program: Path,
    small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    tmp_path: Path,
) -> None:
    """An old laptop and a Raspberry Pi 4, emulated, decide as this machine does."""
    pytest.importorskip({"ort": "onnxruntime", "litert": "litert_torch"}[target])
    emulated = [row for row in cases_of(target, "int8", "all") if row.emulator]
    if missing := [why for row in emulated if (why := row.missing())]:
        pytest.skip("; ".join(missing))
    report = _little_report(target, "all", small_program, small_answers, tmp_path)
    assert [(row.verdict, row.changed) for row in report.processors] == [("PASS", 0)] * 3, report.processors
