"""The package as a whole: who imports whom, what an import costs, what is installed."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from importlib.util import resolve_name
from pathlib import Path

import pytest

import udacimed_edge

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "toolkit": "udacimed_edge",
    "converters": "udacimed_edge.converters",
    "targets": "udacimed_edge.targets",
    "validation": "udacimed_edge.validation",
}

ORDER = (
    {"errors", "files", "runtime"},
    {"artifact", "extras", "machine", "jobs"},
    {"card", "data", "network", "load_pt2", "load_onnx", "source"},
    {"converters", "targets", "validation"},
    {"ladder", "prepare", "doctor", "reporting", "verification"},
    {"optimization"},
    {"benchmark"},
    {"plan"},
    {"pipeline"},
    {"packaging"},
    {"display"},
    {"options"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""A module or folder imports from its own row and the rows above it."""

APART = {"converters", "targets", "validation"}
"""These do not import one another, although they share a row."""

SHIPPED = {"numpy", "PIL", "onnxruntime", "ai_edge_litert", "openvino", "coremltools", "pydicom"}
"""What the runtime, which goes to the device, may import besides itself and the standard library."""

HEAVY = (
    "coremltools",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "pydantic",
    "rich",
    "scipy",
    "torch",
)


def sources() -> dict[str, Path]:
    """Every module of the five packages by its dotted name; a package by the name of its `__init__`."""
    found = {}
    for folder, package in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *parts))] = file
    return found


MODULES = sources()
checkout = pytest.mark.skipif(
    "udacimed_edge.__init__" not in MODULES, reason="no source folders beside the tests"
)


def part_of(name: str) -> str:
    """The module or folder that holds a dotted name: "converters"; "" for the package itself."""
    first = name.removeprefix("udacimed_edge").removeprefix(".").partition(".")[0]
    return first if any(first in row for row in ORDER) else ""


def imported(name: str, text: str) -> set[str]:
    """Every name that a module imports, at its top or in a function, dotted."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), name.rpartition(".")[0])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def violations(name: str, text: str) -> list[str]:
    """The imports of a module that go against the order."""
    mine, ranks = part_of(name), {part: rank for rank, row in enumerate(ORDER) for part in row}
    wrong = []
    for target in sorted(imported(name, text)):
        top, other = target.partition(".")[0], part_of(target)
        if mine == "runtime":
            allowed = top in sys.stdlib_module_names | SHIPPED or other == "runtime"
        elif top != "udacimed_edge" or not other:
            allowed = True
        else:
            allowed = ranks[other] <= ranks[mine] and (mine == other or not {mine, other} <= APART)
        if not allowed:
            wrong.append(target)
    return wrong


@checkout
@pytest.mark.parametrize("name", [name for name in MODULES if name != "udacimed_edge.__init__"])
def test_every_module_has_a_place(name: str) -> None:
    """Every module stands in the order of imports."""
    assert part_of(name)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str) -> None:
    """No module imports what is built on it, nor a format its judge."""
    assert violations(name, MODULES[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "line", "refused"),
    [
        ("validation.gate", "from udacimed_edge.converters import FORMATS", True),
        ("validation.gate", "from udacimed_edge import converters", True),
        ("validation.gate", "from ..converters import FORMATS", True),
        ("validation.gate", "from udacimed_edge.validation import mil", False),
        ("validation.gate", "def f():\n    import udacimed_edge.targets.bundle", True),
        ("converters.ort_mobile", "import onnx, torch", False),
        ("converters.ort_mobile", "import udacimed_edge.data, udacimed_edge.pipeline", True),
        ("data", "from udacimed_edge.network import import_torchvision", False),
        ("data", "from udacimed_edge import __version__", False),
        ("files", "from udacimed_edge import artifact", True),
        ("pipeline", "from udacimed_edge.cli import main", True),
        ("runtime.reader", "import json, numpy", False),
        ("runtime.reader", "from udacimed_edge.runtime.contract import Contract", False),
        ("runtime.reader", "from .contract import Contract", False),
        ("runtime.reader", "from udacimed_edge import __version__", True),
        ("runtime.reader", "from udacimed_edge.errors import EdgeError", True),
        ("runtime.reader", "import scipy.special", True),
        ("runtime.reader", "if TYPE_CHECKING:\n    import torch", True),
    ],
)
def test_a_wrong_import_is_seen(name: str, line: str, refused: bool) -> None:
    """The check above sees an import in any form, in a function and for types too."""
    assert bool(violations(f"udacimed_edge.{name}", line)) is refused


def test_the_command_line_starts_light(tmp_path: Path) -> None:
    """Importing the command line imports none of the libraries that take long: `--help` answers at once."""
    script = f"import sys, udacimed_edge.cli; sys.exit(' '.join(sys.modules.keys() & set({HEAVY})))"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.stderr.split() == []


@checkout
@pytest.mark.parametrize(
    ("place", "folder"),
    [
        (".", "toolkit"),
        (".", "converters"),
        (".", "targets"),
        (".", "validation"),
        ("toolkit", "runtime"),
        ("toolkit", "commands"),
        ("toolkit", "benchmark"),
        ("toolkit", "optimization"),
    ],
)
def test_a_folder_is_not_imported_by_its_own_name(tmp_path: Path, place: str, folder: str) -> None:
    """Nobody gets a second copy of a package by the name of its folder."""
    script = f"import sys; sys.path.insert(0, {str(ROOT / place)!r}); import {folder}"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("ImportError: import udacimed_edge")


@checkout
@pytest.mark.slow
def test_the_wheel_holds_what_the_folders_hold(tmp_path: Path) -> None:
    """Every file of the four folders is in the wheel at its place, and nothing but its metadata beside."""
    pytest.importorskip("build")
    pytest.importorskip("setuptools", minversion="77")
    expected = set()
    for folder, package in FOLDERS.items():
        copy = tmp_path / folder
        shutil.copytree(ROOT / folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        names = [f.relative_to(copy).as_posix() for f in copy.rglob("*") if f.is_file()]
        expected |= {f"{package.replace('.', '/')}/{name}" for name in names}
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        inside = {n for n in archive.namelist() if ".dist-info/" not in n}
    assert inside == expected
    assert {"udacimed_edge/py.typed", "udacimed_edge/weights/synthetic.npz"} <= inside


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name: str) -> None:
    """Every module begins with a docstring."""
    assert ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8")))


def test_the_version_is_the_installed_one() -> None:
    """The package and its metadata name the same version."""
    try:
        installed = metadata.version("udacimed-edge")
    except metadata.PackageNotFoundError:
        pytest.skip("udacimed-edge is imported without being installed")
    assert udacimed_edge.__version__ == installed


@checkout
def test_the_extra_all_is_every_format_s() -> None:
    """`[all]` installs what the extras of the formats and of DICOM install, no more and no less."""
    from udacimed_edge.converters import FORMATS

    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert sorted(extras["all"]) == sorted(
        line for extra in {"dicom", *(row.extra for row in FORMATS.values())} for line in extras[extra]
    )
