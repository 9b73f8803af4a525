"""Processes in another processor's place: none is waited for in vain, none is left behind."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import pytest

from udacimed_edge.validation.judging.emulation import (
    ARM_ROOT_VARIABLE,
    WHEELS,
    Command,
    Emulator,
    Ending,
    run_all,
)

ARM = Emulator("qemu-aarch64-static", "cortex-a72", foreign=True)
X86 = Emulator("qemu-x86_64-static", "Haswell")


def run(script: str, folder: Path, told: list[int] | None = None, patience_s: float = 0.5) -> Ending:
    """How a shell script ends that should print 1 and 2."""
    command = Command("row", ("sh", "-c", script), os.environ, 2)
    notes = told if told is not None else []
    return run_all([command], folder, 1, lambda name, number: notes.append(number), patience_s)["row"]


def test_a_process_that_ends_well_has_no_problem(tmp_path: Path) -> None:
    """Its numbers are passed on as they come; whatever else it prints is not."""
    told: list[int] = []
    assert run("echo loading; echo 1; echo 7; echo 2", tmp_path, told).problem == ""
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 1; exit 3", "it died after 1 of 2 images (exit code 3)"),
        ("echo 1; echo no memory >&2; kill -11 $$", "it died after 1 of 2 images (signal 11): no memory"),
        ("echo 1; sleep 60", "it hung: nothing new within 0.5 s after 1 of 2 images"),
        ("while :; do echo 1; sleep 0.05; done", "it hung: nothing new within 0.5 s after 1 of 2 images"),
        ("while :; do echo 3; sleep 0.05; done", "it hung: nothing new within 0.5 s after 0 of 2 images"),
        ("while :; do echo x; sleep 0.05; done", "it hung: nothing new within 0.5 s after 0 of 2 images"),
        ("echo 1; exec >&-; sleep 60", "it hung: nothing new within 0.5 s after 1 of 2 images"),
        ("head -c 200000 /dev/zero; sleep 60", "it hung: nothing new within 0.5 s after 0 of 2 images"),
    ],
)
def test_a_process_that_dies_or_hangs_is_told_apart(script: str, problem: str, tmp_path: Path) -> None:
    """The problem says how far it came, and how it ended; printing nothing new is hanging."""
    assert run(script, tmp_path).problem == problem


def test_a_program_that_cannot_be_started_is_a_problem(tmp_path: Path) -> None:
    """A file that is no program does not end the others with it."""
    (tmp_path / "broken").write_text("")
    commands = [
        Command("broken", (str(tmp_path / "broken"),), os.environ, 1),
        Command("sound", ("echo", "1"), os.environ, 1),
    ]
    endings = run_all(commands, tmp_path, 2, lambda name, number: None)
    assert "broken cannot be started: Permission denied" in endings["broken"].problem
    assert endings["sound"].problem == ""


def test_a_process_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    """What hangs is killed whole: the process that its process started too."""
    run("sleep 300 & echo $! > child; wait", tmp_path)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while _is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        # killed, and whoever adopted it has not noticed yet
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_no_more_run_at_once_than_allowed(tmp_path: Path) -> None:
    """With one at a time the second waits for the end of the first."""
    alone = "mkdir lock && sleep 0.1 && rmdir lock && echo 1"
    commands = [Command(name, ("sh", "-c", alone), os.environ, 1) for name in ("first", "second")]
    endings = run_all(commands, tmp_path, 1, lambda name, number: None)
    assert [ending.problem for ending in endings.values()] == ["", ""]


@pytest.mark.skipif(sys.platform != "linux", reason="qemu emulates user programs on Linux only")
def test_what_is_missing_names_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without emulator or ARM root the command that brings it is named; with both nothing is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(ARM_ROOT_VARIABLE, str(tmp_path / "arm64"))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert X86.missing() == "qemu-x86_64-static is not installed: apt-get install qemu-user-static"
    for emulator in (ARM, X86):
        (tmp_path / emulator.program).write_text("#!/bin/sh\n")
        (tmp_path / emulator.program).chmod(0o755)
    assert X86.missing() == ""
    assert ARM.missing().endswith(f"python examples/arm_root.py --out {tmp_path / 'arm64'}")
    (tmp_path / "arm64/usr/bin").mkdir(parents=True)
    (tmp_path / "arm64/usr/bin/python3").touch()
    assert ARM.missing() == ""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert X86.missing() == "it needs an x86-64 Python, and this one is not"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ARM.missing() == "qemu-aarch64-static emulates on Linux only"


def test_a_foreign_python_sees_nothing_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts from the ARM root and finds the libraries there and our package, nothing of this computer."""
    monkeypatch.setenv(ARM_ROOT_VARIABLE, str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/x86")
    assert ARM.python()[-3:] == ("-L", str(tmp_path), str(tmp_path / "usr/bin/python3"))
    environment = ARM.environment(Path("/package"))
    assert environment.keys() == {"PATH", "PYTHONPATH"}
    assert environment["PYTHONPATH"] == f"{tmp_path / WHEELS}:/package"
    assert X86.python()[-1] == sys.executable
    assert X86.environment(Path("/package"))["LD_LIBRARY_PATH"] == "/x86"
