"""What is skipped is listed, becomes a failure where that is asked for, and hides no failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {
    "skip": "import pytest\ndef test_it():\n    pytest.skip('no such thing here')\n",
    "module": "import pytest\npytest.importorskip('no_such_module')\n",
    "defect": "def test_it():\n    assert 1 == 2\n",
    "library": "def test_it():\n    import no_such_module\n",
    "torch": "def test_it():\n    raise ModuleNotFoundError(\"No module named 'torch'\")\n",
    "fixture": "import pytest\n@pytest.fixture\ndef it():\n"
    "    raise ModuleNotFoundError(\"No module named 'torch'\")\ndef test_it(it):\n    pass\n",
    "imported": "raise ModuleNotFoundError(\"No module named 'torch'\")\n",
    "message": "def test_it():\n    print(\"No module named 'torch'\")\n    assert 1 == 3\n",
}
"""Small test modules, and what is wrong with them."""


@pytest.mark.parametrize(
    ("left_out", "require_all", "skipped"),
    [
        ((), "", {"skip", "module"}),
        ((), "1", set()),
        (("torch",), "", {"skip", "module", "torch", "fixture", "imported", "message"}),
    ],
)
def test_an_outcome_is_what_it_should_be(
    left_out: tuple[str, ...], require_all: str, skipped: set[str], tmp_path: Path
) -> None:
    """A test that wants an absent torch is skipped, every other failure stays, REQUIRE_ALL allows no skip."""
    for name, text in FILES.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    (tmp_path / "shared.py").symlink_to(Path(__file__).parent / "conftest.py")
    (tmp_path / "rules.py").write_text(f"from shared import *\nimport shared\nshared.LEFT_OUT = {left_out}\n")
    call = [sys.executable, "-m", "pytest", "-p", "rules", "-ra", "-q", "-c", os.devnull]
    call += ["--rootdir", str(tmp_path), "--continue-on-collection-errors", "."]
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "REQUIRE_ALL": require_all,
    }
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    said = re.findall(r"^(SKIPPED|FAILED|ERROR).*?\btest_(\w+)\.py", done.stdout, re.MULTILINE)
    assert {name for outcome, name in said if outcome == "SKIPPED"} == skipped, done.stdout + done.stderr
    assert {name for outcome, name in said if outcome != "SKIPPED"} == set(FILES) - skipped
