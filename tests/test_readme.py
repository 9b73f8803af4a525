"""The README promises what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from udacimed_edge.cli.main import cli

README = Path(__file__).parent.parent / "README.md"


def section(name: str) -> str:
    """What stands between `<!-- name -->` and `<!-- end -->`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", README.read_text(), re.DOTALL)
    assert found, f"README has no section {name}"
    return found[1]


def test_the_command_list_is_the_program_s() -> None:
    """README lists exactly the commands that exist, in the words of their help."""
    listed = re.findall(r"^\| `udacimed-edge ([a-z]+)` \|", README.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(cli.commands)


@pytest.mark.parametrize("code", [0, 2, 3, 4, 5, 6, 7, 130])
def test_exit_codes_are_those_of_the_help(code: int) -> None:
    """README and the program's help name the same exit codes with the same words."""
    text = " ".join((cli.help or "").split())
    meaning = re.search(rf"\b{code} ([a-z ]+)", text)
    assert meaning
    assert f"{code} {meaning[1]}" in " ".join(README.read_text().split())


@pytest.mark.parametrize("name", ["start", "tests"])
def test_set_up_is_one_command(name: str) -> None:
    """Each of the two commands is one line that begins by making the environment."""
    (line,) = [x for x in section(name).splitlines() if not x.startswith("```")]
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
