"""examples/python313.py: what it installs without torch, and what it says where it cannot run."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples/python313.py"


def test_without_torch_nothing_needs_torch() -> None:
    """The requirements are pyproject.toml's, less torch with what needs it and less the linters."""
    script = runpy.run_path(str(SCRIPT))
    wanted = "\n".join(script["requirements"](SCRIPT.parents[1]))
    for name in ("numpy", "onnxruntime", "pydicom", "py-minisign", "hypothesis", "pytest"):
        assert f"\n{name}>" in f"\n{wanted}"
    for name in ("torch", "torchvision", "medmnist", "mypy"):
        assert f"\n{name}>" not in f"\n{wanted}"


def test_pip_reads_the_same_settings_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration of pip, and the files that it names, lie in the root at the same places."""
    constraints, settings = tmp_path / "constraints.txt", tmp_path / "pip.conf"
    constraints.write_text("numpy<3\n")
    settings.write_text(f"[global]\nconstraint = {constraints}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    script = runpy.run_path(str(SCRIPT))
    script["copy_settings"](tmp_path / "root")
    for file in (constraints, settings):
        assert (tmp_path / "root" / file.relative_to("/")).read_text() == file.read_text()


def test_without_a_root_it_says_how_to_make_one(tmp_path: Path) -> None:
    """Where there is no root, the message names .ci/prepare, and the exit status is none of pytest's."""
    call = [sys.executable, str(SCRIPT), "--root", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 75
    assert "sudo .ci/prepare" in done.stderr
