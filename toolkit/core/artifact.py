"""An artifact on disk: where it is, what it claims, its digest."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.formats import SUFFIXES, Precision

__all__ = ["PRECISIONS", "REPORT_NAME", "Precision", "locate", "report_of"]

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
