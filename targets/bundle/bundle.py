"""Fills a bundle: the artifact, what runs it, what explains it, and the lists that prove it whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from udacimed_edge.core.errors import OutputError
from udacimed_edge.core.files import files_of, output_errors, replace_directory, write_atomic
from udacimed_edge.runtime.signature import KEY_MARK
from udacimed_edge.targets.bundle.archive import write_zip
from udacimed_edge.targets.bundle.manifest import (
    UNLISTED,
    list_files,
    manifest_of,
    write_manifest,
    write_sums,
)
from udacimed_edge.targets.bundle.runner import build_runner
from udacimed_edge.targets.bundle.signing import SecretKey, sign_with
from udacimed_edge.targets.bundle.spec import BundleSpec
from udacimed_edge.targets.bundle.wheels import Wheel, fetch_wheels, pin
from udacimed_edge.targets.devices.profile import DeviceProfile
from udacimed_edge.validation.report import Report

__all__ = ["add_runner", "close_bundle", "copy_artifact", "place_bundle"]


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


def add_runner(
    folder: Path, profile: DeviceProfile, report: Report, wheels: Path | None
) -> tuple[Wheel, ...]:
    """Add to a bundle the program that screens and the wheels it needs; none where an app loads the model.

    Args:
        folder: Of the bundle.
        profile: The device.
        report: The artifact's, with the versions that it was validated with.
        wheels: A folder to take the wheels from instead of the network.

    Raises:
        InputError: A wheel cannot be had.
        OutputError: A file cannot be written.
    """
    if profile.runner is None:
        return ()
    requirements = profile.runner.requirements[report.artifact.format]
    build_runner(folder).chmod(0o755)
    pinned = pin(requirements, report.environment.tools)
    return fetch_wheels(profile.runner, pinned, folder / "wheels", wheels)


def close_bundle(
    folder: Path,
    spec: BundleSpec,
    pages: Mapping[str, bytes],
    renderers: Mapping[str, str],
    key: SecretKey | None,
) -> None:
    """Add to a bundle its pages, and the lists that prove it whole.

    Args:
        folder: Of the bundle, under its final name, with everything else in it.
        spec: What it is made from.
        pages: The files that follow from the spec, by name.
        renderers: What they were written and drawn with, by name and version.
        key: What to sign with; None to leave it unsigned.

    Raises:
        OutputError: A file cannot be written.
    """
    for name, content in pages.items():
        write_atomic(folder / name, content)
        if name.startswith("install."):
            (folder / name).chmod(0o755)
    write_manifest(manifest_of(spec, renderers, list_files(folder)), folder)
    sums = write_sums(folder)
    if key is not None:
        # the key goes along so that a device can show its fingerprint; what it proves is on START-HERE.txt
        about = f"udacimed-edge bundle {spec.name}, report {spec.report.report_digest[:12]}"
        public = key.get_public_key().to_base64().decode()
        sign_with(sums, key, f"{about}{KEY_MARK}{public}")


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
