"""Run the tests on Python 3.13, in a Debian 13 root, on a computer whose own Python is another.

    sudo .ci/prepare                                  # makes the root, once
    sudo .venv/bin/python examples/python313.py       # what needs no torch: two minutes
    sudo .venv/bin/python examples/python313.py --all # everything, 3 GB of libraries

It needs Linux and root rights (chroot, and a mount namespace that ends with the command). pip inside the root
reads the same configuration as outside.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click

PROJECT = Path(__file__).resolve().parent.parent
ROOT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "udacimed-edge" / "python313"

TORCH = ("torch", "torchvision", "medmnist", "onnx2torch", "fvcore", "litert-torch")
"""What is torch, or cannot be without it."""

TOOLS = ("build", "mkdocs", "mkdocs-material", "mkdocstrings", "mypy", "pre-commit", "ruff", "scipy-stubs")
"""What the tests do not call, or what says the same under every Python."""

EXTRAS = ("all", "dicom", "dev")

UNUSABLE = 75
"""Exit status where nothing can be run; pytest has none like it."""

HIDDEN = (".git", ".venv", "build", "dist", "site", "out", "runs", "bundles", "node_modules", "*_cache")


def requirements(project: Path) -> list[str]:
    """What pyproject.toml asks for, without torch and without the tools."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    stated = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(stated["dependencies"])
    for extra in EXTRAS:
        lines += stated["optional-dependencies"][extra]
    names = {line: re.match(r"[\w.-]+", line) for line in lines}
    left_out = {*TORCH, *TOOLS}
    return sorted({line for line, name in names.items() if name and name[0].lower() not in left_out})


def copy_settings(root: Path) -> None:
    """Copy pip's configuration into the root, with the files and folders that it and the environment name."""
    pip = [sys.executable, "-m", "pip", "config"]
    said = subprocess.run([*pip, "debug"], capture_output=True, text=True, check=True).stdout
    files = re.findall(r"^\s*(/.*), exists: True$", said, re.MULTILINE)
    values = subprocess.run([*pip, "list"], capture_output=True, text=True, check=True).stdout
    files += re.findall(r"(?:file://)?(/[^'\s:]+)", values)
    files += [value for name, value in os.environ.items() if name.endswith(("_CERT_FILE", "_CA_BUNDLE"))]
    for file in sorted({Path(name) for name in files}):
        target = root / file.relative_to("/")
        if file.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def inside(root: Path, command: str, **environment: str) -> int:
    """Run a shell command in the root; its exit status.

    /proc and /dev are mounted in a namespace of their own, so nothing is left mounted.
    """
    script = 'mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" sh -euc "$1"'
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    kept |= {"PATH": "/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    called = ["unshare", "--mount", "sh", "-euc", script, str(root), command]
    return subprocess.run(called, env=kept | environment, check=False).returncode


def obstacle(root: Path) -> str:
    """Why nothing can be run in the root; empty where something can."""
    if not (root / "usr/bin/python3").exists():
        return f"there is no Python 3.13 root in {root}: sudo .ci/prepare makes it"
    if os.geteuid() != 0:
        return "chroot needs root rights: sudo .venv/bin/python examples/python313.py"
    return "" if inside(root, "true") == 0 else "this system does not let us mount and chroot (see above)"


@click.command()
@click.option("--root", type=click.Path(path_type=Path), default=ROOT, help="The root that .ci/prepare made.")
@click.option("--all", "everything", is_flag=True, help="Everything, torch too.")
@click.argument("arguments", nargs=-1)
def main(root: Path, everything: bool, arguments: tuple[str, ...]) -> None:
    """Copy the project into the root, install it there, run pytest with ARGUMENTS (after --).

    The exit status is pytest's, or 75 where the root is not there or cannot be used.
    """
    if why := obstacle(root):
        click.echo(why, err=True)
        sys.exit(UNUSABLE)
    shutil.rmtree(root / "src", ignore_errors=True)
    shutil.copytree(PROJECT, root / "src", symlinks=True, ignore=shutil.ignore_patterns(*HIDDEN))
    copy_settings(root)
    (root / "src/requirements.txt").write_text("\n".join(requirements(PROJECT)) + "\n")
    wanted = "-e '.[all,dev]'" if everything else "-r requirements.txt && pip install -qq --no-deps -e ."
    afresh = "python3 -m venv /venv; pip uninstall -qq -y udacimed-edge"  # or pip warns of what it needs
    if inside(root, f"cd /src; {afresh}; pip install -qq {wanted}"):
        click.echo("pip failed in the Python 3.13 root: see the lines above", err=True)
        sys.exit(UNUSABLE)
    data = {}
    if "UDACIMED_DATA" in os.environ:
        shutil.copyfile(os.environ["UDACIMED_DATA"], root / "data.npz")
        data = {"UDACIMED_DATA": "/data.npz"}
    called = shlex.join(["python", "-m", "pytest", "-p", "no:cacheprovider", *arguments])
    sys.exit(inside(root, f"cd /src; {called}", **data))


if __name__ == "__main__":
    main()
