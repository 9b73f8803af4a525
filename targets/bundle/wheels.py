"""The wheels a device installs from: fetched by pip for that device, pinned, hashed."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.core.files import output_errors, sha256_file
from udacimed_edge.targets.devices.profile import Runner

__all__ = [
    "NOT_A_WHEEL",
    "Wheel",
    "declared",
    "fetch_wheels",
    "pin",
    "requirements_text",
    "wheel_metadata",
]

_MAX_METADATA_BYTES = 1 << 20
_MAX_LIST_BYTES = 16 << 20
"""Most that a wheel's list of members may weigh; openvino's weighs 100 kB."""


@dataclass(frozen=True)
class Wheel:
    """A wheel, as its file's name and its METADATA describe it.

    Attributes:
        name: Normalised.
        version: Its version.
        sha256: Of the file.
        file: The file's name.
        licence: As stated; empty where none is.
        supplier: Its author or maintainer, as stated; empty where none is.
    """

    name: str
    version: str
    sha256: str
    file: str
    licence: str = ""
    supplier: str = ""


def pin(requirements: Sequence[str], validated: Mapping[str, str]) -> tuple[str, ...]:
    """Requirements with the versions that the artifact was validated with.

    Args:
        requirements: The device's, for example ("numpy", "onnxruntime>=1.20").
        validated: Version by distribution, from the report. What it does not name is taken as installed
            here, where the self-test's answers are computed; else pip takes the newest.
    """
    known = {_normal(name): version for name, version in validated.items()}
    pinned = []
    for requirement in requirements:
        name, bounds = re.fullmatch(r"([A-Za-z0-9._-]*[A-Za-z0-9])(.*)", requirement).groups()  # type: ignore[union-attr]
        version = known.get(_normal(name)) or _installed(name)
        exact = f"=={version}" if version else ""
        pinned.append(f"{name}{','.join(filter(None, (bounds, exact)))}")
    return tuple(pinned)


def fetch_wheels(
    runner: Runner, pinned: Sequence[str], into: Path, source: Path | None = None
) -> tuple[Wheel, ...]:
    """Fetch the wheels for each Python of a device, whatever machine this is.

    Nothing that they depend on is fetched: pip would evaluate the conditions of dependencies for this
    machine, and openvino's wheel asks for a package that reports its use over the network.

    Args:
        runner: What the device accepts.
        pinned: From `pin`.
        into: The folder for the wheels.
        source: A folder to take them from instead of the network.

    Raises:
        InputError: pip is missing, there is no such wheel, or the network is away.
        OutputError: The folder cannot be made, or the disk is full.
    """
    if source is not None and not source.is_dir():
        raise InputError(f"there is no folder of wheels at {source}", "name another with --wheels")
    with output_errors(into):
        into.mkdir(parents=True, exist_ok=True)
    offline = ["--no-index", "--find-links", str(source)] if source else []
    for python in runner.python:
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--dest", str(into)]
        command = [sys.executable, "-m", "pip", "download", *options, *offline, *runner.pip_options(python)]
        ended = subprocess.run([*command, *pinned], capture_output=True, text=True, check=False)
        if ended.returncode:
            if "[Errno 28]" in ended.stderr:  # ENOSPC, here or where pip keeps what it downloads
                raise OutputError(
                    f"cannot write {into}: pip found no space left on the disk",
                    "free some space there and in the temporary folder, or name another folder with --out",
                )
            raise _refusal(ended.stderr, runner, python, source)
    return tuple(_wheel(file) for file in sorted(into.glob("*.whl")))


def requirements_text(wheels: Sequence[Wheel]) -> str:
    """What `pip install --require-hashes -r` reads: each distribution once, with a hash for each wheel."""
    hashes: dict[str, list[str]] = {}
    for wheel in wheels:
        hashes.setdefault(f"{wheel.name}=={wheel.version}", []).append(f"--hash=sha256:{wheel.sha256}")
    return "".join(f"{' '.join([line, *sorted(hashes[line])])}\n" for line in sorted(hashes))


def _wheel(file: Path) -> Wheel:
    """Name and version are the first two parts of a wheel's file name (PyPA, binary distribution format)."""
    name, version = file.name.split("-")[:2]
    return Wheel(_normal(name), version, sha256_file(file), file.name, *declared(file))


def declared(path: Path) -> tuple[str, str]:
    """Licence and supplier that a wheel states, each in one line; empty where it does not."""
    try:
        fields = wheel_metadata(path)
    except NOT_A_WHEEL:
        return "", ""
    classes = [c.split(" :: ")[-1] for c in fields.get_all("Classifier", []) if c.startswith("License ::")]
    licences = [fields.get("License-Expression"), "; ".join(classes), fields.get("License")]
    people = [fields.get(name) for name in ("Author", "Author-email", "Maintainer", "Maintainer-email")]
    return _first(licences), _first(people)


def _first(stated: Sequence[object]) -> str:
    """The first that says anything, in one line of at most 200 characters."""
    lines = (" ".join(str(text or "").split())[:200] for text in stated)
    return next((line for line in lines if line), "")


NOT_A_WHEEL = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, KeyError, EOFError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What reading a file as a wheel raises where it is none."""


def wheel_metadata(path: Path) -> Message:
    """A wheel's METADATA, read within bounds.

    Raises:
        Exception: One of `NOT_A_WHEEL`.
    """
    return HeaderParser().parsestr(_metadata_text(path))


def _metadata_text(path: Path) -> str:
    """A wheel's METADATA, read within bounds."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 22 - 0xFFFF))
        tail = stream.read()
        at = tail.rfind(b"PK\5\6")
        is_zip64 = tail[max(0, at - 20) :].startswith(b"PK\6\7")
        if at < 0 or is_zip64 or struct.unpack_from("<I", tail, at + 12)[0] > _MAX_LIST_BYTES:
            raise ValueError("no zip, or its list is too long")
        with zipfile.ZipFile(stream) as wheel:
            names = [n for n in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
            if len(names) != 1:
                raise ValueError(f"{len(names)} METADATA in it")
            with wheel.open(names[0]) as member:
                return member.read(_MAX_METADATA_BYTES).decode("utf-8", "replace")


def _normal(name: str) -> str:
    """A distribution's name as indexes compare it (PyPA, name normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _refusal(stderr: str, runner: Runner, python: str, source: Path | None) -> InputError:
    """What pip said, in words that name the wheel, the Python and the way out."""
    device = f"Python {python} on {runner.platforms[0]}"
    place = f"in {source}" if source else "on the package index"
    if missing := re.search(r"No matching distribution found for (\S+)", stderr):
        if source is None and re.search(r"NewConnectionError|ConnectionError|Retrying", stderr):
            return InputError(
                f"the wheel of {missing[1]} for {device} cannot be fetched: there is no network",
                "connect, or name a folder that holds the wheels with --wheels (an older bundle's, say)",
            )
        return InputError(
            f"there is no wheel of {missing[1]} for {device} {place}",
            "an artifact ships with what it was validated with: install another version here, validate the "
            "artifact again and package it then; or name a folder that holds the wheel with --wheels",
        )
    lines = [line for line in stderr.splitlines() if line.strip()] or ["it said nothing"]
    return InputError(
        f"pip could not fetch the wheels for {device}: {lines[-1].removeprefix('ERROR: ')}",
        "look at the network and pip's settings, or name a folder that holds the wheels with --wheels",
    )
