"""examples/mutate.py: the changes it makes, what it says of those unnoticed, and how it goes on."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from support import load_script

SCRIPT = Path(__file__).parents[2] / "examples" / "mutate.py"


@pytest.fixture
def script() -> ModuleType:
    """The script as a module."""
    return load_script(SCRIPT)


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("a >= b", ["(a > b)"]),
        ("a < b <= c", ["(a <= b <= c)", "(a < b < c)"]),
        ("not a", ["(a)"]),
        ("a and b", ["(a or b)"]),
        ("x = 7", ["x = 8", "x = 6"]),
        ("x = 0.5", ["x = 0.76", "x = 0.25"]),
        ("x = True", ["x = False"]),
        ("x = 'PASS'", ["x = 'not PASS'"]),
        ("def f(): return a", ["def f(): return None"]),
        ("f(a)", ["pass"]),
        ("if a: b", ["if (not a): b"]),
        ("raise ValueError(1)", ["pass"]),
        ("x = 'é' + a", ["x = ('é' - a)", "x = 'not é' + a"]),
        # what decides nothing stays: types, documentation, messages, public names
        ("def f(a: int | None) -> 'b': '''Say.'''", []),
        ("x = f'{a + 1}'", []),
        ("__all__ = ['a']", []),
        ("x = 'a message'", []),
    ],
)
def test_the_changes_to_a_line(script: ModuleType, code: str, changed: list[str]) -> None:
    """Each place is changed on its own, and nothing but what decides."""
    assert [mutant.text for mutant in script.mutants("a.py", code)] == changed


def test_a_seed_draws_the_same_again(script: ModuleType) -> None:
    """At most 400 are drawn, the same at every call, those of the most dangerous file first."""
    drawn = script.chosen(script.PROJECT, "", 400, 0)
    assert drawn == script.chosen(script.PROJECT, "", 400, 0)
    assert drawn != script.chosen(script.PROJECT, "", 400, 1)
    assert len({mutant.key for mutant in drawn}) == len(drawn) == 400
    assert list(dict.fromkeys(mutant.file for mutant in drawn)) == list(script.TESTS)


@pytest.fixture
def project(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one function, whose test does not look at the bound."""
    folder = tmp_path / "project"
    (folder / "dev").mkdir(parents=True)
    (folder / "dev" / "deciding.py").write_text("def high(x):\n    return x >= 7\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text(
        "from deciding import high\n\n\ndef test_it():\n    assert high(9)\n    assert high(0) is False\n"
    )
    monkeypatch.setattr(script, "PROJECT", folder)
    monkeypatch.setattr(script, "COPIED", ("dev", "tests"))
    monkeypatch.setattr(script, "IMPORTED", ("pytest",))
    monkeypatch.setattr(script, "TESTS", {"dev/deciding.py": ("tests/test_it.py",)})
    return folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks: Linux and macOS")
def test_what_no_test_notices_is_shown(script: ModuleType, project: Path, tmp_path: Path) -> None:
    """A survivor is shown with its diff, a second run tries nothing anew, the project is not touched."""
    before, state = (project / "dev/deciding.py").read_text(), tmp_path / "state.json"
    first = CliRunner().invoke(script.main, ["--state", str(state)])
    assert first.exit_code == 1, first.output
    assert "dev/deciding.py: 4 changes" in first.output
    assert "-    return x >= 7\n+    return (x > 7)\n" in first.output
    assert "4 of 4 tried: 1 killed, 3 survived" in first.output  # 6 and 8 are as good as 7 to that test
    second = CliRunner().invoke(script.main, ["--state", str(state)])
    assert "changes," not in second.output
    assert second.output.endswith("4 of 4 tried: 1 killed, 3 survived\n")

    tests = project / "tests/test_it.py"
    tests.write_text(tests.read_text() + "    assert high(7)\n    assert high(6) is False\n")
    third = CliRunner().invoke(script.main, ["--state", str(state), "--again"])
    assert "dev/deciding.py: 3 changes" in third.output
    assert third.output.endswith("4 of 4 tried: 4 killed, 0 survived\n")
    assert third.exit_code == 0
    assert (project / "dev/deciding.py").read_text() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks: Linux and macOS")
def test_tests_that_fail_anyway_are_said(script: ModuleType, project: Path, tmp_path: Path) -> None:
    """Where the tests fail without any change, nothing is called noticed."""
    (project / "dev/deciding.py").write_text("def high(x):\n    return x >= 70\n")
    done = CliRunner().invoke(script.main, ["--state", str(tmp_path / "state.json")])
    assert done.exit_code == 1
    assert "tests/test_it.py fail without any change" in done.output
    assert not (tmp_path / "state.json").exists()
