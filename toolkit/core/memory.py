"""A bound on memory for work on a stranger's file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["bounded_memory"]


@contextmanager
def bounded_memory(more_bytes: int) -> Iterator[None]:
    """Let this process allocate no more than so much above what it has; what asks for more gets an error.

    A small file can ask for any amount, and Linux hands out more than there is, until it kills somebody. The
    limit is the kernel's own (RLIMIT_DATA, setrlimit(2)), so it holds for native libraries too. Elsewhere
    nothing is bounded.

    Args:
        more_bytes: Private memory besides what the process holds now.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + more_bytes
    limits = [limit for limit in (wanted, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Private writable memory that this process has mapped."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
