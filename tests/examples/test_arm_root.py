"""The ARM root for emulated processors."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from support import load_script

SCRIPT = Path(__file__).parent.parent.parent / "examples/arm_root.py"

APT = """#!/bin/sh
for word; do
  case "$word" in
    -oDir::Cache=*) cache=${word#*=} ;;
    install) echo > "$cache/archives/python3_arm64.deb" ;;
  esac
done
"""
"""Stands in for apt-get: one package comes into its cache."""

DPKG = """#!/bin/sh
mkdir -p "$3/usr/bin" && ln -s python3.11 "$3/usr/bin/python3"
"""


@pytest.fixture
def arm_root(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its wheels left out."""
    module = load_script(SCRIPT)
    monkeypatch.setattr(module, "install_libraries", lambda root, python: None)
    return module


def tools(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Put shell scripts in the place of Debian's programs."""
    for name, script in scripts.items():
        (folder / name.replace("_", "-")).write_text(script)
        (folder / name.replace("_", "-")).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin" if scripts else str(folder))


def test_a_root_describes_its_processor(
    arm_root: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages are unpacked and a Cortex-A72 with four cores is described; an older root is replaced."""
    tools(tmp_path, monkeypatch, apt_get=APT, dpkg=DPKG)
    root = tmp_path / "out/arm64"
    root.mkdir(parents=True)
    (root / "older").touch()
    done = CliRunner().invoke(arm_root.main, ["--out", str(root)])
    assert done.exit_code == 0, done.output
    assert f"export UDACIMED_ARM_ROOT={root}" in done.output
    assert not (root / "older").exists()
    assert (root / "usr/bin/python3").readlink() == Path("python3.11")
    assert (root / "lib").readlink() == Path("usr/lib")
    assert (root / "proc/cpuinfo").read_text().count("CPU part\t: 0xd08") == 4
    assert (root / "sys/devices/system/cpu/online").read_text() == "0-3\n"


@pytest.mark.parametrize(
    ("scripts", "message"),
    [
        ({}, "apt-get is not installed"),
        ({"apt_get": "#!/bin/sh\necho E: no network >&2\nexit 100\n"}, "E: no network"),
        ({"apt_get": APT, "dpkg": "#!/bin/sh\necho disk full >&2\nexit 2\n"}, "disk full"),
    ],
)
def test_what_fails_leaves_nothing(
    scripts: dict[str, str],
    message: str,
    arm_root: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message says what went wrong, without a traceback, and no half root is left."""
    tools(tmp_path, monkeypatch, **scripts)
    done = CliRunner().invoke(arm_root.main, ["--out", str(tmp_path / "out/arm64")])
    assert done.exit_code == 1
    assert message in done.output
    assert isinstance(done.exception, SystemExit)
    assert list((tmp_path / "out").iterdir()) == []
