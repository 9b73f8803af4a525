"""Whether an artifact stays within a device's budgets, as far as this machine can tell."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.core.files import size_bytes
from udacimed_edge.targets.bundle.selftest_process import SelftestMeasurement
from udacimed_edge.targets.bundle.vectors import VECTORS
from udacimed_edge.targets.devices.profile import DeviceProfile

__all__ = ["Budgets", "check_budgets", "measure", "possible_budgets", "require_size"]

_HERE = "on the machine that packaged, not on the device"
_ELSEWHERE = "not checked: Core ML runs on Apple devices; measure it there"
_NOT_COMPARABLE = "not checked: an app's memory is not a program's, and not every system tells"
_MEASURED = ("latency_ms", "images_per_second", "ram_mib")


@dataclass(frozen=True)
class Budgets:
    """What came of them: `how`, by budget, is the same in every run; `shown` has the figures of this one."""

    how: dict[str, str]
    shown: tuple[str, ...]


def require_size(artifact: Path, profile: DeviceProfile) -> float:
    """The artifact's size in MiB, all its files together.

    Raises:
        GateRefusedError: It is larger than the device's budget.
    """
    mib = size_bytes(artifact) / 2**20
    if mib > profile.budget.size_mib:
        raise GateRefusedError(
            f"{artifact} weighs {mib:.1f} MiB, and {profile.name} allows {profile.budget.size_mib:g}",
            f"take an artifact that suits it: udacimed-edge convert --target {profile.name}",
        )
    return mib


def measure(artifact: Path, folder: Path) -> SelftestMeasurement:
    """Run a bundle's self-test in a process of its own, with the code that ships.

    Args:
        artifact: In the bundle's folder.
        folder: The bundle's, its self-test in it.

    Raises:
        GateRefusedError: The self-test fails on this very machine, or its process died.
    """
    command = [sys.executable, "-m", "udacimed_edge.targets.bundle.selftest_process"]
    command += [str(artifact.resolve()), str((folder / VECTORS).resolve())]
    # in the bundle's folder, which holds no Python file that could stand for one of the libraries
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise GateRefusedError(f"the self-test of {artifact.name} did not end: {reason}")
    measured = SelftestMeasurement(**json.loads(ended.stdout.splitlines()[-1]))
    if not measured.passed:
        raise GateRefusedError(f"the self-test of {artifact.name} fails on this machine: {measured.selftest}")
    return measured


def check_budgets(profile: DeviceProfile, size_mib: float, measured: SelftestMeasurement | None) -> Budgets:
    """Compare with what the device allows.

    Args:
        profile: The device.
        size_mib: From `require_size`.
        measured: None where the artifact's runtime does not run here.

    Raises:
        GateRefusedError: A budget is broken; the message names each.
    """
    size = f"held: {size_mib:.1f} of {profile.budget.size_mib:g} MiB"
    if measured is None:
        how = {"size_mib": size, **dict.fromkeys(_MEASURED, _ELSEWHERE)}
        return Budgets(how, tuple(f"{name}: {text}" for name, text in how.items()))
    findings = _findings(profile, measured)
    if broken := [f"{f.name} {f.figure}, allowed {f.bound}" for f in findings if f.broken]:
        raise GateRefusedError(
            f"{profile.name} is too small for it, measured {_HERE}: {'; '.join(broken)}",
            "take another format or precision, or a larger device",
        )
    how = {"size_mib": size, **dict.fromkeys(_MEASURED, _NOT_COMPARABLE)}
    how |= {f.name: f"held {_HERE}: {f.bound}" for f in findings}
    figures = (f"{f.name}: {f.figure}, allowed {f.bound}" for f in findings)
    return Budgets(how, (f"size_mib: {size}", *figures, f"measured {_HERE}; self-test: {measured.selftest}"))


def possible_budgets(profile: DeviceProfile, size_mib: float, is_coreml: bool) -> dict[str, tuple[str, ...]]:
    """All that `check_budgets` can say of each budget of an artifact that is within them.

    Args:
        profile: The device.
        size_mib: The artifact's size.
        is_coreml: Whether it runs on Apple devices alone.
    """
    size = f"held: {size_mib:.1f} of {profile.budget.size_mib:g} MiB"
    if is_coreml:
        return {"size_mib": (size,), **dict.fromkeys(_MEASURED, (_ELSEWHERE,))}
    allowed = profile.budget
    bounds = {
        "latency_ms": f"at most {allowed.latency_ms:g}",
        "images_per_second": f"at least {allowed.images_per_second:g}",
        "ram_mib": f"at most {allowed.ram_mib:g}",
    }
    held = {name: (f"held {_HERE}: {bound}",) for name, bound in bounds.items()}
    ram = (_NOT_COMPARABLE,) if profile.runner is None else (*held["ram_mib"], _NOT_COMPARABLE)
    return {"size_mib": (size,), **held, "ram_mib": ram}


@dataclass(frozen=True)
class _Finding:
    name: str
    figure: str
    bound: str
    broken: bool


def _findings(profile: DeviceProfile, measured: SelftestMeasurement) -> list[_Finding]:
    """Each budget that can be compared here; the memory of Python tells nothing about an app's."""
    allowed, rate, ram = profile.budget, measured.images_per_second, measured.ram_mib
    found = [
        _Finding(
            "latency_ms",
            f"{measured.latency_ms:.2f} ms",
            f"at most {allowed.latency_ms:g}",
            measured.latency_ms > allowed.latency_ms,
        ),
        _Finding(
            "images_per_second",
            f"{rate:.0f} small pictures",
            f"at least {allowed.images_per_second:g}",
            rate < allowed.images_per_second,
        ),
    ]
    if profile.runner is not None and ram is not None:
        found.append(
            _Finding("ram_mib", f"{ram:.0f} MiB", f"at most {allowed.ram_mib:g}", ram > allowed.ram_mib)
        )
    return found
