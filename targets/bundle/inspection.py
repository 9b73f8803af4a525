"""What can be said of a bundle without its report: each function checks one thing and says what it found."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from udacimed_edge import __version__
from udacimed_edge.core.errors import EdgeError, GateRefusedError
from udacimed_edge.core.files import files_of, read_text, sha256_file
from udacimed_edge.runtime.reader import SUFFIXES
from udacimed_edge.targets.bundle.budgets import require_size
from udacimed_edge.targets.bundle.manifest import (
    MANIFEST,
    SIGNATURE,
    SUMS,
    UNLISTED,
    FileEntry,
    Manifest,
    read_manifest,
)
from udacimed_edge.targets.bundle.runner import NAME, build_runner
from udacimed_edge.targets.bundle.signing import verify
from udacimed_edge.targets.devices.profile import FormatChoice, Runner, load_profiles

__all__ = [
    "Contents",
    "NotCheckedError",
    "check_bom",
    "check_budgets",
    "check_device",
    "check_digests",
    "check_files",
    "check_manifest",
    "check_parts",
    "check_profile",
    "check_runner",
    "check_signature",
    "check_vectors",
    "check_wheels",
    "require",
]

_PARTS = {
    "START-HERE.txt", "report.json", "report.html", "model-card.md", "selftest/vectors.json", "bom.cdx.json"
}  # fmt: skip
"""What every bundle holds beside its artifact and `UNLISTED`."""
_RUNS, _INSTALLERS = {NAME, "requirements.txt"}, {"install.sh", "install.bat"}
_IN_AN_APP = {"README.md"}
_PICTURE, _WHEEL = re.compile(r"selftest/[0-9]+\.png"), re.compile(r"wheels/[A-Za-z0-9._+-]+\.whl")

_SUM = re.compile(r"([0-9a-f]{64})  (.+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


class NotCheckedError(EdgeError):
    """Something that cannot be evaluated here; it counts neither for the bundle nor against it."""


@dataclass(frozen=True)
class Contents:
    """A bundle's folder.

    Attributes:
        folder: It, without links and special files.
        public_key: minisign's public key, a file or its base64 line; None where nobody named one.
    """

    folder: Path
    public_key: str | None

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of every file as it is now, by its relative POSIX path."""
        files = files_of(self.folder)
        return {file.relative_to(self.folder).as_posix(): sha256_file(file) for file in files}

    @cached_property
    def sums(self) -> dict[str, str]:
        """SHA-256 of every file as SHA256SUMS lists it.

        Raises:
            GateRefusedError: It is no list of digests.
        """
        lines = read_text(self.folder / SUMS).splitlines()
        found = [match.groups() for line in lines if (match := _SUM.fullmatch(line))]
        listed = {name: digest for digest, name in found}
        require(len(listed) == len(lines), f"{SUMS} is not a list of digests, each file once")
        return listed

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest.

        Raises:
            InputError: It cannot be read.
        """
        return read_manifest(self.folder / MANIFEST)

    @property
    def artifact(self) -> Path:
        """The artifact."""
        return self.folder / self.manifest.artifact

    @property
    def runner(self) -> Runner | None:
        """What the device's runner needs; None where an app loads the model instead."""
        return self.manifest.profile.runner


def require(holds: bool, otherwise: str) -> None:
    """Go on, or refuse the bundle.

    Raises:
        GateRefusedError: It does not hold.
    """
    if not holds:
        raise GateRefusedError(otherwise)


def check_files(bundle: Contents) -> str:
    """Every file is listed, and every listed file is there."""
    there = bundle.digests.keys() - {SUMS, SIGNATURE}
    missing, extra = sorted(bundle.sums.keys() - there), sorted(there - bundle.sums.keys())
    require(not missing, f"missing: {', '.join(missing)}")
    require(not extra, f"not part of the bundle: {', '.join(extra)}")
    return f"{len(bundle.digests)}, none missing, none extra"


def check_digests(bundle: Contents) -> str:
    """Every file is as it was when the list was made."""
    changed = [name for name, digest in bundle.sums.items() if bundle.digests.get(name, digest) != digest]
    require(not changed, f"changed since it was packaged: {', '.join(changed)}")
    return f"{len(bundle.sums)} files are as {SUMS} lists them"


