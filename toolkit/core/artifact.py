"""An artifact on disk: where it is, what it claims, its digest."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.formats import SUFFIXES, Precision

__all__ = ["PRECISIONS", "REPORT_NAME", "Precision", "artifacts_below", "locate", "report_of"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

REPORT_NAME = "report.json"


def locate(path: Path) -> Path:
    """The artifact a person named: itself, or the one in the folder `convert` wrote.

    Raises:
        InputError: There is nothing at the path, no artifact, or more than one.
    """
    if not path.exists():
        raise InputError(f"there is no artifact at {path}", "name the folder or file that `convert` wrote")
    if path.suffix in SUFFIXES:
        return path
    if path.suffix == ".bin" and path.with_suffix(".xml").exists():
        return path.with_suffix(".xml")
    if not path.is_dir():
        raise InputError(f"{path} is no artifact", f"an artifact ends in {', '.join(SUFFIXES)}")
    found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
    if len(found) != 1:
        what = f"{len(found)} artifacts" if found else "no artifact"
        raise InputError(f"{path} holds {what}", f"name one that ends in {', '.join(SUFFIXES)}")
    return found[0]


def report_of(artifact: Path) -> Path:
    """Where an artifact's report lies: beside it."""
    return artifact.parent / REPORT_NAME


def artifacts_below(path: Path) -> list[Path]:
    """What a person named, taken apart: a folder that holds no artifact itself stands for those below it.

    Args:
        path: An artifact, the folder `convert` wrote for it, or one with any number of these below it.

    Returns:
        The folder's artifacts in the order of their paths; the path itself where it is no such folder.
    """
    if not path.is_dir() or _is_artifact(path) or any(map(_is_artifact, path.iterdir())):
        return [path]
    found = [p for p in sorted(path.rglob("*")) if _is_artifact(p) and not _is_hidden_below(p, path)]
    return [p for p in found if not any(above in found for above in p.parents)] or [path]


def _is_artifact(path: Path) -> bool:
    """By its name; other programs write .xml too, without weights beside it."""
    return path.suffix in SUFFIXES and (path.suffix != ".xml" or path.with_suffix(".bin").exists())


def _is_hidden_below(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
