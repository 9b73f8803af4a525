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
from udacimed_edge.core.data import open_data
from udacimed_edge.core.errors import EdgeError, GateRefusedError
from udacimed_edge.core.files import files_of, read_text, sha256_file, size_bytes
from udacimed_edge.core.json_reader import read_json
from udacimed_edge.runtime import image
from udacimed_edge.runtime.reader import SUFFIXES
from udacimed_edge.targets.bundle.archive import is_as_written
from udacimed_edge.targets.bundle.bom import BOM
from udacimed_edge.targets.bundle.budgets import possible_budgets, require_size
from udacimed_edge.targets.bundle.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    SUMS,
    UNLISTED,
    FileEntry,
    Manifest,
    read_manifest,
    sums_text,
)
from udacimed_edge.targets.bundle.runner import NAME, build_runner
from udacimed_edge.targets.bundle.signing import PublicKey, verify
from udacimed_edge.targets.bundle.vectors import POOL, VECTORS, image_names, tolerance_for, vector_fields
from udacimed_edge.targets.devices.profile import FormatChoice, Runner, load_profiles
from udacimed_edge.validation.report import Report

__all__ = [
    "MADE_AGAIN",
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
    "check_zip",
    "require",
]

_PARTS = {
    "START-HERE.txt", "report.json", "report.html", "model-card.md", "selftest/vectors.json", "bom.cdx.json"
}  # fmt: skip
"""What every bundle holds beside its artifact and `UNLISTED`."""
_RUNS, _INSTALLERS = {NAME, "requirements.txt"}, {"install.sh", "install.bat"}
_IN_AN_APP = {"README.md"}
MADE_AGAIN = frozenset({"README.md", "requirements.txt", *_INSTALLERS})
"""What only some devices' bundles hold of what can be made again."""
_PICTURE, _WHEEL = re.compile(r"selftest/[0-9]+\.png"), re.compile(r"wheels/[A-Za-z0-9._+-]+\.whl")

_SUM = re.compile(r"([0-9a-f]{64})  (.+)")


class NotCheckedError(EdgeError):
    """Something that cannot be evaluated here; it counts neither for the bundle nor against it."""


@dataclass(frozen=True)
class Contents:
    """A bundle's folder.

    Attributes:
        folder: It, without links and special files.
        public_key: Who must have signed it; None where nobody named one.
        archive: The zip that the folder was unpacked from; None where it is a folder.
    """

    folder: Path
    public_key: PublicKey | None
    archive: Path | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        """The relative POSIX path of every file."""
        return frozenset(file.relative_to(self.folder).as_posix() for file in files_of(self.folder))

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of every file as it is now, by its relative POSIX path."""
        return {name: sha256_file(self.folder / name) for name in sorted(self.names)}

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

    @cached_property
    def vectors(self) -> dict[str, Any]:
        """The self-test.

        Raises:
            InputError: It cannot be read.
        """
        return read_json(self.folder / VECTORS / "vectors.json", "a self-test", MAX_MANIFEST_BYTES)[0]

    @property
    def artifact(self) -> Path:
        """The artifact's place inside the bundle."""
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


def check_zip(bundle: Contents) -> str:
    """The zip is the one that its writer makes of these files."""
    if bundle.archive is None:
        raise NotCheckedError("this is a folder; its zip is checked when it is named instead")
    written = is_as_written(bundle.archive, bundle.folder)
    if not written and bundle.manifest.schema_version == 1:
        # what was read was put together again from its headers, and came to the same bytes
        return "packed again by another program, without a byte that belongs to no listed file"
    require(written, "packing its files again does not give the same zip: another program packed it")
    name = bundle.folder.name
    require(name == bundle.manifest.name, f"its folder is called {name}, the bundle {bundle.manifest.name}")
    return "packing its files again gives the same zip, byte for byte"


def check_files(bundle: Contents) -> str:
    """Every file is listed, and every listed file is there."""
    there = bundle.names - {SUMS, SIGNATURE}
    missing, extra = sorted(bundle.sums.keys() - there), sorted(there - bundle.sums.keys())
    require(not missing, f"missing: {', '.join(missing)}")
    require(not extra, f"not part of the bundle: {', '.join(extra)}")
    return f"{len(bundle.names)}, none missing, none extra"


