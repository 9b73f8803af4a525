"""The judgement: from predictions to a verdict that cannot pass by accident."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from support import make_up

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import ExtraMissingError, GateRefusedError, InputError, UnsupportedError
from udacimed_edge.runtime import coreml
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.validation.judging import evaluate as evaluation
from udacimed_edge.validation.judging.evaluate import (
    EvaluationInputs,
    SourceScores,
    check_source,
    evaluate,
    evaluate_answers,
    open_predictor,
)
from udacimed_edge.validation.judging.inputs import AlteredImages, Execution, Making
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import (
    CalibrationCost,
    CalibrationRecord,
    DataRecord,
    ProcessorRecord,
    Report,
)

POSITIVES, NEGATIVES = 390, 234
LABELS = np.repeat(np.array([1, 0], np.uint8), [POSITIVES, NEGATIVES])
SCORES = np.concatenate([np.linspace(0.6, 0.99, POSITIVES), np.linspace(0.01, 0.55, NEGATIVES)])
CONTRACT = Contract("ort", "int8", 0.5, "a test", "source", "4" * 64, "6" * 64, "0")
INDEX = np.arange(POSITIVES + NEGATIVES, dtype=np.uint16)

Answer = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def images() -> NDArray[np.uint8]:
    """Images that carry their own index in their first two pixels."""
    pixels = np.zeros((len(INDEX), 64, 64), np.uint8)
    pixels[:, 0, 0], pixels[:, 0, 1] = INDEX % 256, INDEX // 256
    return pixels


def made_up_inputs(origin: Literal["custom", "synthetic"] = "custom") -> EvaluationInputs:
    """Those images, and a source model that is right about each of them."""
    split = Split("test", origin, images(), LABELS)
    data = DataRecord(
        origin=origin, name="x", file_digest="5" * 64, split="test", digest=split.digest,
        pneumonia=POSITIVES, normal=NEGATIVES,
    )  # fmt: skip
    scores = SourceScores("source", "4" * 64, SCORES, "a test", 0.5)
    return EvaluationInputs(split, data, scores, PolicySettings())


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Judge a made-up artifact whose answers are the source's, changed by a function of them.

    `alone` changes what it answers to one image at a time, `inputs` what it is judged on,
    the rest its contract.
    """

    def run(
        answer: Answer,
        dtypes: dict[str, int] | None = None,
        alone: Answer | None = None,
        inputs: dict[str, Any] | None = None,
        making: Making | None = None,
        **contract: Any,
    ) -> Report:
        def predict(batch: NDArray[np.uint8]) -> NDArray[np.float64]:
            rows = batch[:, 0, 0].astype(int) + 256 * batch[:, 0, 1].astype(int)
            return (alone if alone and len(batch) == 1 else answer)(SCORES.copy())[rows]

        path = tmp_path / "model.ort"
        path.write_bytes(b"artifact")
        predictor = Predictor(replace(CONTRACT, **contract), predict, None, "made up")
        make_up(monkeypatch, dtypes or {"int8": 1000}, predictor)
        return evaluate(path, replace(made_up_inputs(), **(inputs or {})), making=making or Making())

    return run


