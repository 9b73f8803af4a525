"""Installs a bundle's wheels beside the program by the standard library alone: no pip, no venv, no network.

    python3 screen.pyz --install

The wheels that suit this Python are unpacked into `installed/cp311/` (or another version's name), from where
the program takes its libraries, whichever Python of that version starts it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

__all__ = ["FOLDER", "InstallError", "home", "install", "start"]

FOLDER = "installed"

_LINE = re.compile(r"([A-Za-z0-9._-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)")
_ALWAYS = {"numpy": "numpy", "PIL": "pillow"}
"""Modules that the program needs with every model, and what provides them."""


class InstallError(ValueError):
    """Why nothing was installed, and what to do, in one line."""


def start(arguments: list[str]) -> int:
    """Install, or run the screening program with what was installed.

    Args:
        arguments: The command line.

    Returns:
        The exit code; 3 where something is missing or the installation failed.
    """
    place = home()
    try:
        if "--install" in arguments:
            return _install_and_tell(place)
        sys.path.insert(1, str(place / FOLDER / _tag()))
        if missing := [name for module, name in _ALWAYS.items() if find_spec(module) is None]:
            raise InstallError(_what_is_missing(place, missing))
    except InstallError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    from udacimed_edge.runtime.screen import main

    return main(arguments)


def home() -> Path:
    """The folder of the zip this runs from; the working directory when it is no zip."""
    return next((above.parent for above in Path(__file__).absolute().parents if above.is_file()), Path.cwd())


def install(place: Path) -> Path:
    """Unpack the wheels that suit this Python; an earlier installation is replaced when all is well.

    Args:
        place: The bundle's folder, with `requirements.txt` and `wheels/`.

    Returns:
        Where they are.

    Raises:
        InstallError: A wheel is missing, damaged, or for another Python or computer; or the disk is full.
    """
    wheels = _suitable_wheels(place)
    final = place / FOLDER / _tag()
    staged = final.with_name(f"{final.name}.partial")
    try:
        for old in (staged, final.with_name(f"{final.name}.old")):
            shutil.rmtree(old, ignore_errors=True)
        staged.mkdir(parents=True)
        for wheel in wheels:
            _unpack(wheel, staged)
        if final.exists():
            final.rename(final.with_name(f"{final.name}.old"))
        staged.rename(final)
        shutil.rmtree(final.with_name(f"{final.name}.old"), ignore_errors=True)
    except (OSError, zipfile.BadZipFile, UnicodeError) as error:
        shutil.rmtree(staged, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) else error
        raise InstallError(
            f"NOT INSTALLED: {final} cannot be written: {reason}. Copy the bundle to the computer's own disk "
            "with 1 GB free, into a folder with a short name, then run this again."
        ) from error
    return final


def _install_and_tell(place: Path) -> int:
    sys.stdout.write(
        f"Installing into {place / FOLDER / _tag()} with Python {platform.python_version()} ...\n"
    )
    sys.stdout.flush()
    install(place)
    sys.stdout.write("Installed.\n")
    return 0


def _tag() -> str:
    return f"cp{sys.version_info[0]}{sys.version_info[1]}"


def _what_is_missing(place: Path, missing: list[str]) -> str:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    there = sorted(path.name for path in place.glob(f"{FOLDER}/cp3*") if path.name[3:].isdecimal())
    pythons = " and ".join(f"{name[2]}.{name[3:]}" for name in there)
    if there:
        return (
            f"{place} is installed for Python {pythons}, and this is Python {version}: start it with that one"
        )
    names = " and ".join(missing)
    if (place / "wheels").is_dir():
        script = "install.bat" if os.name == "nt" else "sh install.sh"
        return f"{names} are missing: the bundle is not installed yet; run {script} in {place} once"
    return f"{names} are missing: {place} is no bundle that can be installed; see START-HERE.txt of yours"


def _suitable_wheels(place: Path) -> list[Path]:
    """One whole wheel for each line of `requirements.txt`.

    Raises:
        InstallError: As for `install`.
    """
    try:
        lines = (place / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InstallError(
            f"NOT INSTALLED: there is no readable requirements.txt in {place}: copy the whole bundle again"
        ) from error
    return [_wheel_for(place / "wheels", line) for line in lines if line.strip()]


def _wheel_for(folder: Path, line: str) -> Path:
    if not (found := _LINE.fullmatch(line)):
        raise InstallError("NOT INSTALLED: requirements.txt is damaged: copy the whole bundle again")
    name, version, hashes = found.groups()
    stem = f"{_normal(name)}-{version}-".replace("-", "_", _normal(name).count("-"))
    candidates = [file for file in sorted(folder.glob("*.whl")) if _normal_file(file.name).startswith(stem)]
    suitable = [file for file in candidates if _suits(file)]
    if not suitable:
        raise InstallError(_no_wheel(name, candidates))
    if hashlib.sha256(suitable[0].read_bytes()).hexdigest() not in hashes:
        raise InstallError(
            f"NOT INSTALLED: {suitable[0].name} is damaged, or was changed: copy the whole bundle again"
        )
    return suitable[0]


def _no_wheel(name: str, candidates: list[Path]) -> str:
    if not candidates:
        return f"NOT INSTALLED: the wheel of {name} is missing: copy the whole bundle again"
    pythons = sorted(
        {found[1] for file in candidates if (found := re.search(r"-cp3(\d+)-", file.name))}, key=int
    )
    here = f"Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.system()} {platform.machine()}"
    wanted = " or ".join(f"3.{one}" for one in pythons)
    platforms = ", ".join(sorted({file.stem.split("-")[-1].split(".")[0] for file in candidates}))
    return f"NOT INSTALLED: this is {here}; {name} is for Python {wanted} on {platforms}"


def _suits(wheel: Path) -> bool:
    """Whether a wheel's last three tags fit this Python and computer (PyPA, "Binary distribution format")."""
    python, abi, places = wheel.stem.split("-")[-3:]
    version = sys.version_info[1]
    named = [int(found[1]) for tag in python.split(".") if (found := re.fullmatch(r"cp3(\d+)", tag))]
    stable = "abi3" in abi.split(".") and any(one <= version for one in named)
    return (version in named or stable or "py3" in python.split(".")) and any(
        map(_is_here, places.split("."))
    )


def _is_here(tag: str) -> bool:
    machine = platform.machine().lower()
    if tag == "any":
        return True
    if os.name == "nt":
        return tag == f"win_{machine}"
    return sys.platform == "linux" and tag.startswith("manylinux") and tag.endswith(f"_{machine}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _normal_file(name: str) -> str:
    first, _, rest = name.partition("-")
    return f"{re.sub(r'[-_.]+', '_', first).lower()}-{rest}"


def _unpack(wheel: Path, into: Path) -> None:
    """A wheel's modules; its scripts and headers, which nobody here needs, are left out.

    Raises:
        InstallError: A name leads out of the folder.
        OSError: A file cannot be written.
    """
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            parts = PurePosixPath(info.filename).parts
            if not parts or info.is_dir():
                continue
            if parts[0].endswith(".data"):
                if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                    continue
                parts = parts[2:]
            if any(part in ("..", "/") or "\\" in part or ":" in part for part in parts):
                raise InstallError(f"NOT INSTALLED: {wheel.name} is no wheel: it holds {info.filename!r}")
            target = into.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
