"""What a browser's tab must be able to do, and a browser's process from its start to its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

__all__ = ["BrowserError", "Tab", "memory_of", "running"]


class BrowserError(RuntimeError):
    """The browser or the page in it gave no answers, and why."""


class Tab(Protocol):
    """A tab of a running browser.

    Attributes:
        version: The browser's name and version, for example "Chrome/156.0.8078.108".
        requests: Every address that was asked for so far.
        process: The browser's process, which leads a group of its own.
    """

    version: str
    requests: list[str]
    process: subprocess.Popen[bytes]

    def open(self, page: Path) -> None:
        """Show a page.

        Raises:
            BrowserError: It cannot be opened.
        """
        ...

    def text(self, expression: str) -> str:
        """What a JavaScript expression gives, as text.

        Raises:
            BrowserError: The browser is gone or takes too long.
        """
        ...

    def give(self, files: Sequence[Path]) -> None:
        """Put files into the page's own file input.

        Raises:
            BrowserError: It has none, or the browser is gone.
        """
        ...


@contextmanager
def running(
    command: Sequence[str], home: Path, pass_fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A browser's process, ended with all it started.

    Raises:
        BrowserError: It does not start.
    """
    try:
        process = subprocess.Popen(
            command,
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": str(home)},
        )
    except OSError as error:
        raise BrowserError(f"{command[0]} does not start: {error.strerror}") from error
    try:
        yield process
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(3)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def memory_of(process: subprocess.Popen[bytes]) -> int:
    """What a process and its group hold, shared pages counted by their share; 0 where /proc is missing."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) != process.pid:
                continue
            rollup = (stat.parent / "smaps_rollup").read_text()
        except (OSError, ValueError, IndexError):
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) << 10
    return total
