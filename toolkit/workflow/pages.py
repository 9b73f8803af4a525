"""The files of a bundle that follow from what it is made from: `package` writes them, `verify` again."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata

from udacimed_edge.targets.bundle.bom import BOM, render_bom
from udacimed_edge.targets.bundle.pages import render_pages
from udacimed_edge.targets.bundle.spec import BundleSpec
from udacimed_edge.targets.bundle.wheels import Wheel, requirements_text
from udacimed_edge.validation.report import Report
from udacimed_edge.workflow.report import CARD_NAME

__all__ = ["HTML_NAME", "REQUIREMENTS", "render_all", "renderers", "summary_of"]

HTML_NAME = "report.html"
REQUIREMENTS = "requirements.txt"


def summary_of(report: Report) -> str:
    """What the artifact found and missed, and what that rests on, for the first screen a clinician sees."""
    from udacimed_edge.validation.rendering.statements import sentence

    basis = "" if report.basis is None else f" {str(report.basis)[:1].upper()}{str(report.basis)[1:]}."
    return f"{'STATED, NOT PROVEN: ' if report.stated else ''}{sentence(report)}{basis}"


def render_all(spec: BundleSpec, wheels: Sequence[Wheel]) -> dict[str, bytes]:
    """Each file's name in the bundle and its content; the same inputs and `renderers` give the same bytes.

    Args:
        spec: What the bundle is made from.
        wheels: What is installed; empty where an app loads the model.
    """
    from udacimed_edge.validation.rendering.html import render_html
    from udacimed_edge.validation.rendering.markdown import render_card

    files = {
        **render_pages(spec),
        HTML_NAME: render_html([spec.report]).encode(),
        CARD_NAME: render_card(spec.report).encode(),
        BOM: render_bom(spec, wheels).encode(),
    }
    if wheels:
        files[REQUIREMENTS] = requirements_text(wheels).encode()
    return files


def renderers() -> dict[str, str]:
    """By name, the version of everything that another version of which may write or draw otherwise.

    The processor counts: where a curve ends in the last of its digits is decided by its instructions.
    """
    from matplotlib import ft2font

    return {
        "matplotlib": metadata.version("matplotlib"),
        "freetype": str(ft2font.__freetype_version__),
        "numpy": metadata.version("numpy"),
        "jinja2": metadata.version("jinja2"),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": f"{platform.system()} {platform.machine()}",
    }
