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
    ("runtime",),
    ("core",),
    ("source", "validation.metrics", "validation.coreml", "targets.devices"),
    ("validation.policy",),
    ("validation.report",),
    ("converters", "validation.judging", "targets.bundle", "targets.page"),
    ("validation.rendering",),
    ("workflow",),
    ("optimization",),
    ("benchmarking",),
    ("api",),
    ("cli", "__main__"),
)
"""A room imports from itself and from the rows above its own, never from its neighbours in the row."""

PACKAGES = ("converters", "targets", "validation")
"""Folders beside toolkit/; the rooms of the last two are their folders."""

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


def room_of(name: str) -> str:
    """The room of a dotted name: "converters", "validation.policy"; "" for what only holds rooms."""
    parts = name.removeprefix("udacimed_edge").removeprefix(".").split(".")
    rooms = {room for row in ORDER for room in row}
    return next((room for room in (".".join(parts[:2]), parts[0]) if room in rooms), "")


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
    mine, ranks = room_of(name), {room: rank for rank, row in enumerate(ORDER) for room in row}
    wrong = []
    for target in sorted(imported(name, text)):
        top, other = target.partition(".")[0], room_of(target)
        if mine == "runtime":
            allowed = top in sys.stdlib_module_names | SHIPPED or other == "runtime"
        elif top != "udacimed_edge" or not other:
            allowed = target.removeprefix("udacimed_edge.") not in ("targets", "validation")
        elif mine == "cli" and target.startswith("udacimed_edge.__main__"):
            allowed = False
        else:
            allowed = other == mine or ranks[other] < ranks[mine] or (mine, other) == ("__main__", "cli")
        if not allowed:
            wrong.append(target)
    return wrong


HOLDERS = ("__init__", "targets.__init__", "validation.__init__")
"""Modules that hold rooms and stand in none; the first is the public API, which looks everything up late."""


@checkout
@pytest.mark.parametrize("name", [n for n in MODULES if n.removeprefix("udacimed_edge.") not in HOLDERS])
def test_every_module_has_a_place(name: str) -> None:
    """Every module stands in the order of imports."""
    assert room_of(name)


@pytest.mark.parametrize("name", [n for n in MODULES if n != "udacimed_edge.__init__"])
def test_imports_point_one_way(name: str) -> None:
    """No module imports what is built on it, nor a format its judge."""
    assert violations(name, MODULES[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "line", "refused"),
    [
        ("validation.policy.policy", "from udacimed_edge.converters import FORMATS", True),
        ("validation.policy.policy", "from udacimed_edge import converters", True),
        ("validation.policy.policy", "from ...converters import FORMATS", True),
        ("validation.judging.evaluate", "from udacimed_edge.validation.coreml import executor", False),
        ("validation.judging.evaluate", "def f():\n    import udacimed_edge.targets.bundle.bundle", True),
        ("targets.bundle.pages", "from udacimed_edge.validation.report import Report", False),
        ("targets.bundle.pages", "from udacimed_edge.validation.rendering import html", True),
        ("converters.ort", "import onnx, torch", False),
        ("converters.ort", "import udacimed_edge.core.data, udacimed_edge.workflow.convert", True),
        ("core.data", "from udacimed_edge.source.network import build_resnet18", True),
        ("core.data", "from udacimed_edge import __version__", False),
        ("core.files", "from udacimed_edge.source import load", True),
        ("workflow.convert", "from udacimed_edge.cli.main import main", True),
        ("runtime.reader", "import json, numpy", False),
        ("runtime.reader", "from udacimed_edge.runtime.contract import Contract", False),
        ("runtime.reader", "from .contract import Contract", False),
        ("runtime.reader", "from udacimed_edge import __version__", True),
        ("runtime.reader", "from udacimed_edge.core.errors import EdgeError", True),
        ("runtime.reader", "import scipy.special", True),
        ("runtime.reader", "if TYPE_CHECKING:\n    import torch", True),
    ],
)
def test_a_wrong_import_is_seen(name: str, line: str, refused: bool) -> None:
    """The check above sees an import in any form, in a function and for types too."""
    assert bool(violations(f"udacimed_edge.{name}", line)) is refused


def test_the_command_line_starts_light(tmp_path: Path) -> None:
    """Importing the command line imports none of the libraries that take long: `--help` answers at once."""
    script = f"import sys, udacimed_edge.cli.main; sys.exit(' '.join(sys.modules.keys() & set({HEAVY})))"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.stderr.split() == []


@checkout
@pytest.mark.parametrize(
    ("place", "folder"),
    [
        (place.relative_to(ROOT).as_posix(), init.parent.name)
        for init in sorted(f for name in FOLDERS for f in (ROOT / name).rglob("__init__.py"))
        for place in (init.parent.parent,)
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


def built(kind: str, folder: Path, out: Path) -> Path:
    """A distribution of `folder`, "wheel" or "sdist", in `out`."""
    command = [
        sys.executable,
        "-m",
        "build",
        f"--{kind}",
        "--no-isolation",
        "--outdir",
        str(out),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.iterdir()
    return found


def files_in(wheel: Path) -> set[str]:
    """The files of a wheel but its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@checkout
@pytest.mark.slow
def test_the_wheel_holds_what_the_folders_hold(tmp_path: Path) -> None:
    """Every file of the four folders is in the wheel, from the checkout as from the sdist, and no other."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (
        *FOLDERS,
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "docs",
        "examples",
        "dev",
    ):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy)
    expected = {
        f"{package.replace('.', '/')}/{file.relative_to(copy / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for file in (copy / folder).rglob("*")
        if file.is_file()
    }
    checkout_files = files_in(built("wheel", copy, tmp_path / "from-checkout"))
    sdist = built("sdist", copy, tmp_path / "sdist")
    shutil.unpack_archive(sdist, tmp_path / "unpacked")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert checkout_files == expected
    assert files_in(built("wheel", unpacked, tmp_path / "from-sdist")) == expected
    assert {"udacimed_edge/py.typed", "udacimed_edge/weights/synthetic.npz"} <= expected


@checkout
def test_the_development_links_show_every_folder() -> None:
    """What a development install imports is the folders themselves: each module by a relative link."""
    links = ROOT / "dev" / "udacimed_edge"
    shown = {link.name for link in links.iterdir()}
    expected = {path.name for path in (ROOT / "toolkit").iterdir() if path.name != "__pycache__"} | {
        *PACKAGES
    }
    assert shown - {"__pycache__"} == expected
    for link in links.iterdir():
        if link.name != "__pycache__":
            assert link.is_symlink()
            assert not link.readlink().is_absolute()
            assert link.exists()


@checkout
def test_a_new_and_a_renamed_module_are_importable_at_once(tmp_path: Path) -> None:
    """A development install follows the checkout: no reinstall after a file was added or renamed."""
    copy = tmp_path / "checkout"
    for name in (*FOLDERS, "dev"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "node_modules")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    module = copy / "toolkit" / "core" / "quite_new.py"
    for file in (module, module.with_name("renamed.py")):
        if module.exists() and file != module:
            module.rename(file)
        else:
            file.write_text("ANSWER = 42\n")
        script = f"from udacimed_edge.core.{file.stem} import ANSWER; print(ANSWER)"
        ended = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(copy / 'dev')!r}); {script}"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.stdout.split() == ["42"], ended.stderr


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
