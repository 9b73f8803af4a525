"""The README promises what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from udacimed_edge.cli.main import cli

README = Path(__file__).parent.parent / "README.md"


def section(name: str) -> str:
    """What stands between `<!-- name -->` and `<!-- end -->`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"README has no section {name}"
    return found[1]


def test_the_command_list_is_the_program_s() -> None:
    """README lists exactly the commands that exist, in the words of their help."""
    listed = re.findall(r"^\| `udacimed-edge ([a-z]+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(cli.commands)


def test_exit_codes_are_those_of_the_help() -> None:
    """README names every exit code of the program's help, in the same words."""
    stated = " ".join((cli.help or "").partition("Exit codes:")[2].partition(".")[0].split())
    readme = " ".join(README.read_text(encoding="utf-8").split())
    assert stated
    for code in stated.split(", "):
        assert code in readme


@pytest.mark.parametrize("name", ["start", "tests"])
def test_set_up_is_one_command(name: str) -> None:
    """Each of the two commands is one line that begins by making the environment."""
    (line,) = [x for x in section(name).splitlines() if not x.startswith("```")]
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_it_is_one_page() -> None:
    """README stays a page: what does not fit is in docs/."""
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    prose = [line for line in lines if not line.startswith(("|", "```", "python3", " "))]
    assert max(map(len, prose)) <= 130


def test_every_link_leads_somewhere() -> None:
    """Every file that README links to is there."""
    links = re.findall(r"\]\((?!https:)([^)#]+)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
