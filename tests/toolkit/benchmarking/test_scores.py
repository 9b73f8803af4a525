"""What may be said of figures: ratios beside their spread, targets met or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from udacimed_edge.benchmarking.scores import MeasuredFacts, device_marks, paired_ratio, scoreboard, spread
from udacimed_edge.targets.devices.profile import find_profile

GOOD = MeasuredFacts(
    own_mib=40.0,
    images_per_second=2500.0,
    macs=148_000_000,
    sensitivity=0.9923,
    p50_ms=0.8,
    peak_mib=90.0,
    size_bytes=11_300_000,
)


def test_the_spread_is_where_eight_of_ten_rounds_lie() -> None:
    """Of rounds 0 to 10, the median is 5 and the spread 1 to 9."""
    found = spread(list(range(11)))
    assert (found.low, found.median, found.high) == (1, 5, 9)


@pytest.mark.parametrize(
    ("above", "below", "text"),
    [
        ([4, 4, 4], [2, 2, 2], "2 times (2 to 2)"),
        ([8, 2, 4], [4, 1, 2], "2 times (2 to 2)"),
        ([1, 1, 1], [4, 4, 4], "0.25 times (0.25 to 0.25)"),
        ([2, 2, 2], [2, 2, 2], "no difference shown (the rounds spread from 1 to 1 times)"),
        ([1.1, 1.0, 1.4], [1, 1, 1], "no difference shown (the rounds spread from 1.02 to 1.34 times)"),
        ([4, 4], [2, 2], "no difference shown (2 round(s) show no spread)"),
        ([4], [2], "no difference shown (1 round(s) show no spread)"),
    ],
    ids=["plain", "drift", "slower", "equal", "spread", "two rounds", "one round"],
)
def test_a_ratio_is_quoted_only_where_it_stands_out(
    above: list[float], below: list[float], text: str
) -> None:
    """A ratio is quoted unless its rounds spread wider than its distance from 1, or are too few."""
    assert str(paired_ratio("a against b", above, below)) == f"a against b: {text}"


def test_noise_gives_no_ratio() -> None:
    """Two subjects of equal speed on a busy machine are hardly ever told apart."""
    random = np.random.default_rng(0)
    quoted = 0
    for _ in range(200):
        busy = random.lognormal(0, 0.3, (2, 10))
        quoted += paired_ratio("equals", list(busy[0]), list(busy[1])).shown
    assert quoted <= 2


def test_all_five_targets() -> None:
    """What meets every target gets five marks, in the order of the targets."""
    marks = scoreboard(GOOD)
    assert [mark.name for mark in marks] == ["memory", "throughput", "operations", "sensitivity", "latency"]
    assert all(mark.met for mark in marks)


@pytest.mark.parametrize(
    ("change", "name", "met", "value"),
    [
        ({"own_mib": 95.3}, "memory", True, "99.9 MB"),
        ({"own_mib": 95.4}, "memory", False, "100.0 MB"),
        ({"own_mib": 0.0}, "memory", True, "0.0 MB"),
        ({"own_mib": None}, "memory", None, "not measured"),
        ({"images_per_second": 2000.0}, "throughput", False, "2,000/s"),
        ({"macs": 200_000_000}, "operations", False, "0.400 GFLOP"),
        ({"macs": None}, "operations", None, "not measured"),
        ({"sensitivity": 0.98}, "sensitivity", False, "98.00%"),
        ({"sensitivity": None}, "sensitivity", None, "not measured"),
        ({"p50_ms": 3.0}, "latency", False, "3.00 ms"),
    ],
)
def test_a_target_missed(change: dict[str, float | None], name: str, met: bool | None, value: str) -> None:
    """A bound that is just reached is not met, and what was not measured is not met either."""
    marks = {mark.name: mark for mark in scoreboard(replace(GOOD, **change))}  # type: ignore[arg-type]
    mark = marks.pop(name)
    assert (mark.met, mark.value) == (met, value)
    assert all(other.met for other in marks.values())


def test_a_device_s_budget() -> None:
    """A device's own bounds are held against size, whole memory, latency and throughput."""
    profile = find_profile("android-phone")
    assert [m.met for m in device_marks(GOOD, profile)] == [True] * 4
    heavy = replace(GOOD, size_bytes=13 * 2**20, peak_mib=97.0, p50_ms=71.0, images_per_second=4.0)
    assert [m.met for m in device_marks(heavy, profile)] == [False] * 4
    assert device_marks(replace(GOOD, peak_mib=None), profile)[1].met is None
