"""What a person reads in a bundle, and what installs it: START-HERE.txt, README.md, install.*."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from udacimed_edge.core.files import write_atomic
from udacimed_edge.targets.bundle.facts import REHEARSAL, Facts
from udacimed_edge.targets.bundle.vectors import COUNT
from udacimed_edge.targets.devices.profile import DeviceProfile

__all__ = ["Subject", "write_pages"]

TEMPLATES = Path(__file__).parent / "templates"

_COMPILED = {
    "ort": "It was compiled against stand-ins of the library's classes.",
    "litert": "It was compiled against stand-ins of the library's classes.",
    "coreml": "No Swift compiler has seen it: it was read against Apple's documentation.",
    "openvino": "",
}
"""What is known of the lines of code, by format."""

_INSTALL = {"linux": "install.sh", "windows": "install.bat"}


@dataclass(frozen=True)
class Subject:
    """What the pages are about.

    Attributes:
        name: The bundle's.
        profile: The device.
        facts: The artifact's.
        executor: What computed the self-test's answers.
        signed: Whether the bundle will be signed.
        budgets: By budget, what was checked and where.
        contact: Name and telephone of the person to call; empty for a line to be filled in by hand.
    """

    name: str
    profile: DeviceProfile
    facts: Facts
    executor: str
    signed: bool
    budgets: Mapping[str, str]
    contact: str = ""


def write_pages(folder: Path, subject: Subject) -> None:
    """Write the pages that suit the device.

    Raises:
        OutputError: One cannot be written.
    """
    system, runner = subject.profile.operating_system, subject.profile.runner
    values = _values(subject)
    write_atomic(folder / "START-HERE.txt", _render("START-HERE.txt", values).encode())
    if runner is None:
        write_atomic(folder / "README.md", _render("README.md", values).encode())
        return
    script = folder / _INSTALL[system]
    text = _render(script.name, values)
    write_atomic(script, (text.replace("\n", "\r\n") if system == "windows" else text).encode())
    script.chmod(0o755)


def _values(subject: Subject) -> dict[str, Any]:
    runner, target = subject.profile.runner, subject.facts.format
    windows = subject.profile.operating_system == "windows"
    dicom = runner is not None and "pydicom" in runner.requirements[target]
    return {
        **vars(subject),
        "rehearsal": REHEARSAL,
        "runner": runner,
        "count": COUNT,
        "dicom": dicom,
        "install": "install.bat" if windows else "sh install.sh",
        "windows": windows,
        "python": f"py -{runner.python[0]}" if windows and runner else "python3",
        "wanted": "PNG, JPEG, TIFF, BMP" + (", DICOM" if dicom else ""),
        "compiled": _COMPILED[target],
        "snippet": f"{target}.md",
        "budget_line": subject.budgets["latency_ms"].partition(":")[0],
        "wrap": lambda text: textwrap.fill(text, 76, initial_indent="   ", subsequent_indent="   "),
    }


def _render(name: str, values: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # text, not HTML
    )
    environment.filters["quote"] = shlex.quote  # a device of a user's own may be called anything
    return environment.get_template(name).render(**values)
