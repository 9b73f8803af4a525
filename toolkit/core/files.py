"""Digests, and writing whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.core.json_reader import read_plain_text
from udacimed_edge.runtime import digest
from udacimed_edge.runtime.digest import files_of

__all__ = [
    "files_of",
    "full_disk",
    "hash_file",
    "make_readable",
    "output_errors",
    "path_digest",
    "read_text",
    "replace_directory",
    "sha256_file",
    "size_bytes",
    "staging",
    "write_atomic",
]

_STAGING = ".staging-"

_own: set[str] = set()
"""Names of what this process is writing just now."""

_HINTS = {
    errno.ENOSPC: "the disk is full: free some space, or name another folder with --out",
    errno.EDQUOT: "your share of that disk is used up: free some space, or name another folder with --out",
    errno.EACCES: "you may not write there: name another folder with --out",
    errno.EROFS: "that disk is read-only: name another folder with --out",
    errno.ENOTDIR: "a file stands where a folder is needed: name another folder with --out",
    errno.EEXIST: "a file stands where a folder is needed: name another folder with --out",
}


def hash_file(path: Path, algorithm: str = "sha256") -> bytes:
    """Digest of a file's bytes.

    Raises:
        InputError: The file is missing or cannot be read.
    """
    with _read_errors(path):
        return digest.hash_file(path, algorithm)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits.

    Raises:
        InputError: The file is missing or cannot be read.
    """
    return hash_file(path).hex()


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def read_text(path: Path) -> str:
    """A UTF-8 file's text.

    Raises:
        InputError: The file is missing, cannot be read, is far too large or is not UTF-8.
    """
    return read_plain_text(path, "a text file of ours")


def path_digest(path: Path) -> str:
    """One SHA-256 for an artifact of one file or many (`runtime.digest.path_digest`).

    Raises:
        InputError: The path is missing, cannot be read, or is an empty folder.
    """
    if not files_of(path):
        raise InputError(f"{path} is an empty folder")
    with _read_errors(path):
        return digest.path_digest(path)


def size_bytes(path: Path) -> int:
    """Size of an artifact in bytes, all its files together."""
    return sum(f.stat().st_size for f in files_of(path))


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn a failure to write below `path` into an error that says what to do.

    Raises:
        OutputError: The body raised an OSError.
    """
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "name another folder with --out")
        raise OutputError(f"cannot write {path}: {error.strerror or error}", hint) from error


def full_disk(place: Path, needed_bytes: int) -> OutputError | None:
    """The error for work that failed below `place` for want of space there; None where space is not short.

    Libraries that cannot write say so in their own words, or not at all: some end the process.

    Args:
        place: A file or folder that was to be written.
        needed_bytes: What the work writes at once, about.
    """
    folder = next((p for p in (place, *place.parents) if p.is_dir()), Path())
    free = shutil.disk_usage(folder).free
    if free >= needed_bytes:
        return None
    what = f"cannot write {place}: {free / 2**20:.1f} MiB are left on that disk"
    return OutputError(what, _HINTS[errno.ENOSPC])


def make_readable(path: Path) -> None:
    """Let everybody read a result, whatever the umask was: it is made to be handed on.

    Raises:
        OSError: A mode cannot be changed.
    """
    for entry in [path, *(path.rglob("*") if path.is_dir() else ())]:
        if not entry.is_symlink():
            mode = entry.stat().st_mode
            entry.chmod(mode | (0o755 if entry.is_dir() or mode & 0o100 else 0o644))


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also under kill -9 and on a full disk.

    Raises:
        OutputError: The file cannot be written, or something stands there that is no file, such as a folder
            or /dev/null; what was there before is untouched.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"cannot write {path}: something that is no file stands there", "name another")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_STAGING}{os.getpid()}-")
        _own.add(Path(name).name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        finally:
            _own.discard(Path(name).name)


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """A fresh folder inside `parent`, gone afterwards unless it was moved into place.

    The name carries the process number: what a killed process left is removed by the next one.

    Raises:
        OutputError: The folder cannot be made.
    """
    with output_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=f"{_STAGING}{os.getpid()}-"))
    _own.add(folder.name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _own.discard(folder.name)


def replace_directory(staged: Path, final: Path) -> None:
    """Put the finished folder `staged` at `final`, readable, replacing what is there in one step.

    Raises:
        OutputError: It cannot be put there; `final` is as it was.
    """
    with output_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        make_readable(staged)
        if not final.exists():
            staged.rename(final)
        elif not final.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in the way", str(final))
        elif _exchange(staged, final):
            shutil.rmtree(staged, ignore_errors=True)
        else:  # no atomic exchange on this system: the old folder is moved aside first
            with tempfile.TemporaryDirectory(dir=final.parent, prefix=_STAGING) as aside:
                old = final.rename(Path(aside) / "old")
                try:
                    staged.rename(final)
                except BaseException:
                    old.rename(final)
                    raise


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one system call; False where the system has none.

    Linux: renameat2(2) with RENAME_EXCHANGE; macOS: renamex_np(2) with RENAME_SWAP.
    """
    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    first, second = os.fsencode(a), os.fsencode(b)
    if libc is not None and sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        return bool(libc.renamex_np(first, second, 2) == 0)
    if libc is not None and hasattr(libc, "renameat2"):
        at_fdcwd = -100
        return bool(libc.renameat2(at_fdcwd, first, at_fdcwd, second, 2) == 0)
    return False


def _remove_abandoned(parent: Path) -> None:
    for left in parent.glob(f"{_STAGING}*-*"):
        pid = left.name[len(_STAGING) :].split("-")[0]
        if pid.isdigit() and left.name not in _own and not _is_alive(int(pid)):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    """Whether it belongs to another process that runs: in a container each run has the same number."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists and belongs to somebody else
        return True
    return True
