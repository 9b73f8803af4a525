"""What computes here, as reports state it."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

import pytest

from udacimed_edge.core import machine

XEON = "fpu sse4_2 avx avx2 fma avx512f avx512_vnni hypervisor"


def test_the_cores_are_those_this_process_may_use() -> None:
    """At least one core, and no more than the machine has."""
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores"
)
def test_a_process_bound_to_one_core_has_one() -> None:
    """Cores that were taken from the process are not counted."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert machine.cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_this_machine_is_described() -> None:
    """The processor has a name, and its instruction sets are some of those that matter."""
    assert machine.processor()
    assert set(machine.instruction_sets()) <= {*machine._TELLING, *machine._TELLING_ARM}


@pytest.mark.parametrize(
    ("cpuinfo", "name", "sets"),
    [
        (
            {"model name": "Xeon", "flags": XEON},
            "Xeon",
            ["sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni"],
        ),
        ({"model name": "Old", "flags": "fpu sse4_2"}, "Old", ["sse4_2"]),
        ({"model name": "Pi", "Features": "fp asimd asimddp crc32"}, "Pi", ["asimd", "asimddp"]),
    ],
)
def test_linux_is_asked_by_its_own_names(
    monkeypatch: pytest.MonkeyPatch, cpuinfo: dict[str, str], name: str, sets: list[str]
) -> None:
    """Processor and instruction sets are read from /proc/cpuinfo, on x86 and on ARM."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(machine, "_cpuinfo", lambda key: cpuinfo.get(key, ""))
    assert machine.processor() == name
    assert machine.instruction_sets() == sets


def test_a_machine_that_says_nothing_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc/cpuinfo the processor is named by its architecture."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(machine, "_cpuinfo", lambda key: "")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert machine.processor() == "riscv64"
    assert machine.instruction_sets() == []


def test_macos_is_asked_through_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS the processor's name and flags come from sysctl."""
    answers = {
        "machdep.cpu.brand_string": "Intel(R) Core(TM) i5",
        "machdep.cpu.features": "FPU FMA F16C",
        "machdep.cpu.leaf7_features": "AVX2",
    }
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(machine, "_sysctl", lambda name: answers[name])
    assert machine.processor() == "Intel(R) Core(TM) i5"
    assert machine.instruction_sets() == ["avx2", "f16c", "fma"]


def test_versions_are_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every installed library that can change a figure is listed with its version; others are left out."""
    monkeypatch.setattr(machine, "TOOLS", ("numpy", "no-such-distribution"))
    assert machine.tool_versions() == {"numpy": metadata.version("numpy")}
