"""NumPy's .npz files, an array at a time: its header is looked at before its data take memory."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import EdgeError, InputError

__all__ = ["ArrayHeader", "opened_npz", "read_array", "read_header", "read_npz"]

_HEADER_BYTES = 1 << 16
"""More than any header that numpy accepts."""


class ArrayHeader(NamedTuple):
    """What an array says of itself before its data."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        """What its data take in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def opened_npz(path: Path, hint: str) -> Iterator[zipfile.ZipFile]:
    """The file as an archive; whatever is wrong inside it becomes an error that names it.

    Raises:
        InputError: The body or the opening failed.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe is waited for without end
            raise InputError(f"{path} is no regular file", hint)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except EdgeError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise nearly every built-in one for a damaged file
        reason = str(error)[:300] or type(error).__name__
        raise InputError(f"{path} is not a readable .npz file ({reason})", hint) from error


def read_header(archive: zipfile.ZipFile, key: str) -> ArrayHeader:
    """Read the beginning of an array, so that one of a wrong or absurd size takes no memory."""
    with archive.open(f"{key}.npy") as member:
        start = io.BytesIO(member.read(_HEADER_BYTES))
    old = np.lib.format.read_magic(start) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(start)
    return ArrayHeader(shape, dtype)


def read_array(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    """Read one array, once its header says that it is within bounds."""
    with archive.open(f"{key}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def read_npz(path: Path, max_bytes: int, hint: str) -> dict[str, NDArray[Any]]:
    """All arrays of a file.

    Args:
        path: The file.
        max_bytes: Most that the arrays may take, all together.
        hint: What to do where it cannot be read.

    Raises:
        InputError: Damaged, larger, with an array of Python objects, with one name twice, or with a text that
            is not Unicode.
    """
    with opened_npz(path, hint) as archive:
        names = archive.namelist()
        if len(names) > len(set(names)) or len(names) > 100:
            raise InputError(f"{path} holds {len(names)} arrays, some of one name or far too many", hint)
        keys = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
        if sum(read_header(archive, key).size_bytes for key in keys) > max_bytes:
            raise InputError(f"{path} unpacks to more than {max_bytes >> 20} MiB", hint)
        arrays = {key: read_array(archive, key) for key in keys}
    for key, array in arrays.items():
        if array.dtype.kind == "U" and not _is_unicode(array):
            raise InputError(
                f"{path} is not a readable .npz file (the text '{key[:40]}' is not Unicode)", hint
            )
    return arrays


def _is_unicode(texts: NDArray[Any]) -> bool:
    """Whether each character is one: NumPy reads any 32 bits, and fails where such a text is used."""
    codes = np.frombuffer(texts.astype(texts.dtype.newbyteorder("=")).tobytes(), np.uint32)
    return not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any()
