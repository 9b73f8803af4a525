"""Functions in processes of their own: what comes back, and what one that dies takes with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from udacimed_edge.core.errors import ConversionError, EdgeError, InputError
from udacimed_edge.core.jobs import Job, run_jobs

HELPERS = """
import os, signal, sys, time
from pathlib import Path
from udacimed_edge.core.errors import InputError

def double(number, notify):
    return 2 * number

def threads(_, notify):
    return os.environ["OMP_NUM_THREADS"]

def report(stages, notify):
    for stage in stages:
        notify(stage)
    return len(stages)

def refuse(_, notify):
    raise InputError("no such split", "name another")

def fail(_, notify):
    raise KeyError("weights")

def leave(code, notify):
    sys.exit(code)

def no_result(_, notify):
    return lambda: None

def talk(text, notify):
    print("by print:", text)
    os.system("echo by a child: " + text)
    print("to stderr:", text, file=sys.stderr)

def vanish(_, notify):
    print("just before the end")
    os._exit(9)

def kill_itself(_, notify):
    os.kill(os.getpid(), signal.SIGKILL)

def send_for_long(_, notify):
    notify(os.getpid())
    notify(bytes(1_000_000))

def meet(place, notify):
    mine, other = (Path(name) for name in place)
    mine.touch()
    patience = time.monotonic() + 60
    while not other.exists():
        if time.monotonic() > patience:
            raise TimeoutError("nobody came")
        time.sleep(0.01)

def alone(place, notify):
    busy = Path(place)
    busy.mkdir()
    time.sleep(0.1)
    busy.rmdir()

def beat(file, notify):
    notify("started")
    while True:
        with open(file, "a") as stream:
            stream.write(".")
        time.sleep(0.02)
"""

Runner = Callable[..., dict[str, Any]]


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Functions that a fresh process can import; those of a test module it cannot."""
    (tmp_path / "edge_job_helpers.py").write_text(HELPERS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "edge_job_helpers", raising=False)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # a person's shell does not set it
    return import_module("edge_job_helpers")


@pytest.fixture
def run(tmp_path: Path, helpers: ModuleType) -> Runner:
    """Run helpers by name: `run(name=("function", argument))`."""

    def run_all(
        at_once: int = 2,
        on_notice: Callable[[Job[Any], Any], None] = lambda job, content: None,
        **calls: tuple[str, Any],
    ) -> dict[str, Any]:
        jobs = [
            Job(name, getattr(helpers, function), argument, tmp_path / f"{name}.log", 3)
            for name, (function, argument) in calls.items()
        ]
        return run_jobs(jobs, at_once, on_notice)

    return run_all


def test_results_come_back_by_name(run: Runner) -> None:
    """Each job's result is found under its name; every process is told how many threads it has."""
    assert run(ort=("double", 21), coreml=("threads", None)) == {"ort": 42, "coreml": "3"}


def test_no_jobs_have_no_results(run: Runner) -> None:
    """Nothing to do is done at once."""
    assert run() == {}


