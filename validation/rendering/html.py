"""Reports as one HTML file that opens anywhere: no script, nothing fetched, prints on A4."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.rendering import dossier, figures, int8, provenance, statements, tables
from udacimed_edge.validation.report import LIMITS, Report, names

__all__ = ["render_html"]

_MARKS = {
    **{f"{glyph} {verdict}": verdict.lower() for verdict, glyph in statements.GLYPHS.items()},
    "✓ PASS, stated": "skip",
    "✗ FAIL, stated": "fail",
    "✓ held": "pass",
    "✗ broken": "fail",
}
"""The cells that are coloured, and by which class."""


@dataclass(frozen=True)
class _Thumbnail:
    """One image of the split, as a data URI."""

    index: int
    what: str
    data: str


def render_html(reports: Sequence[Report], images: Split | None = None) -> str:
    """One page over reports of one data set.

    Args:
        reports: One or more, of the same data and policy.
        images: The split they were judged on: then missed and changed images are shown. Reports travel;
            without it, no image leaves.

    Raises:
        InputError: `images` is not the split that the reports speak of.
    """
    if images is not None and images.digest != reports[0].data.digest:
        raise InputError(
            f"the images have the digest {images.digest[:12]}, the reports speak of "
            f"{reports[0].data.digest[:12]}",
            "name the data that the artifacts were judged on with --data",
        )
    labelled = names(reports)
    page: str = _template().render(
        title=statements.title(reports),
        rehearsal=statements.REHEARSAL if reports[0].rehearsal else "",
        notice=statements.NOTICE,
        identity=statements.identity_text(reports),
        headline=statements.headline(reports),
        basis=statements.basis_text(reports),
        reasons=[
            (name, r.verdict.lower(), r.reason) for name, r in zip(labelled, reports, strict=True) if r.reason
        ],
        marks=_MARKS,
        light=_variables(0),
        dark=_variables(1),
        style=_file("report.css"),
        verdicts=tables.verdict_table(reports),
        bound=statements.bound_text(reports),
        figures={"sensitivity": figures.sensitivity_intervals(reports), "roc": figures.roc(reports)},
        figures_table=tables.figures_table(reports),
        predictive=tables.predictive_table(reports),
        paired_text=statements.paired_text(reports),
        paired_ill=tables.paired_table(reports, "pneumonia"),
        paired_normal=tables.paired_table(reports, "normal"),
        artifacts=[_artifact(name, r, images) for name, r in zip(labelled, reports, strict=True)],
        int8=int8.tables(reports),
        processors_text=int8.processors_text(reports),
        sizes=provenance.size_table(reports),
        dossier=dossier.sections(reports),
        evidence=dossier.evidence_table(),
        facts=provenance.facts(reports),
        tools=provenance.tools_table(reports),
        commands=[(name, provenance.commands(r)) for name, r in zip(labelled, reports, strict=True)],
        limits=LIMITS,
    )
    return page


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string(_file("report.html.j2"))


def _file(name: str) -> str:
    """A file beside this module, from the wheel as from the checkout."""
    return (resources.files("udacimed_edge.validation.rendering") / "templates" / name).read_text(
        encoding="utf-8"
    )


def _variables(theme: int) -> str:
    return " ".join(f"--{name}: {colours[theme]};" for name, colours in figures.PALETTE.items())


def _artifact(name: str, report: Report, images: Split | None) -> Mapping[str, Any]:
    """What the page says of one artifact alone."""
    missed, key = statements.missed(report), f"artifact-{report.report_digest[:8]}"
    changed = report.comparison.changed if report.comparison else ()
    measured = report.metrics is not None
    return {
        "name": name,
        "key": key,
        "verdict": f"{statements.GLYPHS[report.verdict]} {report.verdict}",
        "reason": report.reason,
        "mark": report.verdict.lower(),
        "sentence": statements.sentence(report),
        "measured": measured,
        "clauses": _own(tables.clause_table(report), key),
        "confusion": _own(tables.confusion_table(report), key),
        "sweep": figures.threshold_sweep(report) if measured else "",
        "scatter": figures.score_scatter(report) if measured else "",
        "missed": statements.missed_text(report),
        "failures": _own(dossier.failure_table(report, images), key),
        "calibration": dossier.calibration_text(report) if measured else "",
        "reliability": _own(dossier.reliability_table(report), key) if measured else None,
        "curve": figures.reliability(report) if measured else "",
        "changed": _own(tables.changed_table(report), key),
        "missed_images": _thumbnails(images, dict.fromkeys(missed, "missed")),
        "changed_images": _thumbnails(images, {c.index: f"{c.source}, now {c.artifact}" for c in changed}),
    }


def _own(table: tables.Table, key: str) -> tables.Table:
    """The table with an id of its own on a page that has several of its kind."""
    return tables.Table(f"{table.key}-{key}", table.caption, table.columns, table.rows)


def _thumbnails(images: Split | None, wanted: Mapping[int, str]) -> list[_Thumbnail]:
    if images is None:
        return []
    from PIL import Image

    shown = []
    for index, what in wanted.items():
        stream = io.BytesIO()
        Image.fromarray(images.images[index]).save(stream, format="PNG", optimize=True)
        data = base64.b64encode(stream.getvalue()).decode()
        shown.append(_Thumbnail(index, what, f"data:image/png;base64,{data}"))
    return shown
