"""Whether wheels are what a bundle's requirements, device and report call for, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.core.files import read_text
from udacimed_edge.targets.bundle.inspection import Contents, NotCheckedError, require
from udacimed_edge.targets.bundle.wheels import (
    NOT_A_WHEEL,
    Wheel,
    declared,
    requirements_text,
    wheel_metadata,
)
from udacimed_edge.targets.devices.profile import Runner

__all__ = ["check_wheels", "wheels_in"]

_NAME = re.compile(
    r"wheels/[A-Za-z0-9]([A-Za-z0-9._]*[A-Za-z0-9])?-[A-Za-z0-9._+!]+(-[0-9][A-Za-z0-9_]*)?"
    r"-[a-z0-9_.]+-[a-z0-9_.]+-[a-z0-9_.]+\.whl"
)
"""A wheel's file name (PyPA, binary distribution format)."""


def wheels_in(bundle: Contents) -> tuple[Wheel, ...]:
    """The bundle's wheels, sorted by name, as their file names describe them.

    Raises:
        GateRefusedError: A file in the folder has no wheel's name.
    """
    found = []
    for path in sorted(name for name in bundle.names if name.startswith("wheels/")):
        require(bool(_NAME.fullmatch(path)), f"{path} is not named as wheels are")
        name, version = path.removeprefix("wheels/").split("-")[:2]
        file, told = path.removeprefix("wheels/"), declared(bundle.folder / path)
        found.append(Wheel(_normal(name), version, bundle.digests[path], file, *told))
    return tuple(found)


def check_wheels(bundle: Contents, tools: Mapping[str, str]) -> str:
    """The wheels are those that will be installed, for this device, and what the artifact was judged with.

    Args:
        bundle: The bundle.
        tools: Version by distribution that the artifact was validated with.
    """
    if bundle.runner is None:
        raise NotCheckedError(f"{bundle.manifest.device} installs none")
    wheels = wheels_in(bundle)
    require(bool(wheels), "there are none")
    pinned = requirements_text(wheels) == read_text(bundle.folder / "requirements.txt")
    require(pinned, "requirements.txt does not pin these wheels by their digests, and nothing else")
    versions: dict[str, str] = {}
    for wheel in wheels:
        other = versions.setdefault(wheel.name, wheel.version)
        require(other == wheel.version, f"{wheel.name} is there in the versions {other} and {wheel.version}")
        _require_named_truly(bundle.folder / "wheels" / wheel.file, wheel)
    known = {_normal(name): version for name, version in tools.items()}
    newer = [n for n, version in versions.items() if known.get(n, version) != version]
    require(not newer, f"not in the version that the artifact was validated with: {', '.join(newer)}")
    wanted = {_distribution(name) for name in bundle.runner.requirements[bundle.manifest.format]}
    there = ", ".join(sorted(versions))
    require(versions.keys() == wanted, f"it needs {', '.join(sorted(wanted))} and holds {there}")
    _require_for_device(bundle.runner, bundle.manifest.device, wheels)
    return f"{there}: {len(wheels)} wheels, pinned, for {bundle.manifest.profile.architecture}"


def _require_for_device(runner: Runner, device: str, wheels: tuple[Wheel, ...]) -> None:
    """Make sure that each wheel is for the device, and that each of its Pythons has one of each name.

    Raises:
        GateRefusedError: One is not, or one is missing.
    """
    foreign = sorted(w.file for w in wheels if not any(_is_for(runner, p, w.file) for p in runner.python))
    require(not foreign, f"not for {device}: {', '.join(foreign)}")
    for python in runner.python:
        for name in sorted({wheel.name for wheel in wheels}):
            fitting = [w.file for w in wheels if w.name == name and _is_for(runner, python, w.file)]
            require(bool(fitting), f"there is no wheel of {name} for Python {python}")


def _normal(name: str) -> str:
    """A distribution's name as indexes compare it (PyPA, name normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution(requirement: str) -> str:
    """The name that a requirement begins with."""
    return _normal(re.split(r"[<>=!~]", requirement)[0].strip())


def _is_for(runner: Runner, python: str, file: str) -> bool:
    """Whether a wheel's name ends in tags of the device and one of its Pythons."""
    tag, abi, platform = file.removesuffix(".whl").split("-")[-3:]
    named = {f"cp{python.replace('.', '')}", "py3"} & {*tag.split(".")}
    fits = bool(named) or "abi3" in abi.split(".")
    return fits and bool({*runner.platforms, "any"} & {*platform.split(".")})


def _require_named_truly(path: Path, wheel: Wheel) -> None:
    """Make sure that a wheel is of the name and version that its file's name says.

    Raises:
        GateRefusedError: It is another's, or no wheel.
    """
    try:
        fields = wheel_metadata(path)
    except NOT_A_WHEEL as error:
        raise GateRefusedError(f"{wheel.file} is not a wheel: {str(error)[:100]}") from error
    told = (_normal(str(fields["Name"])), str(fields["Version"]).replace("-", "_"))
    require(
        told == (wheel.name, wheel.version),
        f"{wheel.file} holds {told[0][:60]} {told[1][:60]}, not what it says",
    )
