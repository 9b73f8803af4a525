"""One benchmark from start to end: what is measured, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from udacimed_edge.benchmarking.roofline import Share, make_kernels, share_of_peak
from udacimed_edge.benchmarking.rounds import ArtifactMeasurement, BenchmarkPlan, artifact_subjects, measure
from udacimed_edge.benchmarking.worker import BenchmarkSubject
from udacimed_edge.core.artifact import locate
from udacimed_edge.core.errors import UnsupportedError
from udacimed_edge.runtime.formats import format_of
from udacimed_edge.targets.devices.profile import DeviceProfile

__all__ = ["BATCHES", "BenchmarkExtras", "BenchmarkResult", "run_benchmark"]

BATCHES = (1, 8, 16, 32, 64)
"""Images in one call, unless others are named."""


@dataclass(frozen=True)
class BenchmarkExtras:
    """What is measured besides the artifacts themselves.

    Attributes:
        against: The source model: True for the built-in one they were made from, or its file.
        variants: Each runtime's other settings.
        roofline: A dense network, for the share of its rate.
        profile: A device whose budget is held against the figures.
    """

    against: Path | bool = False
    variants: bool = False
    roofline: bool = False
    profile: DeviceProfile | None = None


@dataclass(frozen=True)
class BenchmarkResult:
    """One benchmark.

    Attributes:
        plan: How it was measured.
        measurements: In the order in which tables show them.
        skipped: What was named and not measured, and why.
        profile: The device whose budgets are held against the figures; None without one.
        shares: Of the measured peak; empty where it was not measured.
    """

    plan: BenchmarkPlan
    measurements: Sequence[ArtifactMeasurement]
    skipped: dict[str, str]
    profile: DeviceProfile | None = None
    shares: Sequence[Share] = ()


def run_benchmark(
    artifacts: Sequence[Path],
    plan: BenchmarkPlan,
    extras: BenchmarkExtras,
    notify: Callable[[str], None] = lambda line: None,
) -> BenchmarkResult:
    """Measure artifacts on this machine.

    Args:
        artifacts: Artifacts, or the folders `convert` wrote.
        plan: How.
        extras: What else.
        notify: Told what is being done.

    Raises:
        InputError: As for `rounds.measure`, or there is no artifact at a path.
        UnsupportedError: None of them can be measured here.
    """
    subjects, skipped = _subjects(artifacts, plan.threads, extras.variants)
    with TemporaryDirectory() as folder:
        kernels: list[BenchmarkSubject] = []
        if extras.roofline:
            notify("dense networks: converted")
            kernels, macs = make_kernels(subjects, Path(folder))
        measurements = measure([*subjects, *kernels], plan, extras.against, notify)
    shares = share_of_peak(measurements, macs) if kernels else []
    own = [m for m in measurements if m.subject not in kernels]
    return BenchmarkResult(plan, own, skipped, extras.profile, shares)


def _subjects(
    artifacts: Sequence[Path], threads: int, variants: bool
) -> tuple[list[BenchmarkSubject], dict[str, str]]:
    """What can be measured here; and what cannot, with the reason.

    Raises:
        InputError: There is no artifact at a path.
        UnsupportedError: None of them can be measured here.
    """
    why = "Core ML is measured on macOS only: our own executor shows what it answers, not how fast"
    found = [locate(path) for path in artifacts]
    skipped = [path for path in found if format_of(path).stand_in_here]
    measured = [path for path in found if path not in skipped]
    if not measured:
        raise UnsupportedError(f"{skipped[0]}: {why}", "name an ort, litert or openvino artifact")
    return artifact_subjects(measured, threads, variants), {str(path): why for path in skipped}
