"""Optional libraries: found without being imported, and missed by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from udacimed_edge.core.errors import ExtraMissingError
from udacimed_edge.core.extras import is_installed, require


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("json", True),
        ("json.decoder", True),
        ("no_such_library", False),
        ("no_such_library.part", False),
        ("json.no_such_part", False),
        ("json.decoder.no_such_part", False),
    ],
)
def test_a_library_is_found_or_not(module: str, expected: bool) -> None:
    """A module is installed when it can be found, whatever of its parents is missing."""
    assert is_installed(module) is expected


def test_looking_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library is looked for without running any of it."""
    (tmp_path / "edge_costly_library.py").write_text("raise SystemExit", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert is_installed("edge_costly_library")
    assert "edge_costly_library" not in sys.modules


def test_an_installed_library_is_imported() -> None:
    """What is installed comes back as the module itself."""
    assert require("json", "ort") is json


def test_a_missing_library_names_the_command_that_installs_it() -> None:
    """What is not installed is an error with the library's name and the pip command for its extra."""
    with pytest.raises(ExtraMissingError) as caught:
        require("no_such_library", "openvino")
    assert caught.value.message == "the library 'no_such_library' is not installed"
    assert caught.value.hint == "install it with: pip install '.[openvino]' in the project's folder"
