"""Measuring: who is measured when, by whom, what is refused, and what is written. Nothing here is timed."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from udacimed_edge.benchmarking import worker as bench_worker
from udacimed_edge.benchmarking.roofline import make_kernels, share_of_peak
from udacimed_edge.benchmarking.rounds import (
    ArtifactMeasurement,
    BenchmarkPlan,
    artifact_subjects,
    measure,
    ratios,
    schedule,
    variants,
)
from udacimed_edge.benchmarking.worker import (
    BenchmarkSubject,
    Opened,
    Worker,
    WorkerOrder,
    joules_between,
    read_energy,
)
from udacimed_edge.cli.main import main
from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import Quantization, run
from udacimed_edge.converters.calibration import calibration_images
from udacimed_edge.core.artifact import REPORT_NAME
from udacimed_edge.core.data import open_data
from udacimed_edge.core.errors import ExtraMissingError, InputError, UnsupportedError
from udacimed_edge.core.files import sha256_file
from udacimed_edge.core.machine import cores
from udacimed_edge.runtime.contract import KEY, Contract
from udacimed_edge.source.load import REFERENCE

CONTRACT = Contract("openvino", "fp32", 0.5, "a test", "tiny", "0" * 64, None, "0")
IMAGES = np.zeros((2, 64, 64), np.uint8)
QUICK = BenchmarkPlan(rounds=1, batches=(1, 2), threads=1)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An OpenVINO artifact that answers with the mean pixel and its negative."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    pixels = ops.parameter([-1, 1, 64, 64], np.float32)
    mean = ops.reduce_mean(pixels, ops.constant(np.array([2, 3])))
    weights = ops.constant(np.array([[1.0, -1.0]], np.float32))
    model = openvino.Model([ops.matmul(mean, weights, False, False)], [pixels])
    model.set_rt_info(CONTRACT.to_json(), KEY)
    path = tmp_path / "tiny" / "model.xml"
    path.parent.mkdir()
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def measurement(name: str, contract: Contract, rates: list[float], **options: object) -> ArtifactMeasurement:
    """A measurement of which each round took as long as these images per second take."""
    subject = BenchmarkSubject(name, Path(name) / "model.ort", 1, **options)  # type: ignore[arg-type]
    return ArtifactMeasurement(
        subject,
        Opened("none", contract, None, 1.0, 20.0),
        size_bytes=2**20,
        cold_start_ms=[1.0],
        latency_ms=[(1000 / rate,) for rate in rates],
        images_per_second={1: rates, 8: [2 * rate for rate in rates]},
        peak_mib=30.0,
    )


def test_every_round_measures_every_subject_at_every_batch_once() -> None:
    """Each subject is measured once per round and batch, batch 1 before all others, and all take turns."""
    order = list(schedule(3, BenchmarkPlan(rounds=4, batches=(8, 64), threads=1)))
    assert Counter(order) == Counter((r, b, s) for r in range(4) for b in (1, 8, 64) for s in range(3))
    assert [batch for _, batch, _ in order[:9]] == [1, 1, 1, 8, 8, 8, 64, 64, 64]
    firsts = [subject for _, batch, subject in order if batch == 8][::3]
    assert firsts == [0, 1, 2, 0]


def test_names_tell_artifacts_apart(tmp_path: Path) -> None:
    """An artifact goes by its folder's name, by its whole path where two folders have one name."""
    a, b, c = (tmp_path / n / "model.ort" for n in ("x/ort-int8", "y/ort-int8", "x/ort-fp32"))
    names = [subject.name for subject in artifact_subjects([a, b, c, a], 1, compare_variants=False)]
    assert names == [str(a), str(b), "ort-fp32"]


def test_variants_stand_beside_the_plain() -> None:
    """OpenVINO's two hints are measured beside its own choice; LiteRT has no other."""
    assert variants(".xml").keys() == {"LATENCY", "THROUGHPUT"}
    found = artifact_subjects([Path("litert-int8/model.tflite")], 2, compare_variants=True)
    assert [(s.name, dict(s.settings)) for s in found] == [
        ("litert-int8", {}),
    ]


