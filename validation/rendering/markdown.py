"""Reports as Markdown: one overview, and a model card per artifact, with the figures of the HTML page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from udacimed_edge.validation.rendering import dossier, int8, provenance, statements, tables
from udacimed_edge.validation.rendering.tables import Table
from udacimed_edge.validation.report import LIMITS, Report, names

__all__ = ["escaped", "rehearsal", "render_card", "render_markdown", "table_text"]


def render_markdown(reports: Sequence[Report]) -> str:
    """All that the HTML page says, without its pictures.

    Args:
        reports: One or more, of the same data and policy.
    """
    named = zip(names(reports), reports, strict=True)
    each = [part for name, report in named for part in _artifact(name, report, "###")]
    return _joined(
        f"# {escaped(statements.title(reports))}",
        *rehearsal(reports[0]),
        escaped(statements.identity_text(reports)),
        f"**{escaped(statements.headline(reports))}**",
        escaped(statements.bound_text(reports)),
        escaped(statements.basis_text(reports)),
        table_text(tables.verdict_table(reports)),
        *_tables(reports),
        "## Each artifact",
        *each,
        *_made(reports),
    )


def render_card(report: Report) -> str:
    """The model card of one artifact (after Mitchell et al. 2019, doi 10.1145/3287560.3287596)."""
    reports = [report]
    contract = report.artifact.contract
    return _joined(
        f"# Model card. {escaped(statements.title(reports))}",
        *rehearsal(report),
        escaped(statements.identity_text(reports)),
        "## Model",
        _list(
            [
                f"Format and precision: {report.artifact.format} {report.artifact.precision}",
                f"Made from: {report.source.name}, SHA-256 {report.source.digest}",
                f"Input: {contract.get('input', 'not stated')}",
                f"Output: {contract.get('output', 'not stated')}",
                f"Decision: pneumonia where its probability is at least {report.threshold:.6f}",
                *(f"File: {f.name}, {f.size_bytes} bytes, SHA-256 {f.sha256}" for f in report.artifact.files),
            ]
        ),
        "## Verdict",
        table_text(tables.verdict_table(reports)),
        escaped(statements.basis_text(reports)),
        statements.bound_text(reports),
        *_artifact(names(reports)[0], report, "##")[1:],
        *_tables(reports),
        *_made(reports),
    )


def table_text(table: Table) -> str:
    """A table in GitHub's Markdown, its caption above it."""
    rows = ["| " + " | ".join(map(escaped, row)) + " |" for row in (table.columns, *table.rows)]
    rule = "|" + " --- |" * len(table.columns)
    return "\n".join([f"**{escaped(table.caption)}**", "", rows[0], rule, *rows[1:]])


def rehearsal(report: Report) -> list[str]:
    """The warning where no patient is in the data; otherwise nothing."""
    if not report.rehearsal:
        return []
    return ["> **REHEARSAL.** Judged on synthetic images: no patient is in them; no figure here is evidence."]


def _tables(reports: Sequence[Report]) -> list[str]:
    return [
        "## Decisions",
        table_text(tables.figures_table(reports)),
        "## In your clinic",
        "PPV is the share of those called ill who are ill, NPV the share of those called normal who are "
        "well. They follow by Bayes' theorem, if sensitivity and specificity are the same in your clinic.",
        table_text(tables.predictive_table(reports)),
        "## Against the source model",
        statements.paired_text(reports),
        table_text(tables.paired_table(reports, "pneumonia")),
        table_text(tables.paired_table(reports, "normal")),
        *_int8(reports),
        "## Size and latency",
        table_text(provenance.size_table(reports)),
    ]


def _int8(reports: Sequence[Report]) -> list[str]:
    if not (tables := int8.tables(reports)):
        return []
    text = int8.processors_text(reports)
    return ["## How it computes", *([text] if text else []), *map(table_text, tables)]


def _artifact(name: str, report: Report, level: str) -> list[str]:
    """What is said of one artifact alone, its heading first."""
    parts = [f"{level} {escaped(name)}: {statements.GLYPHS[report.verdict]} {report.verdict}"]
    parts.append(escaped(statements.sentence(report)))
    if report.reason:
        parts.append(escaped(report.reason))
    if report.policy.clauses:
        parts.append(table_text(tables.clause_table(report)))
    if report.metrics:
        parts += [table_text(tables.confusion_table(report)), statements.missed_text(report)]
        failures = dossier.failure_table(report)
        parts += [table_text(failures)] if failures.rows else []
        changed = tables.changed_table(report)
        parts.append(table_text(changed) if changed.rows else "No decision differs from the source model's.")
        parts += [dossier.calibration_text(report), table_text(dossier.reliability_table(report))]
    return parts


def _made(reports: Sequence[Report]) -> list[str]:
    facts = (f"{term}: {line}" for term, lines in provenance.facts(reports) for line in lines)
    commands = dict.fromkeys(line for report in reports for line in provenance.commands(report))
    file = (f"{term}: {line}" for term, lines in dossier.sections(reports) for line in lines)
    return [
        "## For an auditor's file",
        _list(file),
        table_text(dossier.evidence_table()),
        "## How it was made",
        _list(facts),
        table_text(provenance.tools_table(reports)),
        "To reproduce (MODEL is the source model's file; without it, the built-in model is converted):",
        "\n".join(["```sh", *commands, "```"]),
        "## Limits",
        _list(LIMITS),
    ]


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)


def _joined(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*\[\]|<])", r"\\\1", " ".join(text.split()))
