"""The process that holds one subject open and measures it whenever the parent says so.

Light on purpose: what this module imports is in the memory that is measured.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.child import Child, ChildDied
from udacimed_edge.core.errors import EdgeError, ExtraMissingError, InputError, UnsupportedError
from udacimed_edge.runtime.contract import ArtifactError, Contract, Predictor
from udacimed_edge.runtime.formats import format_of

__all__ = ["BenchmarkSubject", "Burst", "Opened", "Worker", "WorkerOrder", "joules_between", "read_energy"]

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the energy counters of the processor's packages (RAPL)."""


@dataclass(frozen=True)
class BenchmarkSubject:
    """One thing to be measured.

    Attributes:
        name: What tables call it.
        path: The artifact; for the source model its file.
        threads: Threads of one prediction, and the number of cores the process is held to.
        settings: What the runtime's `open_artifact` is given besides, for a variant.
        baseline: True for the source model, computed by PyTorch.
    """

    name: str
    path: Path
    threads: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = False


@dataclass(frozen=True)
class Opened:
    """What opening a subject in a fresh process showed.

    Attributes:
        executor: What computes, with its version.
        contract: What the artifact says about itself; of the source model only its name and digest hold.
        batch: The most images it takes in one call; None for any number.
        cold_start_ms: The runtime imported, the subject opened, one image answered; Python's own start
            and numpy's are not in it.
        before_mib: Resident memory with the runtime imported and nothing opened; None where the system
            does not show it.
        macs: Multiply-accumulates of one image, where opening it counts them.
    """

    executor: str
    contract: Contract
    batch: int | None
    cold_start_ms: float
    before_mib: float | None
    macs: int | None = None


@dataclass(frozen=True)
class WorkerOrder:
    """One burst: so many calls at least, for so long at least, each with so many images."""

    batch: int
    calls: int
    seconds: float


@dataclass(frozen=True)
class Burst:
    """What one burst showed.

    Attributes:
        times_ms: Of each call.
        joules: The processor's packages drew in all; None where the machine does not expose it.
        peak_mib: The most memory the process has held resident until now; None where not shown.
    """

    times_ms: tuple[float, ...]
    joules: float | None
    peak_mib: float | None


class Worker:
    """A fresh process with one subject opened; ended by leaving the `with` block.

    Raises:
        EdgeError: The subject cannot be opened or computed here, or its process died.
    """

    opened: Opened

    def __init__(self, subject: BenchmarkSubject, images: NDArray[np.uint8]) -> None:
        self.subject = subject
        self._child = Child(_serve, (subject, images), environment={"OMP_NUM_THREADS": str(subject.threads)})

    def __enter__(self) -> Worker:
        """Wait until it is opened."""
        try:
            self.opened = self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._child.end()

    def measure(self, order: WorkerOrder) -> Burst:
        """Have one burst measured; nothing else is measured meanwhile.

        Raises:
            EdgeError: It failed while computing, or its process died.
        """
        self._child.send(order)
        burst: Burst = self._answer()
        return burst

    def _answer(self) -> Any:
        try:
            answer = self._child.receive()
        except ChildDied as died:
            raise UnsupportedError(
                f"{self.subject.name}: the process that measured it died ({died})",
                "if memory was short, close other programs or name smaller batches",
            ) from None
        if isinstance(answer, EdgeError):
            raise answer
        return answer


