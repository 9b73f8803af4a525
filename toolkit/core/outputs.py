"""Whether results can be written, asked before an hour of work and not after it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from udacimed_edge.core.errors import OutputError

__all__ = ["require_writable_file", "require_writable_folder"]


def require_writable_file(path: Path, option: str = "") -> None:
    """Make sure that a file can be written, leaving nothing behind.

    Args:
        path: The file; it need not be there, nor the folders above it.
        option: What named it, for the hint, for example "--html".

    Raises:
        OutputError: Something that is no file stands there, or its folder cannot be written.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # Path's own raise for some names
        raise OutputError(
            f"cannot write {path}: something that is no file stands there", _other(option, "file")
        )
    _require_room(path, path.parent, _other(option, "file"))


def require_writable_folder(path: Path, option: str = "") -> None:
    """Make sure that files can be written into a folder, leaving nothing behind.

    Args:
        path: The folder; it need not be there, nor those above it.
        option: What named it, for the hint, for example "--out".

    Raises:
        OutputError: A file stands there, or the folder cannot be written.
    """
    _require_room(path, path, _other(option, "folder"))


def _other(option: str, kind: str) -> str:
    return f"name another {kind}" + (f" with {option}" if option else "")


def _require_room(path: Path, folder: Path, hint: str) -> None:
    """Write a nameless file into a folder, or into the nearest one above it that is there."""
    place = next(p for p in (folder, *folder.absolute().parents) if os.path.exists(p))
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        reason = (
            "a file stands where a folder is needed" if os.path.isfile(place) else error.strerror or error
        )
        raise OutputError(f"cannot write {path}: {reason}", hint) from error