def check_signature(bundle: Contents) -> str:
    """Whoever holds the key signed the list of digests."""
    signed = SIGNATURE in bundle.digests
    if bundle.public_key is None:
        there = "there is one; verify it with --public-key" if signed else "the bundle is not signed"
        raise NotCheckedError(f"{there}. Without it, a bundle that was forged as a whole is not noticed")
    require(signed, f"there is no {SIGNATURE}: nobody signed this bundle")
    comment = verify(bundle.folder / SUMS, bundle.folder / SIGNATURE, bundle.public_key)
    return f"made with the named key over {SUMS}: {comment}"


def check_manifest(bundle: Contents) -> str:
    """The manifest is one, lists the same files, and speaks of the device it names."""
    manifest = bundle.manifest
    files = {
        name: FileEntry(sha256=digest, size_bytes=(bundle.folder / name).stat().st_size)
        for name, digest in bundle.digests.items()
        if name not in UNLISTED
    }
    names = files.keys() | manifest.files.keys()
    wrong = sorted(name for name in names if files.get(name) != manifest.files.get(name))
    require(not wrong, f"its list of files differs at {', '.join(wrong)}")
    name = f"{manifest.device}-{manifest.format}-{manifest.precision}"
    require(manifest.name == name, f"it names the bundle {manifest.name} and not {name}")
    require(manifest.profile.name == manifest.device, f"it describes another device, {manifest.profile.name}")
    return f"{name}, by udacimed-edge {manifest.toolkit_version}"


def check_parts(bundle: Contents) -> str:
    """It holds its artifact, what the device needs, and nothing else."""
    runs = bundle.runner is not None
    missing = sorted((_PARTS | (_RUNS if runs else _IN_AN_APP)) - bundle.digests.keys())
    require(not missing, f"missing: {', '.join(missing)}")
    require(
        not runs or bool(_INSTALLERS & bundle.digests.keys()), f"missing: {' or '.join(sorted(_INSTALLERS))}"
    )
    artifact = bundle.manifest.artifact
    format_ = SUFFIXES.get(Path(artifact).suffix)
    require(
        "/" not in artifact and format_ == bundle.manifest.format,
        f"{artifact!r} is no artifact of its format",
    )
    require(bundle.artifact.exists(), f"missing: {artifact}")
    model = {f.relative_to(bundle.folder).as_posix() for f in files_of(bundle.artifact)}
    known = UNLISTED | _PARTS | model | (_RUNS | _INSTALLERS if runs else _IN_AN_APP)
    rest = (name for name in bundle.digests if name not in known and not _PICTURE.fullmatch(name))
    other = sorted(name for name in rest if not (runs and _WHEEL.fullmatch(name)))
    require(not other, f"no bundle holds {', '.join(other)}")
    return "everything its device needs, and nothing else"


def check_device(bundle: Contents) -> str:
    """The device takes such an artifact, and one so large."""
    manifest, profile = bundle.manifest, bundle.manifest.profile
    choice = FormatChoice(format=manifest.format, precision=manifest.precision)
    item = f"{choice.format} {choice.precision}"
    require(choice in profile.formats, f"{profile.name} takes no {item}")
    size = require_size(bundle.artifact, profile)
    return f"{profile.name} takes {item}, and {size:.1f} of {profile.budget.size_mib:g} MiB"


def check_profile(bundle: Contents) -> str:
    """The device and its bounds are as this version knows them."""
    name = bundle.manifest.device
    known = load_profiles().get(name)
    if known is None:
        raise NotCheckedError(f"this version knows no device {name}; the bundle's own description was taken")
    if known != bundle.manifest.profile:
        raise NotCheckedError(
            f"this version describes {name} otherwise; the bundle's own description was taken"
        )
    return f"{name} is described as this version describes it"


def check_budgets(bundle: Contents) -> str:
    """What only the device can show."""
    how = (f"{name} {text}" for name, text in bundle.manifest.budgets.items() if name != "size_mib")
    found = "; ".join(how) or "not measured"
    raise NotCheckedError(f"memory and speed, which only the device shows. When it was packaged: {found}")