def test_who_is_compared_with_whom() -> None:
    """Int8 with fp32 of one format, artifacts with their own source, variants with the plain alone."""
    source = replace(CONTRACT, format="source")
    fp32, int8 = (replace(CONTRACT, format="ort", precision=p) for p in ("fp32", "int8"))
    other = replace(int8, source_digest="1" * 64)
    found = ratios(
        [
            measurement("source", source, [10, 10, 10], baseline=True),
            measurement("fp32", fp32, [20, 20, 20]),
            measurement("int8", int8, [80, 80, 80]),
            measurement("student", other, [90, 90, 90]),
        ]
    )
    assert [str(ratio).partition(" times")[0] for ratio in found] == [
        "fp32 against source, speed at batch 1: 2",
        "fp32 against source, images/s at batch 8: 2",
        "int8 against source, speed at batch 1: 8",
        "int8 against source, images/s at batch 8: 8",
        "int8 against fp32, speed at batch 1: 4",
        "int8 against fp32, images/s at batch 8: 4",
    ]
    plain, variant = (
        measurement("a", int8, [10, 10, 10]),
        measurement("a", int8, [5, 5, 5], settings={"x": 1}),
    )
    assert [ratio.value for ratio in ratios([plain, variant])] == [0.5, 0.5]


def test_a_process_opens_once_and_measures_on_demand(tiny: Path) -> None:
    """A worker names what computes, answers every order, and never reports less memory than before."""
    with Worker(BenchmarkSubject("tiny", tiny, 1), IMAGES) as worker:
        assert worker.opened.contract == CONTRACT
        assert worker.opened.executor.startswith("openvino ")
        first = worker.measure(WorkerOrder(batch=1, calls=3, seconds=0))
        second = worker.measure(WorkerOrder(batch=5, calls=2, seconds=0))
    assert (len(first.times_ms), len(second.times_ms)) == (3, 2)
    if sys.platform == "linux":
        assert 0 < (worker.opened.before_mib or 0) < (first.peak_mib or 0) <= (second.peak_mib or 0)


def test_a_process_that_dies_is_an_error(tiny: Path) -> None:
    """A worker that was killed, for memory perhaps, is told from one that answers."""
    with Worker(BenchmarkSubject("tiny", tiny, 1), IMAGES) as worker:
        worker._child._process.kill()
        with pytest.raises(
            UnsupportedError, match=r"tiny: the process that measured it died \(signal 9, killed\)"
        ):
            worker.measure(WorkerOrder(1, 1, 0))


