"""The program that screens on the device: `toolkit/runtime/` as one zip that any Python runs."""

from __future__ import annotations

from pathlib import Path

import udacimed_edge.runtime
from udacimed_edge.core.files import write_atomic
from udacimed_edge.targets.bundle.archive import zip_of

__all__ = ["NAME", "build_runner"]

NAME = "screen.pyz"

_MAIN = """import sys

if sys.version_info < (3, 10):
    sys.exit("screen.pyz needs Python 3.10 or newer; this is " + sys.version.split()[0])

from udacimed_edge.runtime.installer import start

sys.exit(start(sys.argv[1:]))
"""

_PACKAGE = '"""The part of udacimed-edge that runs on a device."""\n'


def build_runner(out: Path) -> Path:
    """Write the runner.

    The same sources give the same bytes on every machine.

    Args:
        out: The folder to write it into, or the `.pyz` file itself.

    Returns:
        The file.

    Raises:
        OutputError: It cannot be written.
    """
    file = out if out.suffix == ".pyz" else out / NAME
    write_atomic(file, zip_of(_members(), b"#!/usr/bin/env python3\n"))
    return file


def _members() -> dict[str, bytes]:
    """Each file's name in the zip and its content."""
    folder = Path(udacimed_edge.runtime.__file__).parent
    found = {"__main__.py": _MAIN.encode(), "udacimed_edge/__init__.py": _PACKAGE.encode()}
    for source in folder.glob("*.py"):
        # line ends as in the repository, also where a Windows checkout changed them
        content = source.read_bytes().replace(b"\r\n", b"\n")
        found[f"udacimed_edge/runtime/{source.name}"] = content
    return found
