"""The program that screens on the device: `toolkit/runtime/` as one zip that any Python runs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import udacimed_edge.runtime
from udacimed_edge.files import write_atomic

__all__ = ["NAME", "build_runner"]

NAME = "screen.pyz"

_MAIN = """import sys

if sys.version_info < (3, 10):
    sys.exit("screen.pyz needs Python 3.10 or newer; this is " + sys.version.split()[0])

from udacimed_edge.runtime.screen import main

sys.exit(main())
"""

_PACKAGE = '"""The part of udacimed-edge that runs on a device."""\n'

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold."""


def build_runner(out: Path) -> Path:
    """Write the runner.

    The same sources give the same bytes on every machine: the members are sorted, without times, and
    stored, because zlib's output differs between its versions.

    Args:
        out: The folder to write it into, or the `.pyz` file itself.

    Returns:
        The file.

    Raises:
        OutputError: It cannot be written.
    """
    file = out if out.suffix == ".pyz" else out / NAME
    write_atomic(file, _zip(_members()))
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


def _zip(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    stream.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system = 3  # Unix, also when it is made on Windows
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, members[name])
    return stream.getvalue()
