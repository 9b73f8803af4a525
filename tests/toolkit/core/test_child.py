"""A child process: from where it can be started, and what is left of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from udacimed_edge.core.child import how_it_ended

UNGUARDED = """
import operator
from pathlib import Path
from udacimed_edge.core.jobs import Job, run_jobs

print("the script runs")
Path("json.py").write_text("raise SystemExit('a file of the working directory was imported')")
print(run_jobs([Job("sum", max, 3, Path("sum.log"), 1)], 1, print))
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    """A script without `if __name__ == "__main__"`, or a notebook, starts children that do not start it."""
    (tmp_path / "script.py").write_text(UNGUARDED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "the script runs"
    assert done.stdout.count("the script runs") == 1


def test_a_program_from_standard_input_starts_children(tmp_path: Path) -> None:
    """As in a notebook there is no file of the main module."""
    program = (
        "from udacimed_edge.core.child import Child\nimport builtins\n"
        "c = Child(print, 1); c.end(); print('ok')"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=program, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "exit code 1"), (0, "exit code 0"), (-9, "signal 9, killed"), (-6, "signal 6, aborted")],
)
def test_an_ending_has_words(code: int, words: str) -> None:
    """A number alone tells a person nothing."""
    assert how_it_ended(code) == words
