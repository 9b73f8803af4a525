"""What a machine does to a conversion: a full disk, a signal, a death, an odd umask."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import FP32, LENIENT, silent

from udacimed_edge.core.data import DataSet
from udacimed_edge.core.errors import ConversionError, OutputError
from udacimed_edge.core.files import full_disk, make_readable, staging
from udacimed_edge.core.lock import LOCK, locked
from udacimed_edge.source.load import SourceModel
from udacimed_edge.workflow.convert import convert_all
from udacimed_edge.workflow.plan import ConversionPlan, Item, Stage


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own of so many MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", str(place)]
    able = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None
    if not able or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small file system can be mounted by root on Linux alone")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", [1, 4, 8], indirect=True)
@pytest.mark.parametrize("model", ["student", "reference"])
def test_a_full_disk_is_named(small_disk: Path, model: str) -> None:
    """Exit code 7 and the path, whoever fails to write: we, torch, or a library in a process of its own."""
    out = small_disk / "out"
    words = ["convert", "--model", model, "--target", "ort", "--precision", "fp32", "--data", "synthetic"]
    done = subprocess.run(
        [sys.executable, "-m", "udacimed_edge", *words, "--out", str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert f"cannot write {out}" in done.stderr
    assert "free some space" in done.stderr
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("small_disk", [1], indirect=True)
def test_what_failed_for_want_of_space_says_so(small_disk: Path) -> None:
    """A library's own words are no reason where the disk is full; where it is not, they are."""
    assert full_disk(small_disk / "out" / "model.ort", 1000) is None
    (small_disk / "filler").write_bytes(bytes(1 << 20))
    error = full_disk(small_disk / "out" / "model.ort", 1000)
    assert isinstance(error, OutputError)
    assert str(small_disk / "out" / "model.ort") in error.message


def _children() -> list[int]:
    """Processes that this one has started and not waited for."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
def test_a_child_that_is_killed_is_one_failed_item(
    source: SourceModel, data: DataSet, tmp_path: Path
) -> None:
    """The item it worked on has the reason and its log; the next item gets another process and passes."""
    items = (Item("ort", "fp32"), Item("ort", "int8"))

    def kill(event: object) -> None:
        if isinstance(event, Stage) and (event.item, event.name) == ("ort-fp32", "convert"):
            for pid in _children():
                os.kill(pid, signal.SIGKILL)

    first, second = convert_all(source, data, ConversionPlan(items, tmp_path, LENIENT), kill)
    assert isinstance(first.error, ConversionError)
    assert "signal 9, killed" in first.error.message
    assert str(tmp_path / "logs" / "ort.log") in first.error.hint
    assert (tmp_path / "logs" / "ort.log").exists()
    assert second.report is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logs", "ort-int8"]


def test_two_runs_into_one_folder_are_refused(source: SourceModel, data: DataSet, tmp_path: Path) -> None:
    """The second run into a folder that another process writes to ends before it has done anything."""
    hold = """
import sys, time, pathlib, udacimed_edge.core.lock as lock
with lock.locked(pathlib.Path(sys.argv[1])):
    print(flush=True)
    time.sleep(99)
"""
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    try:
        with pytest.raises(OutputError, match=f"process {other.pid} on "):
            convert_all(source, data, ConversionPlan(FP32, tmp_path, LENIENT), silent)
        assert [p.name for p in tmp_path.iterdir()] == [LOCK]
    finally:
        other.kill()
        other.wait()


def test_what_was_killed_is_removed_by_the_next_run(tmp_path: Path) -> None:
    """Staging of a dead process goes, also where its number is ours again, as in a container."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        (tmp_path / f".staging-{pid}-left").mkdir()
    with locked(tmp_path), staging(tmp_path) as folder, staging(tmp_path) as inner:
        assert {p.name for p in tmp_path.iterdir()} == {LOCK, folder.name, inner.name}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_conversion_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """SIGTERM, or a closed terminal, is like Ctrl-C: no staging, no lock, no logs, exit code 130."""
    words = ["convert", "--model", "student", "--target", "litert", "--data", "synthetic"]
    process = subprocess.Popen(
        [sys.executable, "-m", "udacimed_edge", *words, "--out", str(tmp_path / "out")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip().startswith("litert-int8: convert"):
            break
    time.sleep(0.5)
    process.send_signal(number)
    assert process.wait(30) == 130
    assert "nothing half-done" in process.stderr.read()
    assert list((tmp_path / "out").iterdir()) == []


def test_everybody_can_read_a_result(tmp_path: Path) -> None:
    """Whatever the umask, a result's folders are 755, its files 644, its programs 755."""
    before = os.umask(0o077)
    try:
        (tmp_path / "made" / "inner").mkdir(parents=True)
        (tmp_path / "made" / "inner" / "model").touch()
        (tmp_path / "made" / "install.sh").touch(0o700)
        make_readable(tmp_path / "made")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "made").rglob("*")}
    assert modes == {"inner": 0o755, "model": 0o644, "install.sh": 0o755}
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o755
