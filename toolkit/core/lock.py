"""One run at a time into one output folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from udacimed_edge.core.errors import OutputError
from udacimed_edge.core.files import output_errors

__all__ = ["LOCK", "locked"]

LOCK = ".udacimed-edge.lock"
"""The file in an output folder that says who writes there; gone when nobody does."""

_held: dict[Path, int] = {}
"""How many times this process itself is inside `locked`, by folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other run out of an output folder; this process may enter again.

    The system ends a process's locks with it, so that one killed leaves nothing to be cleared away.

    Raises:
        OutputError: Another process, which the message names, writes there; or nothing can be written.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        place = folder.resolve()
    handle = None if place in _held else _acquire(place / LOCK, folder)
    _held[place] = _held.get(place, 0) + 1
    try:
        yield
    finally:
        _held[place] -= 1
        if handle is not None:
            del _held[place]
            (place / LOCK).unlink(missing_ok=True)  # before the lock ends: who waits for it looks again
            os.close(handle)


def _acquire(path: Path, folder: Path) -> int:
    """An open file that holds the lock, and that stands at `path` still."""
    while True:
        with output_errors(folder):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle, folder)
            with output_errors(folder):
                if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                    os.ftruncate(handle, 0)
                    os.pwrite(handle, f"{json.dumps(_me())}\n".encode(), 0)
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder took the file away meanwhile


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise OutputError(
                f"another run writes into {folder}: {_holder(handle)}",
                "wait until it has ended, or name another folder with --out",
            ) from error
        raise OutputError(
            f"cannot write {folder}: its file system has no locks ({error.strerror})",
            "name a folder on another with --out",
        ) from error


def _me() -> dict[str, object]:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def _holder(handle: int) -> str:
    """Who holds it, in words; a holder that has just begun may not have said so yet."""
    try:
        told = json.loads(os.pread(handle, 1000, 0))
        return f"process {int(told['pid'])} on {told['host']!s:.80}, since {told['since']!s:.40}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return "a process that has only just begun"
