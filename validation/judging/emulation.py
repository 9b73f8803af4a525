"""Processes that compute as another processor would, and that nobody waits for in vain."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ARM_ROOT_VARIABLE",
    "PATIENCE_S",
    "WHEELS",
    "Command",
    "Emulator",
    "Ending",
    "arm_root",
    "run_all",
]

ARM_ROOT_VARIABLE = "UDACIMED_ARM_ROOT"

WHEELS = "wheels"
"""The folder of an ARM root that holds the aarch64 libraries."""

PATIENCE_S = 120.0
"""How long a process may go without answering for one more image. Measured on two cores that 17 processes
shared: under 30 s until an emulated Python had loaded its libraries, then up to 15 s an image."""


def arm_root() -> Path:
    """Where `examples/arm_root.py` puts the ARM root, and where it is looked for."""
    named = os.environ.get(ARM_ROOT_VARIABLE)
    return Path(named) if named else Path.home() / ".cache/udacimed-edge/arm64"


@dataclass(frozen=True)
class Emulator:
    """One processor, emulated by qemu for one process.

    Attributes:
        program: The emulator, looked for on PATH.
        processor: What qemu calls the processor.
        foreign: Whether it runs the ARM root's Python; this environment's otherwise.
    """

    program: str
    processor: str
    foreign: bool = False

    def __str__(self) -> str:
        """The command, without its paths."""
        return f"{self.program} -cpu {self.processor}"

    def missing(self) -> str:
        """What is missing here, with the command that installs it; empty where nothing is."""
        root = arm_root()
        if sys.platform != "linux":
            return f"{self.program} emulates on Linux only"
        if not self.foreign and platform.machine() != "x86_64":
            return "it needs an x86-64 Python, and this one is not"
        if shutil.which(self.program) is None:
            return f"{self.program} is not installed: apt-get install qemu-user-static"
        if self.foreign and not (root / "usr/bin/python3").exists():
            return f"no ARM root at {root}: python examples/arm_root.py --out {root}"
        return ""

    def python(self) -> tuple[str, ...]:
        """The command that starts Python on it."""
        start = (self.program, "-cpu", self.processor)
        if not self.foreign:
            return (*start, sys.executable)
        root = arm_root().absolute()
        return (*start, "-L", str(root), str(root / "usr/bin/python3"))

    def environment(self, package: Path) -> dict[str, str]:
        """The variables of such a process.

        Args:
            package: A folder that holds `udacimed_edge` and nothing else to import.
        """
        if not self.foreign:
            return dict(os.environ)
        # nothing else: a variable such as LD_LIBRARY_PATH or PYTHONHOME speaks of this computer's files
        return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{arm_root().absolute() / WHEELS}:{package}"}


@dataclass(frozen=True)
class Command:
    """A process that prints 1, 2, 3, ... up to `total` as it goes.

    Attributes:
        name: No two of one call have the same.
        words: Program and arguments.
        environment: All of its variables.
        total: The last number it prints.
    """

    name: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    total: int


@dataclass(frozen=True)
class Ending:
    """How a process ended: with a problem in words, or an empty text."""

    problem: str
    seconds: float


def run_all(
    commands: Sequence[Command],
    folder: Path,
    at_once: int,
    notify: Callable[[str, int], None],
    patience_s: float = PATIENCE_S,
) -> dict[str, Ending]:
    """Run commands, each in a process group that is killed whole when it ends, hangs or is interrupted.

    Args:
        commands: In the order in which they are started.
        folder: Where they run; what they print as errors goes to NAME.log in it.
        at_once: How many run at the same time, at least 1.
        notify: Called with a command's name and each number it prints.
        patience_s: A command that prints no higher number for so long is given up.

    Returns:
        How each ended, by name.
    """

    async def run() -> dict[str, Ending]:
        free = asyncio.Semaphore(at_once)

        async def one(command: Command) -> Ending:
            async with free:
                started = time.monotonic()
                problem = await _run(command, folder, notify, patience_s)
                return Ending(problem, time.monotonic() - started)

        endings = await asyncio.gather(*map(one, commands))
        return {command.name: ending for command, ending in zip(commands, endings, strict=True)}

    return asyncio.run(run())


async def _run(command: Command, folder: Path, notify: Callable[[str, int], None], patience_s: float) -> str:
    """What went wrong, or an empty text."""
    log = folder / f"{command.name}.log"
    with log.open("wb") as errors:
        try:
            process = await asyncio.create_subprocess_exec(
                *command.words,
                cwd=folder,
                env=command.environment,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            return f"{command.words[0]} cannot be started: {error.strerror}"
    done = 0
    try:
        while number := await asyncio.wait_for(_next_number(process, done, command.total), patience_s):
            done = number
            notify(command.name, done)
        code = await asyncio.wait_for(process.wait(), patience_s)
    except (asyncio.TimeoutError, ValueError):  # ValueError: a line of more than 64 KiB
        return f"it hung: nothing new within {patience_s:g} s after {done} of {command.total} images"
    finally:
        with suppress(ProcessLookupError, PermissionError):  # macOS: not permitted once all have ended
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"it died after {done} of {command.total} images ({ending}){_last(log)}" if code else ""


async def _next_number(process: Process, done: int, total: int) -> int:
    """The next number above `done` that the process prints; 0 when it closes its output."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if re.fullmatch(rb"\d{1,9}\n", line) and done < int(line) <= total:
            return int(line)
    return 0


def _last(log: Path) -> str:
    """The last line that a process printed as an error, after a colon."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {said[:300]}" if said else ""
