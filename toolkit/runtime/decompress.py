"""Decompresses DICOM pixels in a process of its own, which a broken stream may hang, fill or crash.

    python -m udacimed_edge.runtime.decompress SECONDS

It reads files from its standard input and writes arrays to its standard output, each after its length.
"""

from __future__ import annotations

import faulthandler
import io
import os
import struct
import subprocess
import sys
from typing import IO

import numpy as np
from numpy.typing import NDArray

__all__ = ["BrokenStreamError", "pixels_of"]

SECONDS = 60
"""Longest time for one file; a Raspberry Pi takes a few seconds for the largest."""

MOST_MEMORY = 3 << 28
"""Bytes of data that the process may hold, where the system can tell it: 67 megapixels and their copies."""

_LENGTH = struct.Struct("<Q")

_worker: subprocess.Popen[bytes] | None = None


class BrokenStreamError(ValueError):
    """Compressed pixels that cannot be decompressed."""


def pixels_of(content: bytes) -> NDArray[np.generic]:
    """The stored values of a DICOM file with one picture.

    Args:
        content: The file's bytes.

    Raises:
        BrokenStreamError: The stream is broken: refused, or its process hung, grew too large or crashed.
    """
    global _worker
    worker, _worker = _worker, None
    if worker is None or worker.poll() is not None:
        worker = _start()
    try:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(_LENGTH.pack(len(content)) + content)
        worker.stdin.flush()
        answer = _receive(worker.stdout)
        if not answer:
            raise BrokenStreamError("it cannot be decompressed")
    except BaseException as error:
        # Ctrl-C leaves half an answer behind, and a broken stream memory that the next file would lack
        worker.kill()
        worker.communicate()
        if isinstance(error, (OSError, EOFError)):
            raise BrokenStreamError("it cannot be decompressed") from error
        raise
    _worker = worker
    result: NDArray[np.generic] = np.load(io.BytesIO(answer), allow_pickle=False)
    return result


def _start() -> subprocess.Popen[bytes]:
    """The process, with this one's own modules and one thread."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
    }
    environment["OPENBLAS_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "udacimed_edge.runtime.decompress", str(SECONDS)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )


def _receive(stream: IO[bytes]) -> bytes:
    """One length and as many bytes.

    Raises:
        EOFError: The stream ended before.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return body


def _serve(source: IO[bytes], sink: IO[bytes], seconds: float) -> None:
    """Answer until the other side is gone; an empty answer means that the file cannot be decompressed."""
    while True:
        try:
            content = _receive(source)
        except EOFError:
            return
        # ends this process from a thread of its own, also where a decoder never returns
        faulthandler.dump_traceback_later(seconds, exit=True)
        answer = io.BytesIO()
        try:
            np.save(answer, _decoded(content), allow_pickle=False)
        except Exception:  # decoders raise nearly every built-in one for a broken stream
            answer = io.BytesIO()
        faulthandler.cancel_dump_traceback_later()
        sink.write(_LENGTH.pack(answer.getbuffer().nbytes))
        sink.write(answer.getbuffer())
        sink.flush()


def _decoded(content: bytes) -> NDArray[np.generic]:
    from udacimed_edge.runtime import dicom

    result: NDArray[np.generic] = dicom.parse(content).pixel_array
    return result


def _limit_memory() -> None:
    """On Linux and macOS; Windows has no such call in Python."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))


if __name__ == "__main__":
    _limit_memory()
    _serve(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))
