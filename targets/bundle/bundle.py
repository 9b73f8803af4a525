"""Fills a bundle: the artifact, what runs it, what explains it, and the lists that prove it whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from udacimed_edge.core.errors import OutputError
from udacimed_edge.core.files import files_of, output_errors, replace_directory, write_atomic
from udacimed_edge.runtime.signature import KEY_MARK
from udacimed_edge.targets.bundle.archive import write_zip
from udacimed_edge.targets.bundle.bom import BOM, render_bom
from udacimed_edge.targets.bundle.facts import Facts
from udacimed_edge.targets.bundle.manifest import UNLISTED, Manifest, list_files, write_manifest, write_sums
from udacimed_edge.targets.bundle.pages import Subject, write_pages
from udacimed_edge.targets.bundle.runner import build_runner
from udacimed_edge.targets.bundle.signing import public_key, sign
from udacimed_edge.targets.bundle.wheels import Wheel, fetch_wheels, pin, requirements_text
from udacimed_edge.targets.devices.profile import DeviceProfile

__all__ = ["Supplies", "bundle_name", "close_bundle", "copy_artifact", "place_bundle"]


@dataclass(frozen=True)
class Supplies:
    """What a bundle takes besides the artifact.

    Attributes:
        versions: Version by distribution that the artifact was validated with.
        wheels: A folder to take the wheels from instead of the network.
        key: The secret key to sign with; None to leave it unsigned.
    """

    versions: Mapping[str, str]
    wheels: Path | None = None
    key: Path | None = None


def bundle_name(profile: DeviceProfile, facts: Facts) -> str:
    """What the folder of a bundle is called."""
    return f"{profile.name}-{facts.format}-{facts.precision}"


def copy_artifact(artifact: Path, folder: Path) -> Path:
    """Copy an artifact, all its files, into a folder; the path it has there.

    Raises:
        OutputError: It cannot be written.
    """
    with output_errors(folder):
        for file in files_of(artifact):
            copy = folder / file.relative_to(artifact.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return folder / artifact.name


def close_bundle(folder: Path, subject: Subject, supplies: Supplies) -> None:
    """Add to an artifact, its report and its self-test what runs and explains it, and the lists.

    Args:
        folder: Of the bundle, under its final name.
        subject: What the pages are about.
        supplies: What it takes besides.

    Raises:
        InputError: A wheel cannot be had, or the key cannot be used.
        OutputError: A file cannot be written.
    """
    profile, facts = subject.profile, subject.facts
    wheels = _add_runner(folder, profile, facts, supplies)
    write_pages(folder, subject)
    write_atomic(folder / BOM, render_bom(subject.name, profile, facts, wheels).encode())
    write_manifest(_manifest(folder, subject), folder)
    sums = write_sums(folder)
    if supplies.key is not None:
        # the key goes along so that a device can show its fingerprint; what it proves is on START-HERE.txt
        about = f"udacimed-edge bundle {subject.name}, report {facts.report_digest[:12]}"
        sign(sums, supplies.key, f"{about}{KEY_MARK}{public_key(supplies.key)}")


def _add_runner(folder: Path, profile: DeviceProfile, facts: Facts, supplies: Supplies) -> tuple[Wheel, ...]:
    if profile.runner is None:
        return ()
    pinned = pin(profile.runner.requirements[facts.format], supplies.versions)
    wheels = fetch_wheels(profile.runner, pinned, folder / "wheels", supplies.wheels)
    write_atomic(folder / "requirements.txt", requirements_text(wheels).encode())
    build_runner(folder).chmod(0o755)
    return wheels


def _manifest(folder: Path, subject: Subject) -> Manifest:
    facts = subject.facts
    return Manifest(
        name=subject.name,
        notice=facts.marked_notice,
        device=subject.profile.name,
        profile=subject.profile,
        format=facts.format,
        precision=facts.precision,
        rehearsal=facts.rehearsal,
        toolkit_version=facts.toolkit_version,
        created=facts.created,
        artifact=facts.artifact,
        artifact_digest=facts.artifact_digest,
        source_digest=facts.source_digest,
        threshold=facts.threshold,
        policy_digest=facts.policy_digest,
        report_digest=facts.report_digest,
        budgets=dict(subject.budgets),
        files=list_files(folder),
    )


def place_bundle(folder: Path, out: Path) -> tuple[Path, Path]:
    """Zip a finished bundle, and put folder and zip where they belong, replacing an earlier bundle.

    Args:
        folder: In a staging folder inside `out`.
        out: The folder for both.

    Returns:
        The folder and the zip.

    Raises:
        OutputError: They cannot be put there, or something else than a bundle would be lost.
    """
    final, archive = out / folder.name, out / f"{folder.name}.zip"
    _require_free(folder, final)
    if archive.exists() and not archive.is_file():
        raise OutputError(
            f"cannot write {archive}: something that is no file stands there", "name another --out"
        )
    zipped = folder.with_name(archive.name)
    write_zip(folder, zipped)
    replace_directory(folder, final)
    with output_errors(archive):
        os.replace(zipped, archive)
    return final, archive


def _require_free(folder: Path, final: Path) -> None:
    """Keep results, or an installation, that somebody has in an earlier bundle from being lost.

    Raises:
        OutputError: There is something in it that no bundle holds.
    """
    known = {path.name for path in folder.iterdir()} | UNLISTED
    other = sorted(path.name for path in final.iterdir() if path.name not in known) if final.is_dir() else []
    if other:
        raise OutputError(
            f"{final} was not replaced: it holds {', '.join(other)}, which is no part of a bundle",
            "move it away, or name another folder with --out",
        )
