"""Judges answers that were computed elsewhere: on a phone, a Mac, a device farm.

`examples/PREDICTIONS.md` describes the file: the digest of the artifact, the name of the device and, for
each image of the test split, two logits or the probability of pneumonia; in two or more runs, if the
policy's clause on invariance is to hold.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError, UnsupportedError
from udacimed_edge.core.files import path_digest
from udacimed_edge.core.json_reader import integer_of, number_of, read_plain_text
from udacimed_edge.core.npz import read_npz
from udacimed_edge.runtime.contract import probability_of_pneumonia
from udacimed_edge.validation.judging.evaluate import (
    altered_agreement,
    contract_of,
    evaluate_answers,
    in_batches,
    open_predictor,
    require_promise,
)
from udacimed_edge.validation.judging.inputs import EvaluationInputs, Execution, Making
from udacimed_edge.validation.metrics.metrics import agreement
from udacimed_edge.validation.report import Report

__all__ = ["Predictions", "evaluate_predictions", "read_predictions"]

_UNKNOWN = Making()

_FORMAT = "examples/PREDICTIONS.md describes the format"

MAX_RUNS = 100
"""Most runs of one file; two are asked for."""

_TEXT_BYTES = 1 << 20
"""Most that what a file says in words may take."""

_LOGITS = ("logit_normal", "logit_pneumonia")
_PROBABILITY = "probability"


@dataclass(frozen=True)
class Predictions:
    """Answers computed elsewhere.

    Attributes:
        file: The file's name, for the report.
        artifact: SHA-256 of the artifact that answered, as the file states it.
        device: Where it was executed, as the file states it.
        runs: One or more; each float64 of shape (n,), in the split's order, 0..1.
    """

    file: str
    artifact: str
    device: str
    runs: list[NDArray[np.float64]]


def read_predictions(path: Path, images: int) -> Predictions:
    """Read a `.csv` or `.npz` file of predictions for a whole split.

    Args:
        path: The file.
        images: How many images the split has.

    Raises:
        InputError: Missing or damaged; without artifact or device; an index or a run is missing, repeated
            or extra; a number is not finite, or a probability outside 0..1.
    """
    readers: dict[str, Callable[[Path, int], _Columns]] = {".csv": _read_csv, ".npz": _read_npz}
    if path.suffix not in readers:
        raise InputError(f"{path} is no predictions file: it must end in .csv or .npz", _FORMAT)
    stated, index, runs, values = readers[path.suffix](path, MAX_RUNS * images)
    for key in ("artifact", "device"):
        if not stated.get(key, "").strip():
            raise InputError(f"{path} does not state the {key}", _FORMAT)
    probabilities = _probabilities(path, index, values)
    return Predictions(
        file=path.name,
        artifact=stated["artifact"].strip().lower(),
        device=" ".join(stated["device"].split()),
        runs=[
            _ordered(path, run, index[runs == run], probabilities[runs == run], images)
            for run in np.unique(runs)
        ],
    )


def evaluate_predictions(
    artifact: Path, predictions: Predictions, inputs: EvaluationInputs, making: Making = _UNKNOWN
) -> Report:
    """Judge what an artifact answered elsewhere, by the gate that judges what it answers here.

    The answers are somebody's word. Where the artifact can be executed here it is, and a device that decides
    otherwise more often than the policy allows fails; a smaller difference is a device's own, and reported.

    Args:
        artifact: Its bytes: contract, digest and weights come from them.
        predictions: What it answered.
        inputs: What it is judged on.
        making: How it came about.

    Raises:
        InputError: The predictions are another artifact's, or the artifact is damaged, no artifact of ours,
            or promises otherwise than its source model.
        ExtraMissingError: The libraries that read the format are not installed.
    """
    digest = path_digest(artifact)
    if predictions.artifact != digest:
        raise InputError(
            f"{predictions.file} holds predictions of the artifact {predictions.artifact[:12]}; "
            f"{artifact} is {digest[:12]}",
            "name the artifact that was executed, or execute this one",
        )
    contract = contract_of(artifact)
    require_promise(artifact, contract, inputs)
    here, altered = None, None
    with suppress(UnsupportedError):
        predictor = open_predictor(artifact)
        computed = in_batches(predictor, inputs.split.images)
        here = agreement(predictions.runs[0], computed, contract.threshold, contract.threshold)
        altered = altered_agreement(predictor, inputs)
    execution = Execution(
        contract,
        f"executed on {predictions.device}, as stated in {predictions.file}",
        predictions.runs,
        altered=altered,
        stated_by=f"{predictions.device}, in {predictions.file}",
        executed_here=here,
    )
    return evaluate_answers(artifact, digest, execution, inputs, making)


_Columns = tuple[Mapping[str, str], NDArray[Any], NDArray[Any], NDArray[Any]]
"""What the file states; then, a row each: index, run, and one or two numbers."""


def _read_csv(path: Path, most_rows: int) -> _Columns:
    """Lines `# key: value`, then a header, then a row per image and run."""
    lines = read_plain_text(path, "a predictions file").removeprefix("\ufeff").splitlines()
    stated: dict[str, str] = {}
    while lines and lines[0].startswith("#"):
        key, _, value = lines.pop(0)[1:].partition(":")
        if stated.setdefault(key.strip().lower(), value.strip()) != value.strip():
            raise InputError(f"{path} states the {key.strip()[:40]} twice", _FORMAT)
    if len(lines) - 1 > most_rows:
        raise InputError(f"{path} holds more than {MAX_RUNS} runs of the test split", _FORMAT)
    rows = csv.DictReader(lines, skipinitialspace=True)
    index, runs, values = [], [], []
    row: Mapping[str, Any] = {}
    number = header = 1 + len(stated)
    try:
        wanted = _wanted(path, rows.fieldnames or ())
        for number, row in enumerate(rows, header + 1):  # noqa: B007  # where it stopped is told below
            index.append(_index_of(row["index"]))
            runs.append(_index_of(row.get("run") or "1"))
            values.append([_answer_of(row[name]) for name in wanted])
    except (AttributeError, ValueError, csv.Error) as error:  # AttributeError: a row that ends too early
        raise InputError(f"{path}, line {number}: '{_line(row)}' is not a row of numbers", _FORMAT) from error
    return stated, np.array(index, np.int64), np.array(runs, np.int64), np.array(values, np.float64)


def _index_of(text: str) -> int:
    """A whole number that numpy can hold.

    Raises:
        ValueError: It is none.
    """
    if abs(number := integer_of(text)) >= 2**63:
        raise ValueError(f"{number} is no index")
    return number


def _answer_of(text: str) -> float:
    """A number, or NaN where it says itself that it is none: what answers so is told from a damaged file.

    Raises:
        ValueError: It is no number.
    """
    word = text.strip().lower().lstrip("+-")
    return float("nan") if word in ("nan", "inf", "infinity") else number_of(text)


def _line(row: Mapping[str, Any]) -> str:
    return ",".join("" if value is None else str(value) for value in row.values())[:100]


def _wanted(path: Path, columns: Any) -> tuple[str, ...]:
    """The columns that hold the answers."""
    if len(columns) > len(set(columns)):
        raise InputError(f"{path} has two columns of one name", _FORMAT)
    for wanted in (_LOGITS, (_PROBABILITY,)):
        if {"index", *wanted} <= set(columns):
            return wanted
    has = ", ".join(columns)[:100] or "none"
    raise InputError(
        f"{path} has the columns {has}; needed: index and {' and '.join(_LOGITS)}, "
        f"or index and {_PROBABILITY}",
        _FORMAT,
    )


def _read_npz(path: Path, most_rows: int) -> _Columns:
    """Arrays `index`, perhaps `run`, `logits` or `probability` of n rows; texts `artifact` and `device`."""
    found = read_npz(path, _TEXT_BYTES + 32 * most_rows, _FORMAT)
    values = found.get("logits", found.get(_PROBABILITY))
    index = found.get("index")
    if index is None or values is None:
        raise InputError(f"{path} has no 'index', or neither 'logits' nor '{_PROBABILITY}'", _FORMAT)
    runs = found.get("run", np.ones(index.shape, np.int64))
    shape = (*index.shape, 2) if "logits" in found else index.shape
    integers = index.dtype.kind in "iu" and runs.dtype.kind in "iu" and values.dtype.kind in "iuf"
    if index.ndim != 1 or runs.shape != index.shape or values.shape != shape or not integers:
        raise InputError(
            f"{path}: index {index.dtype}{index.shape}, run {runs.dtype}{runs.shape} and answers "
            f"{values.dtype}{values.shape} do not fit together",
            _FORMAT,
        )
    stated: dict[str, str] = {key: str(found[key]) for key in ("artifact", "device") if key in found}
    return stated, index, runs, values.astype(np.float64).reshape(len(index), -1)


def _probabilities(path: Path, index: NDArray[Any], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of pneumonia for each row: float64 of shape (rows,), 0..1."""
    if not len(index):
        raise InputError(f"{path} holds no prediction", _FORMAT)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{path}: {(~finite).sum()} answers are not finite, the first for image {index[~finite][0]}",
            "an artifact that answers so is not fit for use; if the file was damaged, write it again",
        )
    if values.shape[1] == 2:
        return probability_of_pneumonia(values)
    answers = values[:, 0]
    outside = (answers < 0) | (answers > 1)
    if outside.any():
        raise InputError(
            f"{path}: the probability for image {index[outside][0]} is {answers[outside][0]:g}, not 0..1",
            "logits belong into the columns " + " and ".join(_LOGITS),
        )
    return answers


def _ordered(
    path: Path, run: int, index: NDArray[Any], answers: NDArray[np.float64], images: int
) -> NDArray[np.float64]:
    """One run's answers in the split's order, each image once."""
    known, counts = np.unique(index, return_counts=True)
    problems = {
        "repeated": known[counts > 1],
        "not in the split": known[(known < 0) | (known >= images)],
        "missing": np.setdiff1d(np.arange(images), known),
    }
    for problem, which in problems.items():
        if len(which):
            raise InputError(
                f"{path}, run {run}: {_some(which)} {problem}; expected each of 0 to {images - 1} once, "
                f"found {len(index)} rows",
                "predict the whole test split, in any order",
            )
    ordered: NDArray[np.float64] = answers[np.argsort(index)]
    return ordered


def _some(which: NDArray[Any]) -> str:
    shown = ", ".join(str(i) for i in which[:3]) + (", ..." if len(which) > 3 else "")
    return f"index {shown} is" if len(which) == 1 else f"{len(which)} indices ({shown}) are"
