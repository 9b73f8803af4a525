"""What computes here: processor, instruction sets, library versions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from udacimed_edge.runtime.formats import FORMATS

__all__ = ["TOOLS", "cores", "instruction_sets", "processor", "tool_versions"]

_OF_FORMATS = (module.replace("_", "-") for row in FORMATS.values() for module in row.modules)

TOOLS = tuple(
    dict.fromkeys(("udacimed-edge", "torch", "torchvision", "onnx", *_OF_FORMATS, "numpy", "pillow", "scipy"))
)
"""The distributions whose version can change an artifact or a figure; a format's are named as its modules."""

_TELLING = (
    "sse4_2",
    "avx",
    "avx2",
    "f16c",
    "fma",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
)
_TELLING_ARM = ("asimd", "fphp", "asimdhp", "asimddp", "i8mm", "bf16", "sve")


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as the operating system prints it."""
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.machine()
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """The instruction sets that decide how INT8 and float are computed, as Linux names them."""
    if sys.platform == "darwin":
        listed = f"{_sysctl('machdep.cpu.features')} {_sysctl('machdep.cpu.leaf7_features')}".lower()
        flags = listed.replace("avx1.0", "avx").replace(".", "_").split()
    else:
        flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    return [flag for flag in (*_TELLING, *_TELLING_ARM) if flag in flags]


def tool_versions() -> dict[str, str]:
    """Version of each distribution in `TOOLS` that is installed."""
    versions = {}
    for name in TOOLS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next(
        (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), ""
    )


def _sysctl(name: str) -> str:
    found = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
    return found.stdout.strip()
