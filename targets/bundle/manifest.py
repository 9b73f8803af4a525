"""What a bundle says about itself: one device, one artifact, one report, and every file by its digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import files_of, read_text, sha256_file, write_atomic
from udacimed_edge.targets.devices.profile import DeviceProfile, Target

__all__ = [
    "MANIFEST",
    "SIGNATURE",
    "SUMS",
    "UNLISTED",
    "FileEntry",
    "Manifest",
    "list_files",
    "read_manifest",
    "write_manifest",
    "write_sums",
]

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.minisig"
UNLISTED = frozenset({MANIFEST, SUMS, SIGNATURE})
"""Files of a bundle that its manifest cannot list, because they are made from it."""

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
        schema_version: The version of this form.
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
        files: Every file but `UNLISTED`, by its path relative to the bundle's folder, in POSIX form.
    """

    schema_version: Literal[1] = 1
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


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it into a bundle's folder.

    Raises:
        OutputError: It cannot be written.
    """
    write_atomic(folder / MANIFEST, f"{manifest.model_dump_json(indent=1)}\n".encode())


def write_sums(folder: Path) -> Path:
    """Write the digests of all files, the manifest's too, as `sha256sum` prints them, sorted by path.

    Raises:
        InputError: A file cannot be read.
        OutputError: The list cannot be written.
    """
    digests = {name: entry.sha256 for name, entry in list_files(folder).items()}
    digests[MANIFEST] = sha256_file(folder / MANIFEST)
    lines = [f"{digests[name]}  {name}\n" for name in sorted(digests)]
    write_atomic(folder / SUMS, "".join(lines).encode())
    return folder / SUMS


def read_manifest(path: Path) -> Manifest:
    """Read a bundle's manifest.

    Raises:
        InputError: Missing, not a manifest, or of another version.
    """
    text = read_text(path)
    try:
        version = json.loads(text).get("schema_version")
        if version != 1:
            raise InputError(f"{path} is a manifest of version {version}; this udacimed-edge reads version 1")
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path} is not a bundle's manifest: {where}: {first['msg']}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not a bundle's manifest: {error}") from error
