"""The table of formats: every row is whole, and looking one up costs nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from udacimed_edge.runtime.formats import FORMATS, SUFFIXES, FormatSpec, StandIn, format_of

every_row = pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)


def test_the_table_imports_nothing_heavy() -> None:
    """Whoever asks for a format's name pays for the standard library alone, without numpy."""
    script = "import sys, udacimed_edge.runtime.formats; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@every_row
@pytest.mark.parametrize("place", ["runtime", "converters", "validation.judging.audit"])
def test_a_format_has_its_three_modules(row: FormatSpec, place: str) -> None:
    """A reader, a writer and an audit bear the format's name."""
    assert find_spec(f"udacimed_edge.{place}.{row.name}")


@every_row
def test_a_format_is_found_by_its_suffix(row: FormatSpec) -> None:
    """No two formats share a suffix, and an artifact's leads to its row."""
    assert len(SUFFIXES) == len(FORMATS)
    assert format_of(Path(f"model{row.suffix}")) is row


@every_row
def test_a_row_agrees_with_itself(row: FormatSpec) -> None:
    """What `--target all` makes can be made, INT8 has recipes from 1 on, and the default comes first."""
    assert {*row.standard} <= {*row.precisions}
    assert row.standard[:1] in ((), row.precisions[:1])
    assert bool(row.recipes) == ("int8" in row.precisions)
    assert [recipe.number for recipe in row.recipes] == list(range(1, len(row.recipes) + 1))
    assert row.library.partition(".")[0] in row.to_execute


@pytest.mark.parametrize(("system", "stands_in"), [("linux", True), ("win32", True), ("darwin", False)])
def test_a_stand_in_reads_where_the_runtime_is_not(
    system: str, stands_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off macOS the MIL executor reads Core ML's packages, on macOS Core ML itself."""
    monkeypatch.setattr(sys, "platform", system)
    assert (FORMATS["coreml"].stand_in_here is not None) is stands_in
    assert FORMATS["ort"].stand_in_here is None


def test_judging_opens_through_the_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a row names as stand-in opens its artifacts in validation, with the threads asked for."""
    from udacimed_edge.validation.judging.evaluate import open_predictor

    (tmp_path / "made_up_reader.py").write_text(
        "from udacimed_edge.runtime.contract import Predictor\n"
        "def open_artifact(path, threads):\n    return Predictor(None, len, threads, str(path))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    stand_in = StandIn("made_up_reader", system="plan9", words="by a test")
    changed = replace(FORMATS["ort"], stand_in=stand_in, to_execute=("numpy",))
    monkeypatch.setitem(FORMATS, "ort", changed)
    opened = open_predictor(tmp_path / "model.ort", 3)
    assert (opened.executor, opened.batch) == (str(tmp_path / "model.ort"), 3)
