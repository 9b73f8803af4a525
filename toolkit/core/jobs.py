"""Runs functions in processes of their own, as many at once as there are cores.

A converter that crashes, or that is killed for memory, takes nothing of the others with it. What the
libraries print goes to a log file per job.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from udacimed_edge.core.child import Child, ChildDied
from udacimed_edge.core.errors import ConversionError, EdgeError
from udacimed_edge.core.files import full_disk, output_errors

__all__ = ["Job", "Notify", "run_jobs"]

Result = TypeVar("Result")
Notify = Callable[[Any], None]
"""How a job tells the parent of its progress: called with anything that pickles."""

SPACE_BYTES = 1 << 20
"""A process that died where less was left to write had no space: a full disk makes some libraries abort."""


@dataclass(frozen=True)
class Job(Generic[Result]):
    """One function call to be made in a process of its own.

    Attributes:
        name: What messages call it.
        function: A module-level function; called with `argument` and a `Notify`.
        argument: Anything that pickles.
        log: The file that takes what the process prints.
        threads: How many threads the libraries in it may use.
        kept: Where the log will lie when a person reads of it; None where it stays.
    """

    name: str
    function: Callable[[Any, Notify], Result]
    argument: Any
    log: Path
    threads: int
    kept: Path | None = None

    @property
    def told(self) -> Path:
        """The log, for messages."""
        return self.kept or self.log


def run_jobs(
    jobs: Iterable[Job[Result]], at_once: int, on_notice: Callable[[Job[Result], Any], None]
) -> dict[str, Result | EdgeError]:
    """Run all jobs and return each one's result or error, by name, in the order of `jobs`.

    Args:
        jobs: In the order in which they are started; no two have one name.
        at_once: How many run at the same time, at least 1.
        on_notice: Called in this process with what a job said through its `Notify`.

    Raises:
        OutputError: A log cannot be written.
        KeyboardInterrupt: Passed on after every process was ended.
    """
    waiting, running = list(jobs), dict[Connection, tuple[Job[Result], Child]]()
    names = [job.name for job in waiting]
    results: dict[str, Result | EdgeError] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                child = _start(job)
                running[child.pipe] = (job, child)
            for ready in wait(list(running)):
                pipe = cast("Connection", ready)  # only connections were handed over
                job, child = running[pipe]
                kind, content = _receive(child, job)
                if kind == "notice":
                    on_notice(job, content)
                else:
                    results[job.name] = content
                    del running[pipe]
                    child.end()
    finally:
        for _, child in running.values():
            child.end()
    return {name: results[name] for name in names}


def _start(job: Job[Result]) -> Child:
    with output_errors(job.log):
        return Child(_work, job, job.log, {"OMP_NUM_THREADS": str(job.threads)})


def _receive(child: Child, job: Job[Result]) -> tuple[str, Any]:
    """One message, its kind and its content; the outcome is an error where the process has died."""
    try:
        message: tuple[str, Any] = child.receive()
    except ChildDied as died:
        error = full_disk(job.log, SPACE_BYTES) or ConversionError(
            f"{job.name}: the process died ({died})",
            f"what it printed is in {job.told}; if memory was short, close other programs and try again",
        )
        message = ("outcome", error)
    return message


def _work(job: Job[Result], pipe: Connection) -> None:
    """The child's side: the outcome goes through the pipe."""
    try:
        outcome: object = job.function(job.argument, lambda content: pipe.send(("notice", content)))
    except EdgeError as error:
        outcome = error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a converter raises must reach the parent as one line
        traceback.print_exc()
        outcome = ConversionError(
            f"{job.name}: {type(error).__name__}: {error}", f"what it printed is in {job.told}"
        )
    pipe.send(("outcome", outcome))