def _miss(count: int) -> Answer:
    def answer(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        scores[:count] = 0.4
        return scores

    return answer


def _alarm(count: int) -> Answer:
    def answer(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        scores[POSITIVES : POSITIVES + count] = 0.56
        return scores

    return answer


def _nan(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    scores[17] = np.nan
    return scores


def test_the_source_s_own_answers_pass(judge: Callable[..., Report]) -> None:
    """An artifact that answers exactly as its source passes every clause."""
    report = judge(lambda scores: scores)
    assert (report.verdict, report.reason) == ("PASS", "")
    assert all(clause.passed for clause in report.policy.clauses)
    assert report.comparison is not None
    assert report.comparison.changed == ()


@pytest.mark.parametrize(
    ("answer", "dtypes", "reason"),
    [
        (_miss(8), None, "sensitivity: 0.9795, 8 missed"),
        (_alarm(10), None, "specificity drop"),
        (lambda scores: np.ones_like(scores), None, "specificity drop"),
        (lambda scores: 1 - scores, None, "AUC drop"),
        (_nan, None, "finite outputs: 1 images"),
        (lambda scores: scores, {"int8": 90, "fp32": 10}, "precision"),
    ],
)
def test_a_broken_clause_is_a_fail_with_its_reason(
    answer: Answer, dtypes: dict[str, int] | None, reason: str, judge: Callable[..., Report]
) -> None:
    """An artifact that breaks a clause fails, and the reason names it with what was measured."""
    report = judge(answer, dtypes)
    assert report.verdict == "FAIL"
    assert reason in report.reason


def test_the_report_says_how_long_an_image_took(judge: Callable[..., Report]) -> None:
    """Latency is measured over the whole split, one image at a time."""
    latency = judge(lambda scores: scores).latency
    assert latency is not None
    assert 0 < latency.median_ms <= latency.p95_ms


def test_seven_missed_is_the_most(judge: Callable[..., Report]) -> None:
    """Of 390 with pneumonia, 7 missed still pass, although the interval's lower bound does not reach 0.98."""
    report = judge(_miss(7))
    assert report.verdict == "PASS"
    assert report.sensitivity_bound_clears is False
    assert report.comparison is not None
    assert [c.index for c in report.comparison.changed] == list(range(7))


def test_the_bound_is_that_of_the_exact_interval(judge: Callable[..., Report]) -> None:
    """Whether the interval clears the policy's sensitivity is asked of Clopper-Pearson's, not of Wilson's."""
    found = judge(_miss(2)).metrics
    assert found is not None
    exact, wilson = found.sensitivity.clopper_pearson, found.sensitivity.wilson
    assert exact is not None
    assert wilson is not None
    assert wilson.low < exact.low
    for least, clears in ((exact.low, True), (np.nextafter(exact.low, 1), False)):
        report = judge(_miss(2), inputs={"settings": PolicySettings(min_sensitivity=least)})
        assert report.sensitivity_bound_clears is clears


def test_answers_that_depend_on_the_batch_fail(judge: Callable[..., Report]) -> None:
    """An artifact that answers to an image alone otherwise than to the image in a batch fails."""
    report = judge(lambda scores: scores, alone=lambda scores: scores + 0.002)
    assert report.verdict == "FAIL"
    assert "invariance: they move by 0.002" in report.reason


def test_one_decision_that_flips_alone_fails(judge: Callable[..., Report]) -> None:
    """One patient called ill in a batch and healthy alone is enough to fail, however little it takes."""
    edge = np.where(INDEX == 5, 0.5, SCORES)
    report = judge(lambda scores: edge, alone=lambda scores: np.nextafter(edge, 0))
    assert report.invariance is not None
    assert (report.verdict, report.invariance.flips) == ("FAIL", 1)


def test_answers_that_change_from_run_to_run_fail(judge: Callable[..., Report]) -> None:
    """An artifact whose answer changes from run to run fails."""
    noise = np.random.default_rng(0)
    report = judge(lambda scores: np.clip(scores + noise.normal(0, 0.01, scores.shape), 0, 1))
    assert report.verdict == "FAIL"
    assert "invariance" in report.reason


def test_non_finite_answers_are_in_the_report(judge: Callable[..., Report]) -> None:
    """A NaN is stored as nothing, without figures that would hide it."""
    report = judge(_nan)
    assert report.predictions.artifact[17] is None
    assert report.metrics is None
    assert report.predictions.digest is None


@pytest.mark.parametrize(
    ("batch", "calls"),
    [(None, [64, 64, 2] * 2 + [1] * 130), (50, [50, 50, 30] * 2 + [1] * 130), (1, [1] * 260)],
)
def test_every_image_is_answered_in_batches_twice_and_alone(batch: int | None, calls: list[int]) -> None:
    """A split runs twice in whole batches and once image by image; a format without batches runs twice."""
    asked = []

    def predict(part: NDArray[np.uint8]) -> NDArray[np.float64]:
        asked.append(len(part))
        return part[:, 0, 0] / 255

    predictor = Predictor(CONTRACT, predict, batch, "made up")
    runs, latency = evaluation._runs(predictor, images()[:130], threads=3)
    assert asked == calls
    assert all(np.array_equal(run, INDEX[:130] / 255) for run in runs)
    assert len(runs) == sum(calls) // 130
    assert latency.threads == 3


def test_the_first_run_is_the_one_that_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and the answers kept come from the first run; the others show whether it can be relied on."""
    make_up(monkeypatch, {"int8": 1000})
    (tmp_path / "model.ort").write_bytes(b"artifact")
    runs = [SCORES, SCORES + 1e-5, SCORES - 1e-5]
    shown = ProcessorRecord(name="shown", processor="x", way="x", verdict="FAIL", comparison_only=True)
    fails = ProcessorRecord(name="fails", processor="x", way="x", verdict="FAIL")
    passes = ProcessorRecord(name="passes", processor="x", way="x", verdict="PASS")
    for processors, verdict in (((passes, shown), "PASS"), ((passes, fails), "FAIL")):
        execution = Execution(CONTRACT, "made up", runs, processors=processors)
        report = evaluate_answers(tmp_path / "model.ort", "a" * 64, execution, made_up_inputs())
        assert report.verdict == verdict
        assert report.predictions.artifact == tuple(SCORES)
        assert report.basis is not None
        assert report.basis.answers == "executed here"
    stated = Execution(CONTRACT, "made up", runs[:1], stated_by="a maker")
    report = evaluate_answers(tmp_path / "model.ort", "a" * 64, stated, made_up_inputs())
    assert report.basis is not None
    assert (report.basis.answers, report.basis.answers_by) == ("stated", "a maker")
    assert "invariance: not measured" in report.reason  # one run shows nothing of it


def test_each_stage_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits hears what is being done."""
    predictor = Predictor(CONTRACT, lambda part: np.full(len(part), 0.5), None, "made up")
    make_up(monkeypatch, {"int8": 1000}, predictor)
    (tmp_path / "model.ort").write_bytes(b"artifact")
    told: list[str] = []
    evaluate(tmp_path / "model.ort", made_up_inputs(), notify=told.append)
    assert told == ["audit", "predict", "judge"]


def test_time_is_told_in_milliseconds(judge: Callable[..., Report], monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by half a second between two looks gives 500 ms."""
    monkeypatch.setattr("time.perf_counter", itertools.count(0, 0.5).__next__)
    latency = judge(lambda scores: scores).latency
    assert latency is not None
    assert (latency.median_ms, latency.p95_ms) == (500, 500)


@pytest.mark.parametrize("origin", ["custom", "synthetic"])
def test_only_synthetic_images_make_a_rehearsal(
    judge: Callable[..., Report], origin: Literal["custom", "synthetic"]
) -> None:
    """A report on synthetic images is called a rehearsal, one on others is not."""
    report = judge(lambda scores: scores, inputs={"data": made_up_inputs(origin).data})
    assert report.rehearsal is (origin == "synthetic")
    assert report.title.startswith("REHEARSAL") is (origin == "synthetic")


def test_altered_images_are_asked_and_counted(judge: Callable[..., Report]) -> None:
    """An artifact that decides otherwise than its source on images made from the split's fails."""
    images_asked = images()[::4]
    for source, verdict in ((SCORES[::4], "PASS"), (1 - SCORES[::4], "FAIL")):
        report = judge(lambda scores: scores, inputs={"altered": AlteredImages(images_asked, source)})
        assert report.basis is not None
        assert report.basis.altered is not None
        assert (report.verdict, report.basis.altered.images) == (verdict, len(images_asked))


def test_what_an_earlier_report_says_of_calibration_stays(judge: Callable[..., Report]) -> None:
    """Judged again, an artifact's report keeps what synthetic calibration cost."""
    record = CalibrationRecord(images=1, digest="x", split="train", data_digest="y")
    cost = CalibrationCost(calibration=record, method="recipe 1", verdict="PASS")
    assert judge(lambda scores: scores, making=Making(calibration_cost=cost)).calibration_cost == cost


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.4}, "states the threshold 0.4"),
        ({"threshold": float(np.nextafter(0.5, 1))}, "states the threshold 0.5"),
        ({"labels": ("pneumonia", "normal")}, "states the labels"),
        ({"input": "gray"}, "states the input 'gray'"),
        ({"mean": (0.4,)}, "states the mean"),
        ({"std": (0.4,)}, "states the std"),
    ],
)
def test_another_promise_than_the_source_s_is_refused(
    judge: Callable[..., Report], change: dict[str, Any], message: str
) -> None:
    """An artifact that states otherwise than its source model is not judged, and the message says what."""
    inputs = {"promise": CONTRACT}
    with pytest.raises(InputError, match=message):
        judge(lambda scores: scores, inputs=inputs, **change)


