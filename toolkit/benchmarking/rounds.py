"""Measures artifacts: one process each, in turn round by round, so that a drift hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from udacimed_edge.benchmarking.scores import MeasuredFacts, Ratio, Spread, paired_ratio, spread
from udacimed_edge.benchmarking.worker import BenchmarkSubject, Burst, Opened, Worker, WorkerOrder
from udacimed_edge.core.artifact import report_of
from udacimed_edge.core.data import open_data
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import path_digest, size_bytes
from udacimed_edge.source.load import built_in_of, load_source
from udacimed_edge.validation.report import Report, read_report

__all__ = [
    "ArtifactMeasurement",
    "BenchmarkPlan",
    "artifact_subjects",
    "measure",
    "ratios",
    "schedule",
    "variants",
]

COLD_STARTS = 3
"""Fresh processes per subject; each costs a start of Python, so not one per round."""

LATENCY = WorkerOrder(batch=1, calls=30, seconds=0.0)
"""One round's predictions of one image: over 10 rounds 300, of which three are above the 99th percentile."""

_NO_OTHERS = {"CPUExecutionProvider", "AzureExecutionProvider"}
"""Execution providers that are no other way to compute here: the default, and one that asks a service."""

BURST_SECONDS = 0.15
"""How long one round measures a larger batch, at least."""


@dataclass(frozen=True)
class BenchmarkPlan:
    """What is to be measured, and how.

    Attributes:
        rounds: How often each is measured; 1 or more.
        batches: Images in one call, ascending, none twice.
        threads: Threads of one prediction, and cores of each process.
        only_fitting: Leave out the batches an artifact cannot take instead of refusing them.
    """

    rounds: int
    batches: tuple[int, ...]
    threads: int
    only_fitting: bool = False


@dataclass
class ArtifactMeasurement:
    """What was measured of one subject.

    Attributes:
        subject: What.
        opened: What opening it showed, the first time.
        size_bytes: All its files together; of the source model its weights.
        cold_start_ms: One per fresh process.
        latency_ms: Each round's times of one image.
        images_per_second: By batch, one figure per round.
        joules_per_image: One per round, at the largest batch; empty where the machine shows no energy.
        peak_mib: After the first burst of single images; None where the system does not show it.
        batches_peak_mib: After everything.
        macs: Multiply-accumulates of one image; None where nobody counted them.
        sensitivity: On the test split, by the report beside the artifact; None without one on real data.
        source_sensitivity: That of the model it was made from, by the same report.
    """

    subject: BenchmarkSubject
    opened: Opened
    size_bytes: int
    cold_start_ms: list[float] = field(default_factory=list)
    latency_ms: list[tuple[float, ...]] = field(default_factory=list)
    images_per_second: dict[int, list[float]] = field(default_factory=dict)
    joules_per_image: list[float] = field(default_factory=list)
    peak_mib: float | None = None
    batches_peak_mib: float | None = None
    macs: int | None = None
    sensitivity: float | None = None
    source_sensitivity: float | None = None

    def percentile_ms(self, percent: float) -> float:
        """Of all rounds' latencies together."""
        return float(np.percentile(np.concatenate(self.latency_ms), percent))

    @property
    def medians_ms(self) -> list[float]:
        """Each round's median latency."""
        return [float(np.median(times)) for times in self.latency_ms]

    @property
    def kind(self) -> str:
        """Format and precision, for example "ort-int8"."""
        return f"{self.opened.contract.format}-{self.opened.contract.precision}"

    @property
    def best(self) -> tuple[int, Spread]:
        """The batch with the highest throughput, and that throughput in images per second."""
        rates = {batch: spread(values) for batch, values in self.images_per_second.items()}
        return max(rates.items(), key=lambda item: item[1].median)

    @property
    def own_mib(self) -> float | None:
        """The peak with single images, less what the process held before the artifact was opened."""
        before = self.opened.before_mib
        return None if self.peak_mib is None or before is None else self.peak_mib - before

    def facts(self) -> MeasuredFacts:
        """What targets are held against."""
        return MeasuredFacts(
            own_mib=self.own_mib,
            images_per_second=self.best[1].median,
            macs=self.macs,
            sensitivity=self.sensitivity,
            p50_ms=self.percentile_ms(50),
            peak_mib=self.peak_mib,
            size_bytes=self.size_bytes,
        )