def check_digests(bundle: Contents) -> str:
    """Every file is as it was when the list was made."""
    changed = [name for name, digest in bundle.sums.items() if bundle.digests.get(name, digest) != digest]
    require(not changed, f"changed since it was packaged: {', '.join(changed)}")
    canonical = sums_text(bundle.sums) == read_text(bundle.folder / SUMS)
    require(canonical, f"{SUMS} is not as its writer writes it")
    return f"{len(bundle.sums)} files are as {SUMS} lists them"


def check_signature(bundle: Contents) -> str:
    """Whoever holds the key signed the list of digests."""
    signed = SIGNATURE in bundle.names
    require(signed or not bundle.manifest.signed, f"it was signed, and {SIGNATURE} was taken away")
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
    """What only the device can show, in the words that the writer has for it."""
    manifest = bundle.manifest
    size = size_bytes(bundle.artifact) / 2**20
    known = possible_budgets(manifest.profile, size, is_coreml=manifest.format == "coreml")
    wrong = sorted(name for name, text in manifest.budgets.items() if text not in known.get(name, ()))
    missing = sorted(known.keys() - manifest.budgets.keys())
    require(not wrong and not missing, f"no such finding is written: {', '.join(wrong or missing)[:80]}")
    how = (f"{name} {text}" for name, text in bundle.manifest.budgets.items() if name != "size_mib")
    found = "; ".join(how) or "not measured"
    raise NotCheckedError(f"memory and speed, which only the device shows. When it was packaged: {found}")


def check_vectors(bundle: Contents, report: Report) -> str:
    """The self-test is the artifact's own, whole, and as strict as it has to be."""
    vectors, names = bundle.vectors, image_names()
    require(vectors.get("artifact_sha256") == bundle.manifest.artifact_digest, "it is another artifact's")
    require(vectors.get("images") == names, f"it does not name the {len(names)} images of a self-test")
    there = {name for name in bundle.digests if name.startswith(f"{VECTORS}/")}
    expected = {f"{VECTORS}/{name}" for name in (*names, "vectors.json")}
    require(there == expected, f"missing or too much: {', '.join(sorted(there ^ expected))}")
    wrong = [name for name, value in vector_fields(report).items() if vectors.get(name) != value]
    require(not wrong, f"{', '.join(wrong)} are not what the report gives")
    tolerance, threshold = tolerance_for(report)[0], report.threshold
    answers = vectors.get("probabilities")
    require(_are_probabilities(answers, len(names)), f"it does not name {len(names)} probabilities")
    near = [p for p in answers or () if abs(p - threshold) <= tolerance]
    require(not near, f"{len(near)} answers lie within the tolerance of the threshold")
    more = vectors.keys() - {*vector_fields(report), "computed_by", "images", "probabilities"}
    require(not more, f"it says more than a self-test does: {', '.join(sorted(more))[:80]}")
    require(isinstance(vectors.get("computed_by"), str), "it does not say what computed its answers")
    _require_our_radiographs(bundle, names)
    return f"{len(names)} images, for this very artifact, tolerance {tolerance:g}"


def _are_probabilities(answers: object, count: int) -> bool:
    return (
        isinstance(answers, list)
        and len(answers) == count
        and all(isinstance(answer, float) and 0 <= answer <= 1 for answer in answers)
    )


def _require_our_radiographs(bundle: Contents, names: list[str]) -> None:
    """Make sure that the images are those that every self-test is chosen from, each once and in order.

    Raises:
        GateRefusedError: One is another picture.
    """
    pool = [image.tobytes() for image in open_data("synthetic").read("test").images[:POOL]]
    found = []
    for name in names:
        try:
            pixels = image.load(bundle.folder / VECTORS / name).pixels.tobytes()
        except (image.ImageError, OSError) as error:
            raise GateRefusedError(f"{name} cannot be read: {error}") from error
        require(pixels in pool, f"{name} is none of the synthetic radiographs")
        found.append(pool.index(pixels))
    require(found == sorted(set(found)), "its images are not in order, each once")


def check_bom(bundle: Contents) -> str:
    """The bill of materials is one, and the artifact's own."""
    bom, _ = read_json(bundle.folder / BOM, "a bill of materials")
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
