"""Installing on a device: by the standard library alone, hashes checked, or one line that says why not."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from udacimed_edge.runtime import installer
from udacimed_edge.runtime.installer import InstallError, install
from udacimed_edge.targets.bundle.runner import build_runner

HERE = f"cp3{sys.version_info[1]}"
MACHINE = platform.machine().lower()
PLATFORM = f"win_{MACHINE}" if os.name == "nt" else f"manylinux_2_28_{MACHINE}"

pytestmark = pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="bundles run on neither")


def wheel(folder: Path, name: str = "numpy", tags: str = "py3-none-any", **files: str) -> tuple[Path, str]:
    """A wheel with one module, and its line in requirements.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name.replace('-', '_')}-1.0-{tags}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for inside, text in {f"{name.replace('-', '_')}/__init__.py": "ok = True\n", **files}.items():
            archive.writestr(inside, text)
    return file, f"{name}==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def bundle(place: Path, *lines: str) -> Path:
    """A bundle's folder with these requirements."""
    (place / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def test_wheels_are_unpacked_beside_the_program(tmp_path: Path) -> None:
    """Modules lie at the top, those in a .data folder too; scripts are left out, an old folder replaced."""
    files = {
        "fake_runtime-1.0.data/purelib/extra.py": "",
        "fake_runtime-1.0.data/scripts/tool": "",
        "fake_runtime.libs/lib.so": "",
    }
    lines = [
        wheel(tmp_path / "wheels")[1],
        wheel(tmp_path / "wheels", "fake-runtime", f"{HERE}-{HERE}-{PLATFORM}", **files)[1],
    ]
    wheel(tmp_path / "wheels", "fake-runtime", f"cp36-cp36-{PLATFORM}")
    stale = tmp_path / "installed" / HERE / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    place = install(bundle(tmp_path, *lines))
    assert place == tmp_path / "installed" / HERE
    found = sorted(file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file())
    assert found == ["extra.py", "fake_runtime.libs/lib.so", "fake_runtime/__init__.py", "numpy/__init__.py"]
    assert [path.name for path in (tmp_path / "installed").iterdir()] == [HERE]


def without_line(place: Path) -> None:
    """A requirement without version and hash."""
    bundle(place, "numpy>=1")


def changed(place: Path) -> None:
    """A wheel with a byte more."""
    file, line = wheel(place / "wheels")
    file.write_bytes(file.read_bytes() + b"\0")
    bundle(place, line)


def missing(place: Path) -> None:
    """A wheel that is not there."""
    bundle(place, wheel(place / "wheels")[1], f"pillow==1.0 --hash=sha256:{'0' * 64}")


def foreign(place: Path) -> None:
    """A wheel for another Python and computer."""
    bundle(place, wheel(place / "wheels", tags="cp36-cp36-manylinux_2_28_riscv64")[1])


def leading_out(place: Path) -> None:
    """A wheel that would write outside."""
    bundle(place, wheel(place / "wheels", **{"../outside.py": ""})[1])


def no_zip(place: Path) -> None:
    """A wheel that is text."""
    (place / "wheels").mkdir()
    (place / "wheels" / "numpy-1.0-py3-none-any.whl").write_bytes(b"text")
    bundle(place, f"numpy==1.0 --hash=sha256:{hashlib.sha256(b'text').hexdigest()}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: None, r"there is no readable requirements.txt in .*: copy the whole bundle again"),
        (without_line, "requirements.txt is damaged: copy the whole bundle again"),
        (changed, "numpy-1.0-py3-none-any.whl is damaged, or was changed: copy the whole bundle again"),
        (missing, "the wheel of pillow is missing: copy the whole bundle again"),
        (foreign, r"this is Python 3\.\d+ on .*; numpy is for Python 3.6 on manylinux_2_28_riscv64"),
        (leading_out, "is no wheel: it holds '../outside.py'"),
        (no_zip, r"cannot be written: File is not a zip file\. Copy the bundle to the computer's own disk"),
    ],
)
def test_what_cannot_be_installed_is_said_in_a_line(
    make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    """Nothing is installed, and the line says what to do."""
    make(tmp_path)
    with pytest.raises(InstallError, match=f"^NOT INSTALLED: .*{message}"):
        install(tmp_path)
    assert not (tmp_path / "installed" / HERE).exists()
    assert not (tmp_path / "outside.py").exists()


def test_a_full_disk_leaves_the_earlier_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a wheel cannot be unpacked, what was installed before is still there."""
    place = bundle(tmp_path, wheel(tmp_path / "wheels")[1])
    install(place)

    def full(wheel: Path, into: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(installer, "_unpack", full)
    with pytest.raises(InstallError, match="No space left on device"):
        install(place)
    assert [path.name for path in (tmp_path / "installed").iterdir()] == [HERE]
    assert (tmp_path / "installed" / HERE / "numpy" / "__init__.py").exists()


def program(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """screen.pyz in a Python that has no packages at all."""
    command = [sys.executable, "-I", "-S", str(place / "screen.pyz"), *arguments]
    return subprocess.run(command, cwd=place.parent, capture_output=True, text=True, check=False)


def test_the_program_says_in_a_line_what_is_missing(tmp_path: Path) -> None:
    """No bundle, one that is not installed, and one installed for another Python each have their line."""
    place = tmp_path / "bundle"
    place.mkdir()
    build_runner(place)
    ended = program(place, "image.png")
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (3, "", 1)
    assert "numpy and pillow are missing" in ended.stderr
    assert "is no bundle that can be installed" in ended.stderr
    (place / "wheels").mkdir()
    assert "the bundle is not installed yet; run" in program(place, "image.png").stderr
    (place / "installed" / "cp36").mkdir(parents=True)
    ended = program(place, "image.png")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert ended.stderr == (
        f"{place} is installed for Python 3.6, and this is Python {version}: start it with that one\n"
    )


def test_the_program_installs_and_finds_what_it_installed(tmp_path: Path) -> None:
    """`screen.pyz --install` needs no package; after it the program takes its libraries from there."""
    place = tmp_path / "bundle"
    place.mkdir()
    build_runner(place)
    numpy = "raise SystemExit('numpy of the bundle')"
    lines = [
        wheel(place / "wheels", "numpy", **{"numpy/__init__.py": numpy})[1],
        wheel(place / "wheels", "pillow", **{"PIL/__init__.py": ""})[1],
    ]
    bundle(place, *lines)
    ended = program(place, "--install")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("\nInstalled.\n")
    assert program(place, "image.png").stderr == "numpy of the bundle\n"