def test_results_are_in_the_order_of_the_jobs(run: Runner, tmp_path: Path) -> None:
    """The first job comes first, even when the second has long finished."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    results = run(
        slow=("meet", (first, second)), fast=("double", 1), last=("meet", (second, first)), at_once=2
    )
    assert list(results) == ["slow", "fast", "last"]


def test_an_error_for_a_person_crosses_whole(run: Runner) -> None:
    """An EdgeError comes back with its type, message and hint, as a value."""
    error = run(ort=("refuse", None))["ort"]
    assert type(error) is InputError
    assert (error.message, error.hint) == ("no such split", "name another")


@pytest.mark.parametrize(
    ("function", "argument", "message", "logged"),
    [
        ("fail", None, "ort: KeyError: 'weights'", "in fail"),
        ("leave", 0, "ort: SystemExit: 0", "in leave"),
        ("vanish", None, "ort: the process died (exit code 9)", "just before the end"),
        ("kill_itself", None, "ort: the process died (signal 9, killed)", ""),
        ("no_result", None, "ort: the process died (exit code 1)", "local object"),
    ],
)
def test_whatever_goes_wrong_in_a_process_is_that_job_s_error(
    run: Runner, tmp_path: Path, function: str, argument: Any, message: str, logged: str
) -> None:
    """A defect or a death is a ConversionError which names the log that tells more; the others finish."""
    results = run(ort=(function, argument), coreml=("double", 21))
    error = results["ort"]
    assert type(error) is ConversionError
    assert error.message == message
    assert f"what it printed is in {tmp_path / 'ort.log'}" in error.hint
    assert logged in (tmp_path / "ort.log").read_text(encoding="utf-8")
    assert results["coreml"] == 42


def test_a_process_killed_within_a_message_is_that_job_s_error(run: Runner) -> None:
    """A process that dies while it sends something large is a ConversionError, not a crash of ours."""

    def kill(job: Job[Any], content: Any) -> None:
        time.sleep(1)  # the pipe is full by now, and the process waits in the middle of its message
        os.kill(content, signal.SIGKILL)

    results = run(ort=("send_for_long", None), on_notice=kill)
    assert isinstance(results["ort"], ConversionError)
    assert results["ort"].message == "ort: the process died (signal 9, killed)"


def test_notices_arrive_in_order(run: Runner) -> None:
    """What a job says of its progress arrives with the job it comes from, in order, before its result."""
    heard: list[tuple[str, str]] = []
    results = run(
        ort=("report", ["convert", "judge"]),
        on_notice=lambda job, content: heard.append((job.name, content)),
    )
    assert heard == [("ort", "convert"), ("ort", "judge")]
    assert results == {"ort": 2}


def test_what_a_process_prints_is_in_its_log(
    run: Runner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Prints, errors and what a child process says go to the job's own log, in order, not to the terminal."""
    run(ort=("talk", "Röntgen"), coreml=("double", 1))
    assert (tmp_path / "ort.log").read_text(encoding="utf-8").splitlines() == [
        "by print: Röntgen",
        "by a child: Röntgen",
        "to stderr: Röntgen",
    ]
    assert (tmp_path / "coreml.log").read_text(encoding="utf-8") == ""
    assert capfd.readouterr() == ("", "")


def test_as_many_run_at_once_as_asked(run: Runner, tmp_path: Path) -> None:
    """Two jobs that wait for one another both finish."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    results = run(ort=("meet", (first, second)), coreml=("meet", (second, first)), at_once=2)
    assert results == {"ort": None, "coreml": None}


def test_no_more_run_at_once_than_asked(run: Runner, tmp_path: Path) -> None:
    """Jobs that cannot stand each other never meet, one at a time."""
    busy = str(tmp_path / "busy")
    results = run(a=("alone", busy), b=("alone", busy), c=("alone", busy), at_once=1)
    assert results == {"a": None, "b": None, "c": None}


def stands_still(file: Path) -> bool:
    """Whether a file stops growing within ten seconds, for half a second."""
    patience = time.monotonic() + 10
    while time.monotonic() < patience:
        size = file.stat().st_size if file.exists() else 0
        time.sleep(0.5)
        if size == (file.stat().st_size if file.exists() else 0):
            return True
    return False


@pytest.mark.parametrize("error", [KeyboardInterrupt, EdgeError])
def test_an_interruption_ends_every_process(run: Runner, tmp_path: Path, error: type[BaseException]) -> None:
    """Ctrl-C, or an error while a notice is taken, passes on after all processes were ended."""

    def interrupt(job: Job[Any], content: Any) -> None:
        raise error("stop")

    with pytest.raises(error):
        run(
            ort=("beat", str(tmp_path / "ort")),
            coreml=("beat", str(tmp_path / "coreml")),
            on_notice=interrupt,
        )
    assert stands_still(tmp_path / "ort")
    assert stands_still(tmp_path / "coreml")


PARENT = """
    import os, signal, sys
    from pathlib import Path
    import edge_job_helpers
    from udacimed_edge.core.jobs import Job, run_jobs

    def die(job, content):
        os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        folder = Path(sys.argv[1])
        job = Job("ort", edge_job_helpers.beat, str(folder / "beats"), folder / "ort.log", 1)
        run_jobs([job], 1, die)
"""


@pytest.mark.usefixtures("helpers")
def test_a_killed_parent_takes_its_processes_with_it(tmp_path: Path) -> None:
    """After kill -9 of the program, nothing of it goes on working."""
    script = tmp_path / "edge_parent.py"
    script.write_text(textwrap.dedent(PARENT), encoding="utf-8")
    ended = subprocess.run([sys.executable, script, tmp_path], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert stands_still(tmp_path / "beats")
