"""What a bundle says about itself: one device, one artifact, one report, and every file by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import files_of, sha256_file, write_atomic
from udacimed_edge.core.json_reader import read_json, validated
from udacimed_edge.targets.bundle.spec import BundleSpec, marked
from udacimed_edge.targets.devices.profile import DeviceProfile, Target

__all__ = [
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "SIGNATURE",
    "SUMS",
    "UNLISTED",
    "FileEntry",
    "Manifest",
    "list_files",
    "manifest_of",
    "manifest_text",
    "read_manifest",
    "sums_text",
    "write_manifest",
    "write_sums",
]

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.minisig"
UNLISTED = frozenset({MANIFEST, SUMS, SIGNATURE})
"""Files of a bundle that its manifest cannot list, because they are made from it."""

MAX_MANIFEST_BYTES = 1 << 20
"""Most that a manifest may weigh; one of 60 files weighs 10 kB."""

_WHAT = "a bundle's manifest"
_FIRST = ("0.1.0",)
"""The versions of udacimed-edge whose manifests have version 1."""

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _ManifestPart(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        serialize_by_alias=True,
    )


class FileEntry(_ManifestPart):
    """One file of a bundle."""

    sha256: _Digest
    size_bytes: int = Field(ge=0)


class Manifest(_ManifestPart):
    """A bundle in one file.

    Attributes:
        schema_version: The version of this form; 1 is udacimed-edge 0.1.0's, which does not have the
            last three before `files`.
        name: The bundle's folder: device, format and precision joined by hyphens.
        notice: The limit of use; begins with REHEARSAL where the artifact passed a rehearsal only.
        device: Name of the device.
        profile: The whole device, as it was when this was packaged.
        format: The artifact's; "target" in JSON.
        precision: Its precision.
        rehearsal: True where no patient is in the data that judged: then the bundle is no evidence.
        toolkit_version: The version of udacimed-edge that packaged.
        created: When the report was, UTC, ISO 8601: the same inputs give the same bundle.
        artifact: Name of the artifact's file or folder.
        artifact_digest: As in the report.
        source_digest: SHA-256 of the model it was made from.
        threshold: Decision threshold on the probability of pneumonia.
        policy_digest: Of the policy's bounds.
        report_digest: The report's own digest.
        budgets: By the name of each budget: what was checked and where, in words; figures that differ from
            run to run are left out.
        contact: Name and telephone of the person to call; empty for a line to be filled in by hand.
        signed: Whether it was signed when it was packaged.
        renderers: By name, the version of what its pages were written and drawn with.
        files: Every file but `UNLISTED`, by its path relative to the bundle's folder, in POSIX form.
    """

    schema_version: Literal[1, 2] = 2
    name: str = Field(min_length=1)
    notice: str
    device: str
    profile: DeviceProfile
    format: Target = Field(validation_alias="target", serialization_alias="target")
    precision: Precision
    rehearsal: bool
    toolkit_version: str
    created: str
    artifact: str = Field(min_length=1)
    artifact_digest: _Digest
    source_digest: str
    threshold: float = Field(gt=0, lt=1)
    policy_digest: _Digest
    report_digest: _Digest
    budgets: dict[str, str]
    contact: str = Field(default="", max_length=400)
    signed: bool = False
    renderers: dict[str, str] = Field(default_factory=dict)
    files: dict[str, FileEntry]


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Every file below a bundle's folder but `UNLISTED`, sorted by its relative POSIX path.

    Raises:
        InputError: One of them cannot be read.
    """
    entries = {
        file.relative_to(folder).as_posix(): FileEntry(
            sha256=sha256_file(file), size_bytes=file.stat().st_size
        )
        for file in files_of(folder)
    }
    return {name: entries[name] for name in sorted(entries) if name not in UNLISTED}


def manifest_of(spec: BundleSpec, renderers: Mapping[str, str], files: Mapping[str, FileEntry]) -> Manifest:
    """The manifest of a bundle.

    Args:
        spec: What the bundle is made from.
        renderers: By name, the version of what its pages were written and drawn with.
        files: From `list_files`.
    """
    return Manifest(
        name=spec.name,
        notice=marked(spec.report, spec.notice),
        device=spec.profile.name,
        profile=spec.profile,
        format=spec.format,
        precision=spec.precision,
        rehearsal=spec.rehearsal,
        toolkit_version=spec.toolkit_version,
        created=spec.created,
        artifact=spec.artifact,
        artifact_digest=spec.artifact_digest,
        source_digest=spec.report.source.digest,
        threshold=spec.threshold,
        policy_digest=spec.report.policy.digest,
        report_digest=spec.report.report_digest,
        budgets=dict(spec.budgets),
        contact=spec.contact,
        signed=spec.signed,
        renderers=dict(renderers),
        files=dict(files),
    )


def manifest_text(manifest: Manifest) -> str:
    """The manifest as JSON."""
    return f"{manifest.model_dump_json(indent=1)}\n"


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it into a bundle's folder.

    Raises:
        OutputError: It cannot be written.
    """
    write_atomic(folder / MANIFEST, manifest_text(manifest).encode())


def sums_text(digests: Mapping[str, str]) -> str:
    """Digests by path as `sha256sum` prints them, sorted by path."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def write_sums(folder: Path) -> Path:
    """Write the digests of all files, the manifest's too, as `sha256sum` prints them, sorted by path.

    Raises:
        InputError: A file cannot be read.
        OutputError: The list cannot be written.
    """
    digests = {name: entry.sha256 for name, entry in list_files(folder).items()}
    digests[MANIFEST] = sha256_file(folder / MANIFEST)
    write_atomic(folder / SUMS, sums_text(digests).encode())
    return folder / SUMS


def read_manifest(path: Path) -> Manifest:
    """Read a bundle's manifest.

    Raises:
        InputError: Missing, not a manifest, or of another version.
    """
    content, text = read_json(path, _WHAT, MAX_MANIFEST_BYTES)
    version = content.get("schema_version")
    if version not in (1, 2):
        raise InputError(
            f"{path} is a manifest of version {str(version)[:40]}; this udacimed-edge reads versions 1 and 2"
        )
    manifest = validated(Manifest, text, path, _WHAT)
    if version == 1 and (
        manifest.signed or manifest.renderers or manifest.contact or manifest.toolkit_version not in _FIRST
    ):
        raise InputError(f"{path} is not {_WHAT}: version 1 is that of udacimed-edge {', '.join(_FIRST)}")
    return manifest
