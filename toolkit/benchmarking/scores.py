"""What the figures of a benchmark mean: spread over rounds, ratios that may be quoted, targets met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from udacimed_edge.targets.devices.profile import DeviceProfile

__all__ = ["Mark", "MeasuredFacts", "Ratio", "Spread", "device_marks", "paired_ratio", "scoreboard", "spread"]

LEAST_ROUNDS = 3
"""With fewer rounds there is no spread to compare a difference with."""


@dataclass(frozen=True)
class Spread:
    """One figure over all rounds.

    Attributes:
        median: Of the rounds.
        low: One of ten rounds lies below.
        high: One of ten rounds lies above.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """How one figure compares with another that was measured in the same rounds.

    Attributes:
        what: What is compared with what, in words.
        value: Median over the rounds of one divided by the other.
        low: One of ten rounds lies below.
        high: One of ten rounds lies above.
        rounds: How many rounds there were.
    """

    what: str
    value: float
    low: float
    high: float
    rounds: int

    @property
    def shown(self) -> bool:
        """Whether it may be quoted: its spread is smaller than the difference it claims."""
        return self.rounds >= LEAST_ROUNDS and self.high - self.low < abs(self.value - 1)

    def __str__(self) -> str:
        """The ratio with its spread, or that no difference was shown and why."""
        if self.shown:
            return f"{self.what}: {self.value:.3g} times ({self.low:.3g} to {self.high:.3g})"
        why = (
            f"the rounds spread from {self.low:.3g} to {self.high:.3g} times"
            if self.rounds >= LEAST_ROUNDS
            else f"{self.rounds} round(s) show no spread"
        )
        return f"{self.what}: no difference shown ({why})"


@dataclass(frozen=True)
class MeasuredFacts:
    """What the targets are held against; None where it is not known.

    Attributes:
        own_mib: Memory the model itself takes: the peak while it answers one image at a time, less what
            the process held with its runtime imported and nothing opened.
        images_per_second: At the best batch.
        macs: Multiply-accumulates of one image.
        sensitivity: On the test split, from the report beside the artifact; 0..1.
        p50_ms: Latency of one image.
        peak_mib: The most memory the whole process held, one image at a time.
        size_bytes: Of the artifact.
    """

    own_mib: float | None
    images_per_second: float
    macs: int | None
    sensitivity: float | None
    p50_ms: float
    peak_mib: float | None
    size_bytes: int


@dataclass(frozen=True)
class Mark:
    """One target.

    Attributes:
        name: What is asked.
        bound: How much.
        value: What was measured, in words.
        met: None where it was not measured: then it is not counted as met.
    """

    name: str
    bound: str
    value: str
    met: bool | None


def spread(values: Sequence[float]) -> Spread:
    """Median, and where eight of ten rounds lie; values are one figure per round, at least one."""
    low, median, high = np.percentile(values, [10, 50, 90])
    return Spread(float(median), float(low), float(high))


def paired_ratio(what: str, above: Sequence[float], below: Sequence[float]) -> Ratio:
    """The ratio round by round, so that what slowed a whole round cancels.

    Args:
        what: What is compared with what, in words.
        above: One figure per round.
        below: The other, in the same rounds, above 0.
    """
    found = spread([a / b for a, b in zip(above, below, strict=True)])
    return Ratio(what, found.median, found.low, found.high, len(above))


def scoreboard(facts: MeasuredFacts) -> tuple[Mark, ...]:
    """The five production targets of the project this toolkit comes from; it met four, on a server.

    Memory is the model's own there too: what its tensors took, without Python and the framework. What the
    whole process holds is printed beside it and held against a device's budget.
    """
    own_mb = None if facts.own_mib is None else facts.own_mib * 2**20 / 1e6
    gflop = None if facts.macs is None else 2 * facts.macs / 1e9
    rate, found = facts.images_per_second, facts.sensitivity
    return (
        _mark("memory", "< 100 MB", own_mb, "{:.1f} MB", lambda mb: mb < 100),
        _mark("throughput", "> 2,000/s", rate, "{:,.0f}/s", lambda r: r > 2000),
        _mark("operations", "< 0.4 GFLOP", gflop, "{:.3f} GFLOP", lambda g: g < 0.4),
        # above, not at least: the five targets are in the words of the project that this one comes from;
        # the gate's own bound is the policy's
        _mark("sensitivity", "> 98 %", found, "{:.2%}", lambda s: s > 0.98),
        _mark("latency", "< 3 ms", facts.p50_ms, "{:.2f} ms", lambda ms: ms < 3),
    )


def device_marks(facts: MeasuredFacts, profile: DeviceProfile) -> tuple[Mark, ...]:
    """A device's budget; what is held against it was measured here, not on the device."""
    budget, rate = profile.budget, facts.images_per_second
    size, ram, ms, least = budget.size_mib, budget.ram_mib, budget.latency_ms, budget.images_per_second
    return (
        _mark("size", f"<= {size:g} MiB", facts.size_bytes / 2**20, "{:.1f} MiB", lambda mib: mib <= size),
        _mark("memory", f"<= {ram:g} MiB", facts.peak_mib, "{:.0f} MiB", lambda mib: mib <= ram),
        _mark("latency", f"<= {ms:g} ms", facts.p50_ms, "{:.2f} ms", lambda p50: p50 <= ms),
        _mark("throughput", f">= {least:g}/s", rate, "{:,.0f}/s", lambda r: r >= least),
    )


def _mark(name: str, bound: str, value: float | None, form: str, held: Callable[[float], bool]) -> Mark:
    if value is None:
        return Mark(name, bound, "not measured", None)
    return Mark(name, bound, form.format(value), held(value))