def check_vectors(bundle: Contents) -> str:
    """The self-test is the artifact's own."""
    vectors = _json(bundle, "selftest/vectors.json")
    require(vectors.get("artifact_sha256") == bundle.manifest.artifact_digest, "it is another artifact's")
    images = vectors.get("images")
    if not isinstance(images, list) or not images:
        raise GateRefusedError("it names no images")
    there = all(isinstance(name, str) and f"selftest/{name}" in bundle.digests for name in images)
    require(there, "it names images that are not in the bundle")
    return f"{len(images)} images, for this very artifact"


def check_bom(bundle: Contents) -> str:
    """The bill of materials is one, and the artifact's own."""
    bom = _json(bundle, "bom.cdx.json")
    require(bom.get("bomFormat") == "CycloneDX", "it is not a CycloneDX document")
    require(
        f'"{bundle.manifest.artifact_digest}"' in json.dumps(bom), "it does not name the artifact's digest"
    )
    return f"CycloneDX {bom.get('specVersion')}, names this very artifact"


def check_runner(bundle: Contents) -> str:
    """The program is the one that this version builds, byte for byte."""
    if bundle.runner is None:
        raise NotCheckedError(f"{bundle.manifest.device} has none: an app loads the model")
    with tempfile.TemporaryDirectory(prefix="udacimed-verify-") as place:
        ours = sha256_file(build_runner(Path(place)))
    if bundle.digests[NAME] == ours:
        return f"{NAME} is byte for byte what this version builds"
    version = bundle.manifest.toolkit_version
    require(version != __version__, f"{NAME} is not what udacimed-edge {__version__} builds")
    raise NotCheckedError(f"{NAME} was built by udacimed-edge {version}; this is {__version__}")


def check_wheels(bundle: Contents) -> str:
    """The wheels are those that will be installed, and for this device."""
    if bundle.runner is None:
        raise NotCheckedError(f"{bundle.manifest.device} installs none")
    wheels = {name: digest for name, digest in bundle.digests.items() if name.startswith("wheels/")}
    required = set(_HASH.findall(read_text(bundle.folder / "requirements.txt")))
    require(bool(wheels), "there are none")
    unpinned = sorted(name for name, digest in wheels.items() if digest not in required)
    require(not unpinned, f"requirements.txt does not pin {', '.join(unpinned)}")
    lost = len(required - set(wheels.values()))
    require(not lost, f"{lost} that requirements.txt pins are not there")
    foreign = sorted(name for name in wheels if not _is_for(bundle.runner, name))
    require(not foreign, f"not for {bundle.manifest.device}: {', '.join(foreign)}")
    wanted = {_distribution(name) for name in bundle.runner.requirements[bundle.manifest.format]}
    found = {_distribution(name.removeprefix("wheels/")) for name in wheels}
    require(found == wanted, f"it needs {', '.join(sorted(wanted))} and holds {', '.join(sorted(found))}")
    machine = bundle.manifest.profile.architecture
    return f"{', '.join(sorted(found))}: {len(wheels)} wheels, pinned, for {machine}"


def _distribution(text: str) -> str:
    """The name that a requirement or a wheel's file name begins with, as indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~]|-(?=[0-9])", text)[0]).lower()


def _is_for(runner: Runner, name: str) -> bool:
    """Whether a wheel's name ends in tags of the device (PyPA, "Binary distribution format")."""
    *front, python, abi, platform = ["", "", "", *name.removesuffix(".whl").split("-")]
    if len(front) < 5:  # distribution and version, and the three above
        return False
    pythons = {f"cp{version.replace('.', '')}" for version in runner.python} | {"py3"}
    fits = bool(pythons & {*python.split(".")}) or abi == "abi3"
    return fits and bool({*runner.platforms, "any"} & {*platform.split(".")})


def _json(bundle: Contents, name: str) -> dict[str, Any]:
    try:
        content = json.loads(read_text(bundle.folder / name))
    except (ValueError, RecursionError) as error:
        raise GateRefusedError(f"{name} is not JSON: {error}") from error
    require(isinstance(content, dict), f"{name} is not a JSON object")
    return dict(content)
