"""One run at a time into one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from udacimed_edge.core.errors import OutputError
from udacimed_edge.core.lock import LOCK, locked

HOLD = (
    "import sys, time; from pathlib import Path; from udacimed_edge.core.lock import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that writes into the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_who_holds_the_folder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The message names process, computer and time; the exit code is that of what cannot be written."""
    try:
        with pytest.raises(OutputError, match=rf"process {holder.pid} on \S+, since 20\d\d-") as caught:
            locked(tmp_path).__enter__()
        assert caught.value.exit_code == 7
    finally:
        holder.kill()
        holder.wait()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """After kill -9 the next run begins, and nothing stays."""
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()
    assert list(tmp_path.iterdir()) == []


def test_one_process_may_enter_again(tmp_path: Path) -> None:
    """`package` converts into the folder that it writes to: the lock lasts until the outer end."""
    with locked(tmp_path):
        with locked(tmp_path / "."):
            pass
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_cannot_be_made_is_an_error_for_people(tmp_path: Path) -> None:
    """A file in the way is said to be in the way."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"), locked(tmp_path / "file"):
        pass