def artifact_subjects(paths: Sequence[Path], threads: int, compare_variants: bool) -> list[BenchmarkSubject]:
    """The artifacts to be measured, each once, named by their folders where these differ.

    Args:
        paths: Artifacts; those off macOS which are Core ML's are not to be among them.
        threads: Of each.
        compare_variants: Put each runtime's other settings beside its own.
    """
    unique = list(dict.fromkeys(paths))
    short = [path.resolve().parent.name if path.stem == "model" else path.name for path in unique]
    subjects = []
    for path, name in zip(unique, short, strict=True):
        subject = BenchmarkSubject(name if short.count(name) == 1 else str(path), path, threads)
        subjects.append(subject)
        if compare_variants:
            found = variants(path.suffix)
            subjects += [replace(subject, name=f"{subject.name} {n}", settings=s) for n, s in found.items()]
    return subjects


def variants(suffix: str) -> dict[str, Mapping[str, Any]]:
    """What a runtime could be told otherwise here, by name; its own choice is not among them."""
    if suffix == ".xml":
        return {hint: {"hint": hint} for hint in ("LATENCY", "THROUGHPUT")}
    if suffix != ".ort":
        return {}
    import onnxruntime

    present = set(onnxruntime.get_available_providers()) - _NO_OTHERS
    return {name.removesuffix("ExecutionProvider"): {"provider": name} for name in sorted(present)}


def schedule(subjects: int, plan: BenchmarkPlan) -> Iterator[tuple[int, int, int]]:
    """Round, batch and subject of every burst, in the order in which they are measured.

    Batch 1 comes first, since the peak of memory with single images is read after it. Who begins
    changes from round to round: nobody always follows the same one, into the same heat and caches.
    """
    for number in range(plan.rounds):
        for batch in sorted({1, *plan.batches}):
            for step in range(subjects):
                yield number, batch, (number + step) % subjects