def test_a_promise_that_may_differ(judge: Callable[..., Report]) -> None:
    """A threshold that a rule set may differ in its fifth digit; version 0.1.0 wrote no normalisation."""
    by_rule = {"promise": CONTRACT, "by_rule": True}
    assert judge(lambda scores: scores, inputs=by_rule, threshold=0.5 * (1 + 9e-5)).verdict == "PASS"
    with pytest.raises(InputError, match=r"the rule on the validation split gives 0\.5"):
        judge(lambda scores: scores, inputs=by_rule, threshold=0.5 * (1 + 2e-4))
    old = {"promise": replace(CONTRACT, mean=(0.5,), std=(0.5,))}
    assert judge(lambda scores: scores, inputs=old, toolkit_version="0.1.0").verdict == "PASS"


def test_another_source_is_refused(judge: Callable[..., Report]) -> None:
    """An artifact made from another model is not judged against this one."""
    with pytest.raises(InputError, match="was made from the model source"):
        judge(lambda scores: scores, source_digest="7" * 64)


def test_what_cannot_be_executed_is_a_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact that cannot run here is SKIP with its reason: no figure, no clause, never PASS."""

    def unsupported(path: Path, threads: int) -> Predictor:
        raise UnsupportedError("the operator 'einsum' is not in the allow-list")

    path = tmp_path / "model.mlpackage"
    path.write_bytes(b"artifact")
    monkeypatch.setattr(evaluation, "open_predictor", unsupported)
    monkeypatch.setattr(coreml, "read_contract", lambda path: CONTRACT)
    report = evaluate(path, made_up_inputs())
    assert report.verdict == "SKIP"
    assert "einsum" in report.reason
    assert report.metrics is None
    assert report.policy.clauses == ()
    assert report.executor == "not executed"


@pytest.mark.parametrize(
    ("scores", "threshold", "message"),
    [
        (SCORES, 0.7, "sensitivity"),
        (SCORES, 0.02, "specificity"),
        (np.where(INDEX == 3, np.nan, SCORES), 0.5, "finite outputs: 1 images"),
    ],
)
def test_a_poor_source_is_refused(scores: NDArray[np.float64], threshold: float, message: str) -> None:
    """A source model that misses too many, alarms too often or answers NaN is not worth converting."""
    split = Split("test", "custom", images(), LABELS)
    with pytest.raises(GateRefusedError, match=message):
        check_source(SourceScores("source", "4" * 64, scores, "a test", threshold), split, PolicySettings())


def test_a_missing_runtime_names_the_pip_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a format's runtime, judging it names the command that installs it."""
    monkeypatch.setattr("udacimed_edge.core.extras.is_installed", lambda module: False)
    with pytest.raises(ExtraMissingError) as caught:
        open_predictor(tmp_path / "model.tflite")
    assert ".[litert]" in caught.value.hint


@pytest.mark.parametrize("name", ["model.ort", "model.tflite", "model.xml", "model.mlpackage"])
def test_rubbish_is_refused(name: str, tmp_path: Path) -> None:
    """A file that only bears an artifact's name is an error with that name."""
    path = tmp_path / name
    if name.endswith("mlpackage"):
        path.mkdir()
    else:
        path.write_bytes(b"rubbish " * 100)
        path.with_suffix(".bin").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=name):
        open_predictor(path)
