"""Runs functions in processes of their own, as many at once as there are cores.

A converter that crashes, or that is killed for memory, takes nothing of the others with it. What the
libraries print goes to a log file per job.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from udacimed_edge.core.errors import ConversionError, EdgeError

__all__ = ["Job", "Notify", "run_jobs", "start_alone"]

Result = TypeVar("Result")
Notify = Callable[[Any], None]
"""How a job tells the parent of its progress: called with anything that pickles."""


@dataclass(frozen=True)
class Job(Generic[Result]):
    """One function call to be made in a process of its own.

    Attributes:
        name: What messages call it.
        function: A module-level function; called with `argument` and a `Notify`.
        argument: Anything that pickles.
        log: The file that takes what the process prints.
        threads: How many threads the libraries in it may use.
    """

    name: str
    function: Callable[[Any, Notify], Result]
    argument: Any
    log: Path
    threads: int


def run_jobs(
    jobs: Iterable[Job[Result]], at_once: int, on_notice: Callable[[Job[Result], Any], None]
) -> dict[str, Result | EdgeError]:
    """Run all jobs and return each one's result or error, by name, in the order of `jobs`.

    Args:
        jobs: In the order in which they are started; no two have one name.
        at_once: How many run at the same time, at least 1.
        on_notice: Called in this process with what a job said through its `Notify`.

    Raises:
        KeyboardInterrupt: Passed on after every process was ended.
    """
    waiting, running = list(jobs), dict[Connection, tuple[Job[Result], SpawnProcess]]()
    names = [job.name for job in waiting]
    results: dict[str, Result | EdgeError] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                pipe, process = _start(job)
                running[pipe] = (job, process)
            for ready in wait(list(running)):
                pipe = cast("Connection", ready)  # only connections were handed over
                job, process = running[pipe]
                kind, content = _receive(pipe, job, process)
                if kind == "notice":
                    on_notice(job, content)
                else:
                    results[job.name] = content
                    del running[pipe]
                    process.join()
    finally:
        for _, process in running.values():
            process.kill()
            process.join()
    return {name: results[name] for name in names}


def _start(job: Job[Result]) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, sender), daemon=True)
    start_alone(process)
    sender.close()
    return receiver, process


def start_alone(process: SpawnProcess) -> None:
    """Start a process that does not run the program's main module again.

    multiprocessing would, so that a script without a `__main__` guard began anew in every child.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main


def _receive(pipe: Connection, job: Job[Result], process: SpawnProcess) -> tuple[str, Any]:
    """One message, its kind and its content; the outcome is an error where the process has died."""
    try:
        message: tuple[str, Any] = pipe.recv()
    except (EOFError, OSError):  # OSError: it died within a message
        process.join()
        message = (
            "outcome",
            ConversionError(
                f"{job.name}: the process died ({_ending(process.exitcode)})",
                f"what it printed is in {job.log}; if memory was short, close other programs and try again",
            ),
        )
    return message


def _ending(exit_code: int | None) -> str:
    return f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"


def _work(job: Job[Result], pipe: Connection) -> None:
    """The child's side: everything printed goes to the log, the outcome goes through the pipe."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(job.threads)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # line by line: what was printed just before a crash is what one looks for
    sys.stdout = sys.stderr = os.fdopen(log, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    try:
        outcome: object = job.function(job.argument, lambda content: pipe.send(("notice", content)))
    except EdgeError as error:
        outcome = error
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:  # whatever a converter raises must reach the parent as one line
        traceback.print_exc()
        outcome = ConversionError(
            f"{job.name}: {type(error).__name__}: {error}", f"what it printed is in {job.log}"
        )
    pipe.send(("outcome", outcome))


def _end_with_parent() -> None:
    """Stop at once when the parent is gone: nobody is left to take the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