def _serve(work: tuple[BenchmarkSubject, NDArray[np.uint8]], pipe: Connection) -> None:
    """The child's side: open, then one burst per order, until the parent closes the pipe."""
    subject, images = work
    _pin(subject.threads)
    try:
        predictor, opened = _open(subject, images[:1])
        pipe.send(opened)
        while True:
            pipe.send(_burst(predictor.predict, images, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except EdgeError as error:
        pipe.send(error)
    except Exception as error:  # each runtime has exceptions of its own, some derived from Exception alone
        pipe.send(UnsupportedError(f"{subject.name} failed while computing: {error}"))


def _pin(threads: int) -> None:
    """Hold the process to as many cores as it has threads, the same ones for every subject."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _open(subject: BenchmarkSubject, image: NDArray[np.uint8]) -> tuple[Predictor, Opened]:
    import_runtime, open_it = _source_steps(subject) if subject.baseline else _artifact_steps(subject)
    started = time.perf_counter()
    import_runtime()
    imported = time.perf_counter() - started
    before = _resident_mib("VmRSS")
    started = time.perf_counter()
    try:
        predictor, macs = open_it()
    except ArtifactError as error:
        raise InputError(str(error), "convert the model again") from error
    predictor.predict(image)
    cold = imported + time.perf_counter() - started
    opened = Opened(predictor.executor, predictor.contract, predictor.batch, cold * 1000, before, macs)
    return predictor, opened


_Steps = tuple[Callable[[], object], Callable[[], tuple[Predictor, int | None]]]


def _artifact_steps(subject: BenchmarkSubject) -> _Steps:
    row = format_of(subject.path)
    reader = import_module(f"udacimed_edge.runtime.{row.name}")

    def import_runtime() -> None:
        try:
            import_module(row.library)
        except ModuleNotFoundError as error:
            raise ExtraMissingError(
                f"the library '{error.name}' is not installed",
                "`udacimed-edge doctor` says what to install",
            ) from error

    def open_it() -> tuple[Predictor, int | None]:
        return reader.open_artifact(subject.path, subject.threads, **subject.settings), None

    return import_runtime, open_it


def _source_steps(subject: BenchmarkSubject) -> _Steps:
    def open_it() -> tuple[Predictor, int | None]:
        import torch

        from udacimed_edge.optimization.measure import flops
        from udacimed_edge.runtime.contract import probability_of_pneumonia
        from udacimed_edge.source.load import load_source

        torch.set_num_threads(subject.threads)
        source = load_source(subject.path)

        def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
            with torch.inference_mode():
                logits = source.module(torch.from_numpy(images[:, None].astype(np.float32)))
            return probability_of_pneumonia(logits.numpy())

        macs = flops(source.module, torch.zeros(1, 1, 64, 64)) // 2
        executor, batch = f"torch {torch.__version__}", None if source.dynamic_batch else 1
        contract = Contract("source", "fp32", 0.5, "", source.name, source.digest, None, "")
        return Predictor(contract, predict, batch, executor), macs

    return lambda: import_module("torch"), open_it


def _burst(
    predict: Callable[[NDArray[np.uint8]], object], images: NDArray[np.uint8], order: WorkerOrder
) -> Burst:
    """Warm up with one call of the same batch, then measure."""
    batch = np.resize(images, (order.batch, *images.shape[1:]))
    predict(batch)
    times: list[float] = []
    energy, ends = read_energy(), time.perf_counter() + order.seconds
    while len(times) < order.calls or time.perf_counter() < ends:
        started = time.perf_counter()
        predict(batch)
        times.append(1000 * (time.perf_counter() - started))
    return Burst(tuple(times), joules_between(energy, read_energy()), _resident_mib("VmHWM"))


def read_energy() -> dict[str, tuple[int, int]]:
    """Each package's counter in microjoules and where it wraps; empty where it may not be read."""
    counters = {}
    for package in sorted(POWERCAP.glob("intel-rapl:?")):  # AMD's processors show theirs by this name too
        try:
            now, wraps = ((package / n).read_text() for n in ("energy_uj", "max_energy_range_uj"))
            counters[package.name] = (int(now), int(wraps))
        except (OSError, ValueError):
            continue
    return counters


def joules_between(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> float | None:
    """Joules between two readings; None without a counter."""
    if not before or before.keys() != after.keys():
        return None
    return sum((after[p][0] - before[p][0]) % (after[p][1] + 1) for p in before) / 1e6


def _resident_mib(field: str) -> float | None:
    """This process's resident memory now ("VmRSS") or at its peak ("VmHWM") in MiB; None off Linux.

    Not from getrusage: the peak it names begins with the parent's, this one with the process's own program.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), None)
