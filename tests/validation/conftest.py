"""Reports on made-up artifacts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import make_up

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import UnsupportedError
from udacimed_edge.core.files import path_digest
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.validation.judging import evaluate as evaluation
from udacimed_edge.validation.judging.evaluate import EvaluationInputs, Execution, SourceScores
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import DataRecord, Report, with_digest

ILL, WELL = 390, 234


@pytest.fixture(scope="session")
def split() -> Split:
    """A split of 390 and 234 images whose pixels say nothing."""
    pixels = np.random.default_rng(0).integers(0, 256, (ILL + WELL, 64, 64), np.uint8)
    return Split("test", "official", pixels, np.repeat(np.array([1, 0], np.uint8), [ILL, WELL]))


@pytest.fixture(scope="session")
def source_scores() -> NDArray[np.float64]:
    """What the source model answers at threshold 0.5: 3 missed, 41 false alarms."""
    rng = np.random.default_rng(1)
    ill, well = rng.uniform(0.55, 1, ILL), rng.uniform(0, 0.45, WELL)
    ill[[5, 77, 300]] = 0.2, 0.3, 0.4
    well[:41] = rng.uniform(0.55, 0.9, 41)
    return np.concatenate([ill, well])


@pytest.fixture
def inputs(split: Split, source_scores: NDArray[np.float64]) -> EvaluationInputs:
    """What the made-up artifacts are judged on."""
    data = DataRecord(
        origin="official", name="pneumoniamnist_64.npz", file_digest="5" * 64,
        split="test", digest=split.digest, pneumonia=ILL, normal=WELL,
    )  # fmt: skip
    return EvaluationInputs(
        split, data, SourceScores("source", "4" * 64, source_scores, "a test", 0.5), PolicySettings()
    )


Make = Callable[..., Report]


@pytest.fixture
def make(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: EvaluationInputs,
    source_scores: NDArray[np.float64],
) -> Make:
    """Makes a report on an artifact that answers as the source does, apart from `answers`, by index.

    `data`, `settings` and `contract` change what it is judged on, `update` the report itself.
    """

    def build(
        target: str = "ort",
        precision: str = "int8",
        answers: dict[int, float] | None = None,
        data: dict[str, Any] | None = None,
        settings: PolicySettings | None = None,
        update: dict[str, Any] | None = None,
        **contract: Any,
    ) -> Report:
        make_up(monkeypatch, {precision: 1000})
        path = tmp_path / "model.ort"
        path.write_bytes(f"{target} {precision} {answers}".encode())
        scores = source_scores.copy()
        for index, probability in (answers or {}).items():
            scores[index] = probability
        given = replace(inputs, data=inputs.data.model_copy(update=data or {}),
                        settings=settings or inputs.settings)  # fmt: skip
        promise = replace(
            Contract(target, precision, 0.5, "a test", "source", "4" * 64, None, "0"), **contract
        )
        execution = Execution(promise, f"{target} 1.0", [scores, scores])
        report = evaluation.evaluate_answers(path, path_digest(path), execution, given)
        return with_digest(report.model_copy(update=update or {}))

    return build


@pytest.fixture
def skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: EvaluationInputs) -> Report:
    """A report on a Core ML package that could not be executed."""

    def refuse(path: Path, threads: int) -> None:
        raise UnsupportedError("Core ML operation 'erf' is not executed here")

    from udacimed_edge.runtime import coreml

    contract = Contract("coreml", "fp16", 0.5, "a test", "source", "4" * 64, None, "0")
    monkeypatch.setattr(evaluation, "open_predictor", refuse)
    monkeypatch.setattr(coreml, "read_contract", lambda path: contract)
    path = tmp_path / "model.mlpackage"
    path.mkdir()
    (path / "model").write_bytes(b"skipped")
    return evaluation.evaluate(path, inputs)