def test_what_the_runtime_refuses_crosses_as_an_error(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged artifact, a setting the runtime does not know: one error each, no hanging process."""
    with (
        pytest.raises(UnsupportedError, match="tiny"),
        Worker(BenchmarkSubject("tiny", tiny, 1, {"x": 1}), IMAGES),
    ):
        pass
    tiny.write_text("<net/>")
    with (
        pytest.raises(InputError, match="not a model OpenVINO can read"),
        Worker(BenchmarkSubject("t", tiny, 1), IMAGES),
    ):
        pass
    monkeypatch.setitem(FORMATS, "openvino", replace(FORMATS["openvino"], library="no_such_runtime"))
    with pytest.raises(ExtraMissingError, match="'no_such_runtime' is not installed"):
        bench_worker._open(BenchmarkSubject("t", tiny, 1), IMAGES)


def test_energy_is_read_where_the_machine_exposes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages' counters are added up, also over their wrap; without one there is no figure."""
    monkeypatch.setattr(bench_worker, "POWERCAP", tmp_path)
    assert joules_between(read_energy(), read_energy()) is None
    counters = [tmp_path / f"intel-rapl:{n}" for n in (0, 1)]
    for counter, start in zip(counters, ("5000000", "9000000"), strict=True):
        counter.mkdir()
        (counter / "energy_uj").write_text(start)
        (counter / "max_energy_range_uj").write_text("9999999")
    before = read_energy()
    for counter, end in zip(counters, ("6000000", "1000000"), strict=True):
        (counter / "energy_uj").write_text(end)
    assert joules_between(before, read_energy()) == pytest.approx(3.0)
    (counters[0] / "energy_uj").unlink()
    assert joules_between(before, read_energy()) is None


def test_a_batch_the_artifact_cannot_take_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that was asked for and does not fit is an error; of the default batches it is left out."""
    monkeypatch.setattr("udacimed_edge.benchmarking.rounds.Worker", _OneAtATime)
    with pytest.raises(InputError, match=r"takes 1 image\(s\) at once, not 2\nmeasure it with --batch 1"):
        measure([BenchmarkSubject("tiny", tiny, 1)], QUICK)
    (found,) = measure([BenchmarkSubject("tiny", tiny, 1)], replace(QUICK, only_fitting=True))
    assert found.images_per_second.keys() == {1}


class _OneAtATime:
    """Stands in for a worker whose artifact takes one image at a time."""

    opened = Opened("none", CONTRACT, 1, 1.0, None)

    def __init__(self, subject: BenchmarkSubject, images: object) -> None:
        self.subject = subject

    def __enter__(self) -> _OneAtATime:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def measure(self, order: WorkerOrder) -> bench_worker.Burst:
        assert order.batch == 1
        return bench_worker.Burst((1.0,) * order.calls, 0.5, 30.0)


def test_another_source_model_is_refused(tiny: Path) -> None:
    """An artifact is compared with the model it was made from, or with none."""
    with pytest.raises(InputError, match=r"was made from the model tiny \(000000000000\), not from "):
        measure([BenchmarkSubject("tiny", tiny, 1)], QUICK, against_source=REFERENCE)


def test_a_damaged_report_is_an_error(tiny: Path) -> None:
    """A report beside the artifact that cannot be read is not taken for no report."""
    tiny.with_name(REPORT_NAME).write_text("{}")
    with pytest.raises(InputError, match="is a report of version None"):
        measure([BenchmarkSubject("tiny", tiny, 1)], QUICK)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["udacimed-edge", "benchmark", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing argument 'ARTIFACT...'"),
        (["{}/none"], 3, "there is no artifact at"),
        (["{}"], 3, "holds no artifact"),
        (["{}", "--batch", ""], 2, "'' is not a list of numbers from 1 to 4096"),
        (["{}", "--batch", "1,,8"], 2, "'1,,8' is not a list of numbers"),
        (["{}", "--batch", "1,x"], 2, "'1,x' is not a list of numbers"),
        (["{}", "--batch", "0"], 2, "'0' is not a list of numbers from 1 to 4096"),
        (["{}", "--batch", "4097"], 2, "'4097' is not a list of numbers from 1 to 4096"),
        (["{}", "--batch", "-8"], 2, "'-8' is not a list of numbers"),
        (["{}", "--batch", "8,1,8"], 2, "'8,1,8' names a batch twice"),
        (["{}", "--threads", "0"], 2, "0 is not in the range x>=1"),
        (["{}", "--threads", str(cores() + 1)], 2, f"{cores() + 1} threads on {cores()} cores"),
        (["{}", "--rounds", "0"], 2, "0 is not in the range x>=1"),
        (["{}", "--against", "pytorch"], 2, "'pytorch' is not 'source'"),
        (["{}", "--target", "rasberry-pi-4"], 2, "did you mean 'raspberry-pi-4'?"),
    ],
)
def test_bad_input_is_explained(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot be measured is refused before anything is, in one message."""
    assert call(monkeypatch, *(part.replace("{}", str(tmp_path)) for part in arguments)) == code
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML itself is here")
def test_core_ml_is_not_measured_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Off macOS a Core ML package alone is an error that says why."""
    (tmp_path / "model.mlpackage").mkdir()
    assert call(monkeypatch, str(tmp_path)) == UnsupportedError.exit_code
    assert "Core ML is measured on macOS only" in capsys.readouterr().err


def test_the_command_prints_and_writes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run gives the tables, the scoreboard with a device's budget, the JSON and both figures."""
    (tmp_path / "apple" / "model.mlpackage").mkdir(parents=True)
    record, figures = tmp_path / "record.json", tmp_path / "figures"
    arguments = [
        str(tiny),
        str(tmp_path / "apple"),
        "--variants",
        "--rounds",
        "1",
        "--batch",
        "2",
        "--threads",
        "1",
    ]
    outputs = ["--json", str(record), "--svg", str(figures), "--target", "raspberry-pi-4"]
    assert call(monkeypatch, *arguments, *outputs) == 0
    printed = capsys.readouterr().out
    for words in (
        "tiny THROUGHPUT",
        "of 5",
        "of 4",
        "raspberry-pi-4",
        "1 round(s) show no spread",
        "SKIP: Core ML",
    ):
        assert words in printed
    content = json.loads(record.read_text())
    assert content["plan"]["batches"] == [2]
    assert [m["subject"]["name"] for m in content["measurements"]] == [
        "tiny",
        "tiny LATENCY",
        "tiny THROUGHPUT",
    ]
    assert all(m["images_per_second"].keys() == {"1", "2"} for m in content["measurements"])
    assert {path.name for path in figures.iterdir()} == {"latency-size.svg", "throughput-batch.svg"}


def test_shares_of_the_peak() -> None:
    """An artifact's share is its rate by the dense network's of its own format and precision."""
    contract = replace(CONTRACT, format="ort", precision="int8")
    artifact = measurement("a", contract, [10.0])
    artifact.macs = 10**9
    kernel = measurement("peak ort-int8", contract, [20.0])
    unknown = measurement("b", replace(contract, precision="fp32"), [10.0])
    found = {share.name: share for share in share_of_peak([artifact, kernel, unknown], 10**9)}
    assert found.keys() == {"a", "peak ort-int8"}
    assert (found["a"].share, found["a"].gmacs, found["peak ort-int8"].peak_gmacs) == (0.5, 20.0, 40.0)


@pytest.mark.slow
def test_real_artifacts_in_one_run(small_program: Path, tmp_path: Path) -> None:
    """Int8 and fp32 of every runtime and the dense kernels of one are measured in the same rounds."""
    data = open_data("synthetic")
    calibration = calibration_images(data.read("train"))
    paths = []
    for target in ("ort", "litert", "openvino"):
        row = FORMATS[target]
        quantization = Quantization(row.recipes[0], calibration, data.read("validation"))
        for precision, how in (("int8", quantization), ("fp32", None)):
            paths.append(tmp_path / f"{target}-{precision}" / f"model{row.suffix}")
            paths[-1].parent.mkdir()
            contract = replace(CONTRACT, format=target, precision=precision)
            run(row, small_program, contract, how, paths[-1])
    subjects = artifact_subjects(paths, cores(), compare_variants=True)
    kernels, macs = make_kernels([s for s in subjects if s.name == "ort-int8"], tmp_path)
    found = measure([*subjects, *kernels], replace(QUICK, threads=cores()))
    assert [m.subject for m in found] == [*subjects, *kernels]
    assert {m.kind for m in found} == {path.parent.name for path in paths}
    assert all(m.images_per_second.keys() == {1, 2} for m in found)
    assert [share.name for share in share_of_peak(found, macs)] == ["peak ort-int8", "peak ort-fp32"]


@pytest.mark.slow
def test_the_source_is_computed_by_pytorch() -> None:
    """The built-in model is measured too, its operations counted when it is opened."""
    with Worker(BenchmarkSubject("source", REFERENCE, 1, baseline=True), IMAGES) as worker:
        assert worker.opened.executor.startswith("torch ")
        assert worker.opened.contract.source_digest == sha256_file(REFERENCE)
        assert 100e6 < (worker.opened.macs or 0) < 200e6
        assert len(worker.measure(WorkerOrder(2, 1, 0)).times_ms) == 1
