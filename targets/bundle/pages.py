"""What a person reads in a bundle, and what installs it: START-HERE.txt, README.md, install.*."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from udacimed_edge.targets.bundle.spec import REHEARSAL, BundleSpec
from udacimed_edge.targets.bundle.vectors import COUNT

__all__ = ["render_pages"]

TEMPLATES = Path(__file__).parent / "templates"

_COMPILED = {
    "ort": "It was compiled against stand-ins of the library's classes.",
    "litert": "It was compiled against stand-ins of the library's classes.",
    "coreml": "No Swift compiler has seen it: it was read against Apple's documentation.",
    "openvino": "",
}
"""What is known of the lines of code, by format."""

_INSTALL = {"linux": "install.sh", "windows": "install.bat"}


def render_pages(spec: BundleSpec) -> dict[str, bytes]:
    """The pages that suit the device, by their name in the bundle; the same spec gives the same bytes."""
    system, values = spec.profile.operating_system, _values(spec)
    start = {"START-HERE.txt": _render("START-HERE.txt", values).encode()}
    if spec.profile.runner is None:
        return {**start, "README.md": _render("README.md", values).encode()}
    text = _render(_INSTALL[system], values)
    return {**start, _INSTALL[system]: (text.replace("\n", "\r\n") if system == "windows" else text).encode()}


def _values(spec: BundleSpec) -> dict[str, Any]:
    runner = spec.profile.runner
    windows = spec.profile.operating_system == "windows"
    dicom = runner is not None and "pydicom" in runner.requirements[spec.format]
    return {
        **vars(spec),
        "facts": spec,
        "name": spec.name,
        "rehearsal": REHEARSAL,
        "runner": runner,
        "count": COUNT,
        "dicom": dicom,
        "install": "install.bat" if windows else "sh install.sh",
        "windows": windows,
        "python": f"py -{runner.python[0]}" if windows and runner else "python3",
        "wanted": "PNG, JPEG, TIFF, BMP" + (", DICOM" if dicom else ""),
        "compiled": _COMPILED[spec.format],
        "snippet": f"{spec.format}.md",
        "budget_line": spec.budgets["latency_ms"].partition(":")[0],
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
