"""What is installed, and what each format can do on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from udacimed_edge.core.data import ENVIRONMENT_VARIABLE
from udacimed_edge.core.extras import is_installed
from udacimed_edge.runtime.formats import FORMATS, FormatSpec
from udacimed_edge.validation.judging.emulation import ARM_ROOT_VARIABLE, arm_root
from udacimed_edge.validation.judging.processors import CASES

__all__ = ["FormatHealth", "arm_root_found", "data_found", "dicom_found", "format_health", "processor_health"]


@dataclass(frozen=True)
class FormatHealth:
    """What one format can do here.

    Attributes:
        name: The format.
        convert: Whether a model can be converted to it.
        execute: How an artifact of it is run, or why it cannot be.
        missing: Modules that are not installed.
        remedy: The pip command that installs them; empty where nothing is missing.
    """

    name: str
    convert: bool
    execute: str
    missing: tuple[str, ...]
    remedy: str


def format_health() -> list[FormatHealth]:
    """Look at every format, importing none of their libraries."""
    return [_health(row) for row in FORMATS.values()]


def _health(row: FormatSpec) -> FormatHealth:
    missing = tuple(module for module in row.modules if not is_installed(module))
    words = row.stand_in_here.words if row.stand_in_here else row.words
    return FormatHealth(
        name=row.name,
        convert=not {*missing} & {*row.to_convert},
        execute="no" if {*missing} & {*row.to_execute} else ", ".join(filter(None, ("yes", words))),
        missing=missing,
        remedy=f"pip install '.[{row.extra}]' in the project's folder" if missing else "",
    )


def processor_health() -> dict[str, str]:
    """Each processor case, by name: whether it can be computed here, or what would help."""
    return {
        row.name: f"no, {row.processor}: {why}" if (why := row.missing()) else f"yes, {row.processor}"
        for row in CASES
    }


def arm_root_found() -> str:
    """Where the emulated ARM processor finds its Python and libraries; a path that does not exist says so."""
    root = arm_root()
    absent = "" if root.is_dir() else f" (not there; {ARM_ROOT_VARIABLE} names another)"
    return f"{root}{absent}"


def data_found(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Where data would come from without `--data`, by way; a path that does not exist says so."""
    named = environment.get(ENVIRONMENT_VARIABLE)
    cached = Path.home() / ".medmnist" / "pneumoniamnist_64.npz"
    absent = "" if named and Path(named).is_file() else " (no such file)"
    return {
        ENVIRONMENT_VARIABLE: f"{named}{absent}" if named else "not set",
        "medmnist": str(cached) if cached.is_file() else "not downloaded yet",
        "synthetic": "built in, for rehearsals",
    }


def dicom_found() -> str:
    """Whether DICOM files can be read here, or the pip command that helps."""
    return "yes" if is_installed("pydicom") else "no: pip install '.[dicom]' in the project's folder"
