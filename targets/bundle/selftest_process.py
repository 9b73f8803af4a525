"""Runs a bundle's self-test and measures it: `python -m THIS_MODULE ARTIFACT FOLDER`.

In a process of its own, and with nothing but the runtime, the code that ships.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from udacimed_edge.runtime import image, selftest
from udacimed_edge.runtime.digest import path_digest
from udacimed_edge.runtime.reader import open_artifact

__all__ = ["SelftestMeasurement", "run_selftest"]

_ROUNDS = 3


@dataclass(frozen=True)
class SelftestMeasurement:
    """What the self-test showed on this machine, with one thread.

    Attributes:
        passed: Whether it computes as validated.
        selftest: What the self-test said.
        latency_ms: Mean processor time of a prediction, three for each radiograph; reading is not in it.
        images_per_second: Reading included, of the self-test's pictures, which are small.
        ram_mib: Most memory that was resident; None where the system does not tell.
    """

    passed: bool
    selftest: str
    latency_ms: float
    images_per_second: float
    ram_mib: float | None


def run_selftest(artifact: Path, folder: Path) -> SelftestMeasurement:
    """Run the self-test in this process and measure it.

    Args:
        artifact: The artifact.
        folder: Of its self-test.

    Raises:
        Exception: Whatever a runtime raises for an artifact that it cannot open.
    """
    predictor = open_artifact(artifact, 1)
    verdict = selftest.check(folder, predictor, path_digest(artifact))
    names = sorted(folder.glob("*.png"))
    pixels = [image.load(name).pixels for name in names] * _ROUNDS
    alone = _mean_ms(lambda one: predictor.predict(one[None]), pixels)
    whole = _mean_ms(lambda name: predictor.predict(image.load(name).pixels[None]), names)
    return SelftestMeasurement(verdict.passed, verdict.message, alone, 1000 / whole, _peak_mib())


def _mean_ms(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Processor time, so that a busy machine does not count; at least a microsecond, for coarse clocks."""
    work(items[0])
    started = time.process_time()
    for item in items:
        work(item)
    return max(1000 * (time.process_time() - started) / len(items), 1e-3)


def _peak_mib() -> float | None:
    """From Linux; getrusage(2) would count what the process that started this one held."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii", errors="replace").splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(run_selftest(Path(sys.argv[1]), Path(sys.argv[2])))))
