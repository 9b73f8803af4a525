"""Answers computed elsewhere: the same gate, and nothing taken on trust that can be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import make_up

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import path_digest
from udacimed_edge.runtime import coreml
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.validation.judging import evaluate as evaluation
from udacimed_edge.validation.judging import external
from udacimed_edge.validation.judging.evaluate import EvaluationInputs, evaluate
from udacimed_edge.validation.judging.external import evaluate_predictions, read_predictions
from udacimed_edge.validation.report import Report

CONTRACT = Contract("ort", "int8", 0.5, "a test", "source", "4" * 64, None, "0")


@pytest.fixture
def artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Split, source_scores: NDArray[np.float64]
) -> Path:
    """An artifact that answers as its source does, here and elsewhere."""
    path = tmp_path / "model.ort"
    path.write_bytes(b"artifact")
    answers = {image.tobytes(): score for image, score in zip(split.images, source_scores, strict=True)}
    predictor = Predictor(
        CONTRACT,
        lambda images: np.array([answers[image.tobytes()] for image in images]),
        None,
        "onnxruntime 1.0",
    )
    make_up(monkeypatch, {"int8": 1000}, predictor)
    monkeypatch.setattr(external, "open_predictor", lambda path: predictor)
    return path


@dataclass(frozen=True)
class Written:
    """What a device writes."""

    digest: str
    device: str
    index: NDArray[np.int64]
    run: NDArray[np.int64] | None
    logits: NDArray[np.float64]

    @property
    def probability(self) -> NDArray[np.float64]:
        """Of pneumonia."""
        return np.asarray(1 / (1 + np.exp(self.logits[:, 0] - self.logits[:, 1])))


@pytest.fixture
def written(artifact: Path, source_scores: NDArray[np.float64]) -> Written:
    """Two runs over the split, in no order."""
    index = np.tile(np.arange(len(source_scores)), 2)
    run = np.repeat([1, 2], len(source_scores))
    order = np.random.default_rng(3).permutation(len(index))
    scores = source_scores[index[order]]
    logits = np.stack([np.zeros(len(order)), np.log(scores / (1 - scores))], axis=1)
    return Written(path_digest(artifact), "Pixel 8, Android 15, LiteRT 1.0", index[order], run[order], logits)


def as_csv(w: Written, logits: bool = True) -> str:
    """The CSV form."""
    names = ["index", *(["run"] if w.run is not None else [])]
    columns: list[list[Any]] = [w.index.tolist(), *([w.run.tolist()] if w.run is not None else [])]
    names += ["logit_normal", "logit_pneumonia"] if logits else ["probability"]
    columns += [c.tolist() for c in w.logits.T] if logits else [w.probability.tolist()]
    rows = [",".join(map(repr, row)) for row in zip(*columns, strict=True)]
    return "\n".join([f"# artifact: {w.digest}", f"# device: {w.device}", ",".join(names), *rows]) + "\n"


def arrays(w: Written, logits: bool = True) -> dict[str, Any]:
    """The npz form."""
    run = {} if w.run is None else {"run": w.run}
    answers = {"logits": w.logits} if logits else {"probability": w.probability}
    return {"artifact": w.digest, "device": w.device, "index": w.index, **run, **answers}


def save(path: Path, w: Written, logits: bool) -> Path:
    """Write either form."""
    if path.suffix == ".csv":
        path.write_text(as_csv(w, logits), encoding="utf-8")
    else:
        np.savez(path, **arrays(w, logits))
    return path


Judge = Callable[[Path], Report]


@pytest.fixture
def judge(artifact: Path, inputs: EvaluationInputs) -> Judge:
    """Judge a predictions file."""
    images = len(inputs.split.labels)
    return lambda file: evaluate_predictions(artifact, read_predictions(file, images), inputs)


@pytest.mark.parametrize("logits", [True, False], ids=["logits", "probability"])
@pytest.mark.parametrize("name", ["predictions.csv", "predictions.npz"])
def test_judged_as_if_executed_here(
    name: str,
    logits: bool,
    written: Written,
    judge: Judge,
    artifact: Path,
    inputs: EvaluationInputs,
    tmp_path: Path,
) -> None:
    """The same answers get the same verdict, clauses and figures as an execution here, in every form."""
    elsewhere = judge(save(tmp_path / name, written, logits))

    here = evaluate(artifact, inputs)
    *clauses, agreed = elsewhere.policy.clauses
    assert (elsewhere.verdict, tuple(clauses)) == (here.verdict, here.policy.clauses)
    assert (agreed.name, agreed.passed) == ("agreement with the run here", True)
    assert elsewhere.predictions.digest == here.predictions.digest
    assert elsewhere.metrics == here.metrics


def test_the_report_says_where(written: Written, judge: Judge, tmp_path: Path) -> None:
    """The executor names the device and the file that claims it."""
    report = judge(save(tmp_path / "farm.csv", written, True))

    assert report.executor == "executed on Pixel 8, Android 15, LiteRT 1.0, as stated in farm.csv"


def test_a_failing_device_fails(written: Written, judge: Judge, tmp_path: Path) -> None:
    """A device on which the artifact misses too many gets FAIL."""
    turned = written.logits.copy()
    turned[written.index < 10] *= -1

    report = judge(save(tmp_path / "p.csv", replace(written, logits=turned), True))

    assert report.verdict == "FAIL"
    assert "sensitivity" in report.reason


def test_runs_that_differ_fail(written: Written, judge: Judge, tmp_path: Path) -> None:
    """A device that answers otherwise the second time breaks the clause on invariance."""
    assert written.run is not None
    moved = written.logits + 0.5 * (written.run == 2)[:, None] * [0, 1]

    report = judge(save(tmp_path / "p.npz", replace(written, logits=moved), True))

    assert "invariance: they move by" in report.reason


def test_a_single_run_cannot_show_invariance(written: Written, judge: Judge, tmp_path: Path) -> None:
    """One run is judged, and fails by the one clause that it cannot show."""
    assert written.run is not None
    first = written.run == 1
    once = replace(written, index=written.index[first], run=None, logits=written.logits[first])

    report = judge(save(tmp_path / "p.csv", once, True))

    assert report.metrics is not None
    assert [c.name for c in report.policy.clauses if not c.passed] == ["invariance"]
    assert report.reason.startswith("invariance: not measured")


def test_windows_text(written: Written, judge: Judge, tmp_path: Path) -> None:
    """A byte order mark, Windows line ends and an upper-case digest do no harm."""
    path = tmp_path / "p.csv"
    text = as_csv(replace(written, digest=written.digest.upper())).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert judge(path).verdict == "PASS"


def _replaced(old: str, new: str) -> Callable[[Written], str]:
    return lambda w: as_csv(w).replace(old, new, 1)


def _rows(change: Callable[[list[str]], list[str]]) -> Callable[[Written], str]:
    def text(w: Written) -> str:
        lines = as_csv(
            replace(w, run=None, index=w.index[w.run == 1], logits=w.logits[w.run == 1])
        ).splitlines()
        return "\n".join([*lines[:3], *change(sorted(lines[3:], key=lambda row: int(row.split(",")[0])))])

    return text


BAD_CSV: list[tuple[Callable[[Written], str], str]] = [
    (_rows(lambda rows: rows[1:]), "index 0 is missing; expected each of 0 to 623 once, found 623 rows"),
    (_rows(lambda rows: rows[5:]), r"5 indices \(0, 1, 2, ...\) are missing"),
    (_rows(lambda rows: [*rows, rows[7]]), "index 7 is repeated"),
    (_rows(lambda rows: [*rows, "624,0.1,0.2"]), "index 624 is not in the split"),
    (_rows(lambda rows: ["-1,0.1,0.2", *rows[1:]]), "index -1 is not in the split"),
    (_rows(lambda rows: ["0,nan,0.2", *rows[1:]]), "1 answers are not finite, the first for image 0"),
    (_rows(lambda rows: ["0,inf,0.2", *rows[1:]]), "1 answers are not finite, the first for image 0"),
    (_rows(lambda rows: ["0,0.2", *rows[1:]]), "line 4: '0,0.2,' is not a row of numbers"),
    (_rows(lambda rows: [*rows[:-1], "623,yes,no"]), "line 627: '623,yes,no' is not a row of numbers"),
    (_rows(lambda rows: ["0.5,0.1,0.2", *rows[1:]]), "'0.5,0.1,0.2' is not a row of numbers"),
    (_rows(lambda rows: []), "holds no prediction"),
    (_replaced("logit_normal", "logits"), "has the columns index, run, logits, logit_pneumonia; needed"),
    (_replaced("# device: Pixel 8, Android 15, LiteRT 1.0\n", ""), "does not state the device"),
    (_replaced("# artifact", "# something"), "does not state the artifact"),
    (lambda w: as_csv(replace(w, digest="7" * 64)), "predictions of the artifact 777777777777"),
    (
        lambda w: as_csv(replace(w, logits=w.logits * 0 + 1.5), False).replace("0.5\n", "1.5\n", 1),
        "is 1.5, not 0..1",
    ),
    (lambda w: "", "has the columns none"),
]


@pytest.mark.parametrize(("text", "message"), BAD_CSV, ids=[message[:30] for _, message in BAD_CSV])
def test_a_bad_csv_is_refused(
    text: Callable[[Written], str], message: str, written: Written, judge: Judge, tmp_path: Path
) -> None:
    """Predictions that are not each image's, once, finite and this artifact's are refused with why."""
    path = tmp_path / "p.csv"
    path.write_text(text(written), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        judge(path)


BAD_NPZ: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = [
    (lambda a: {**a, "index": a["index"][:-1]}, "do not fit together"),
    (lambda a: {**a, "logits": a["logits"][:, :1]}, "do not fit together"),
    (lambda a: {**a, "index": a["index"].astype(float)}, "do not fit together"),
    (lambda a: {**a, "logits": a["logits"].astype(str)}, "do not fit together"),
    (
        lambda a: {**a, "logits": np.where(a["index"][:, None] == 3, np.inf, a["logits"])},
        "2 answers are not finite, the first for image 3",
    ),
    (lambda a: {k: v for k, v in a.items() if k != "index"}, "has no 'index'"),
    (lambda a: {k: v for k, v in a.items() if k != "logits"}, "neither 'logits' nor 'probability'"),
    (lambda a: {k: v for k, v in a.items() if k != "device"}, "does not state the device"),
    (lambda a: {**a, "device": np.array(["x"], dtype=object)}, "not a readable .npz file"),
]


@pytest.mark.parametrize(("harm", "message"), BAD_NPZ)
def test_a_bad_npz_is_refused(
    harm: Callable[[dict[str, Any]], dict[str, Any]],
    message: str,
    written: Written,
    judge: Judge,
    tmp_path: Path,
) -> None:
    """Arrays that do not fit, or are missing, are an error that says so."""
    np.savez(tmp_path / "p.npz", **harm(arrays(written)))
    with pytest.raises(InputError, match=message):
        judge(tmp_path / "p.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.npz", b"nothing", "is not a readable .npz file"),
        ("p.csv", b"\xff\xfe", "is not UTF-8 text"),
        ("p.json", b"{}", "must end in .csv or .npz"),
    ],
)
def test_another_file_is_refused(
    name: str, content: bytes, message: str, judge: Judge, tmp_path: Path
) -> None:
    """A file that is no predictions file is an error that says what is expected."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        judge(tmp_path / name)


def test_another_models_artifact_is_refused(
    written: Written, judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An artifact of another source model cannot be compared with this one's answers."""
    other = Predictor(replace(CONTRACT, source_digest="8" * 64), lambda images: images, None, "x")
    monkeypatch.setattr(evaluation, "open_predictor", lambda path, threads: other)
    with pytest.raises(InputError, match="was made from the model source"):
        judge(save(tmp_path / "p.csv", written, True))


def test_core_ml_needs_no_execution_here(
    written: Written, inputs: EvaluationInputs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Core ML package that cannot be executed here is judged by what a Mac answered."""
    package = tmp_path / "model.mlpackage"
    package.mkdir()
    (package / "model").write_bytes(b"x")
    monkeypatch.setattr(coreml, "read_contract", lambda path: replace(CONTRACT, format="coreml"))
    path = save(tmp_path / "p.csv", replace(written, digest=path_digest(package)), True)

    report = evaluate_predictions(package, read_predictions(path, len(inputs.split.labels)), inputs)

    assert (report.artifact.format, report.verdict) == ("coreml", "PASS")