def measure(
    subjects: Sequence[BenchmarkSubject],
    plan: BenchmarkPlan,
    against_source: Path | bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> list[ArtifactMeasurement]:
    """Measure all subjects in the same rounds.

    Args:
        subjects: From `artifact_subjects`, and any others.
        plan: How.
        against_source: True to measure the built-in model the artifacts were made from besides, or a
            model's file with its card beside it.
        notify: Told what is being done.

    Returns:
        One per subject, in their order; source models come first.

    Raises:
        InputError: An artifact or its report is damaged, it cannot take a batch, or it was not made from the
            model it is to be compared with.
        ExtraMissingError: A runtime is not installed.
        UnsupportedError: One cannot be computed here, or its process died.
    """
    images = open_data("synthetic").read("test").images[: max(plan.batches, default=1)]
    with ExitStack() as stack:

        def begin(subject: BenchmarkSubject) -> tuple[Worker, ArtifactMeasurement]:
            notify(f"{subject.name}: opened in a process of its own")
            worker = stack.enter_context(Worker(subject, images))
            return worker, _begun(subject, worker.opened)

        begun = [begin(subject) for subject in subjects]
        if against_source:
            wanted = None if against_source is True else Path(against_source)
            artifacts = [measurement for _, measurement in begun]
            begun = [*map(begin, _sources(artifacts, wanted)), *begun]
            _copy_sensitivity([measurement for _, measurement in begun])
        measurements = [measurement for _, measurement in begun]
        fitting = [_fitting(measurement, plan) for measurement in measurements]
        for number, batch, row in schedule(len(begun), plan):
            worker, measurement = begun[row]
            if batch == 1 and row == number % len(begun):
                notify(f"round {number + 1} of {plan.rounds}")
            if batch == 1 and 0 < number < COLD_STARTS:
                with Worker(worker.subject, images) as fresh:
                    measurement.cold_start_ms.append(fresh.opened.cold_start_ms)
            if batch == 1 or batch in fitting[row]:
                order = LATENCY if batch == 1 else WorkerOrder(batch, 2, BURST_SECONDS)
                _note(measurement, batch, worker.measure(order), batch == max(fitting[row], default=1))
    return measurements


def _begun(subject: BenchmarkSubject, opened: Opened) -> ArtifactMeasurement:
    begun = ArtifactMeasurement(
        subject, opened, size_bytes(subject.path), [opened.cold_start_ms], macs=opened.macs
    )
    report = _matching_report(subject)
    if report is not None:
        begun.macs = sum(report.artifact.macs.values()) or None
        if report.metrics is not None and not report.rehearsal:
            begun.sensitivity = report.metrics.sensitivity.value
            begun.source_sensitivity = report.source.metrics.sensitivity.value
    return begun


def _matching_report(subject: BenchmarkSubject) -> Report | None:
    """The report beside an artifact where it speaks of these very bytes."""
    path = report_of(subject.path)
    if subject.baseline or not path.exists():
        return None
    report = read_report(path)
    return report if report.artifact.digest == path_digest(subject.path) else None


def _sources(artifacts: Sequence[ArtifactMeasurement], wanted: Path | None) -> list[BenchmarkSubject]:
    """The source models of the artifacts, each once.

    Raises:
        InputError: An artifact was not made from the model at `wanted`, or from no built-in one.
    """
    found: dict[str, BenchmarkSubject] = {}
    for artifact in artifacts:
        contract = artifact.opened.contract
        if contract.source_digest in ("", *found):  # the dense networks of --roofline have no source
            continue
        path = wanted or built_in_of(contract.source_digest)
        if path is None:
            raise InputError(
                f"{artifact.subject.path} was made from the model {contract.source_name} "
                f"({contract.source_digest[:12]}), which is not built in",
                "name the model it was made from with --source",
            )
        source = load_source(path)
        if source.digest != contract.source_digest:
            raise InputError(
                f"{artifact.subject.path} was made from the model {contract.source_name} "
                f"({contract.source_digest[:12]}), not from {source.name} ({source.digest[:12]})",
                "name the model it was made from with --source",
            )
        found[source.digest] = BenchmarkSubject(
            f"source {source.name}", path, artifact.subject.threads, baseline=True
        )
    return list(found.values())


def _copy_sensitivity(measurements: Sequence[ArtifactMeasurement]) -> None:
    """Give the source models what the artifacts' reports say of them."""
    known = {
        m.opened.contract.source_digest: m.source_sensitivity for m in measurements if not m.subject.baseline
    }
    for measurement in measurements:
        if measurement.subject.baseline:
            measurement.sensitivity = known.get(measurement.opened.contract.source_digest)


def _fitting(measurement: ArtifactMeasurement, plan: BenchmarkPlan) -> tuple[int, ...]:
    """The batches a subject can take.

    Raises:
        InputError: It cannot take one that a person asked for.
    """
    most = measurement.opened.batch
    fitting = tuple(batch for batch in plan.batches if most is None or batch <= most)
    if fitting != plan.batches and not plan.only_fitting:
        raise InputError(
            f"{measurement.subject.path} takes {most} image(s) at once, not {plan.batches[-1]}",
            f"measure it with --batch {most}",
        )
    return fitting


def _note(measurement: ArtifactMeasurement, batch: int, burst: Burst, largest: bool) -> None:
    """Put one burst's figures where they belong."""
    images = batch * len(burst.times_ms)
    rate = 1000 * images / sum(burst.times_ms)
    measurement.images_per_second.setdefault(batch, []).append(rate)
    measurement.batches_peak_mib = burst.peak_mib
    if batch == 1:
        measurement.latency_ms.append(burst.times_ms)
        if len(measurement.latency_ms) == 1:
            measurement.peak_mib = burst.peak_mib
    if largest and burst.joules is not None:
        measurement.joules_per_image.append(burst.joules / images)


def ratios(measurements: Sequence[ArtifactMeasurement]) -> list[Ratio]:
    """Each artifact against its source model, each int8 against its fp32, each variant against the plain.

    Latency at batch 1 and throughput at the largest batch both have.
    """
    found = []
    for after in measurements:
        for before in measurements:
            if after is not before and _comparable(after, before):
                what = f"{after.subject.name} against {before.subject.name}"
                found.append(paired_ratio(f"{what}, speed at batch 1", before.medians_ms, after.medians_ms))
                batch = max(after.images_per_second.keys() & before.images_per_second.keys())
                if batch > 1:
                    rates = (m.images_per_second[batch] for m in (after, before))
                    found.append(paired_ratio(f"{what}, images/s at batch {batch}", *rates))
    return found


def _comparable(after: ArtifactMeasurement, before: ArtifactMeasurement) -> bool:
    new, old = after.opened.contract, before.opened.contract
    if after.subject.baseline or before.subject.settings or new.source_digest != old.source_digest:
        return False
    if after.subject.settings:
        return after.subject.path == before.subject.path
    int8_and_fp32 = new.format == old.format and (new.precision, old.precision) == ("int8", "fp32")
    return before.subject.baseline or int8_and_fp32
