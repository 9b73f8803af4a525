"""A child process that may die: it calls one function, talks over a pipe, and its end has a reason.

`multiprocessing` runs the program's main module again in every child, so that nothing works from a notebook
or from a script without a `__main__` guard. Here a child is a fresh Python that imports the function alone.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["Child", "ChildDied", "how_it_ended"]

# not `-m`: that looks into the working directory first, where a file may have any name
_START = "import sys; sys.path[:] = sys.argv[2:]; from udacimed_edge.core.child import main; main()"


class ChildDied(Exception):  # noqa: N818
    """The process is gone without an answer; the text says how it ended."""


class Child:
    """A process that calls `function(argument, pipe)` once.

    Attributes:
        pipe: Talks with the function; anything that pickles goes through.
    """

    pipe: Connection

    def __init__(
        self,
        function: Callable[[Any, Connection], None],
        argument: Any,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            function: Of a module that can be imported.
            argument: Anything that pickles.
            log: The file that takes what the process prints, after what it holds; None to drop it.
            environment: Variables besides this process's own.

        Raises:
            OSError: The log cannot be written, or there is no room for another process.
        """
        self.pipe, theirs = Pipe()
        output = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), *sys.path],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,  # closed when this process ends, however it does
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
            )
        finally:
            os.close(output)
            theirs.close()
        try:
            self.pipe.send((function, argument))
        except OSError:  # it died at once, which `receive` will say
            pass
        except BaseException:
            self.end()
            raise

    def send(self, content: Any) -> None:
        """Send something; where the process has died, `receive` will say so."""
        try:
            self.pipe.send(content)
        except OSError:
            return

    def receive(self) -> Any:
        """What the process sent next.

        Raises:
            ChildDied: It ended without sending anything more.
        """
        try:
            return self.pipe.recv()
        except (EOFError, OSError):  # OSError: it died within a message
            code = self._process.wait()
            raise ChildDied(how_it_ended(code)) from None

    def end(self) -> None:
        """Kill it if it still runs, and wait until it is gone."""
        self.pipe.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def how_it_ended(exit_code: int) -> str:
    """An exit code of `subprocess` in words: "signal 9, killed" or "exit code 1"."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    return f"signal {-exit_code}, {(signal.strsignal(-exit_code) or 'unknown').lower()}"


class _Log(io.FileIO):
    """Where everything printed goes: lost where the disk is full, which must not stop the work itself."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError:
            return len(content)


def main() -> None:
    """The child's side; run by `Child` alone."""
    pipe = Connection(int(sys.argv[1]))
    lifeline, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    # line by line: what was printed just before a crash is what one looks for
    sys.stdout = sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Log(1, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )
    sys.argv[1:] = []
    try:
        function, argument = pipe.recv()
        function(argument, pipe)
    except KeyboardInterrupt:
        sys.exit(130)
    except (EOFError, ConnectionError):  # the parent ended it
        sys.exit(1)


def _end_with_parent(lifeline: int) -> None:
    """Stop at once when the parent is gone: nobody is left to take the result."""
    os.read(lifeline, 1)
    os._exit(1)
