"""The Markdown: tables that parse, numbers those of the reports."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from udacimed_edge.validation.rendering.html import render_html
from udacimed_edge.validation.rendering.markdown import render_card, render_markdown, table_text
from udacimed_edge.validation.rendering.provenance import NO_CARD
from udacimed_edge.validation.rendering.tables import Table
from udacimed_edge.validation.report import LIMITS, Report

Make = Callable[..., Report]


def tables(text: str) -> dict[str, list[list[str]]]:
    """Each table's rows below its headings, by its caption."""
    found: dict[str, list[list[str]]] = {}
    for caption, block in re.findall(r"^\*\*(.+)\*\*\n\n((?:\|.*\n?)+)", text, flags=re.MULTILINE):
        rows = [
            [re.sub(r"\\(.)", r"\1", c.strip()) for c in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in block.splitlines()
        ]
        assert {len(row) for row in rows} == {len(rows[0])}
        assert set(rows[1]) == {"---"}
        found[caption] = rows[2:]
    return found


def check_numbers(text: str, report: Report) -> None:
    """Assert that the first row of the verdicts and of the figures says what the report says."""
    found, m, c = tables(text), report.metrics, report.comparison
    assert m is not None
    assert c is not None
    assert m.sensitivity.clopper_pearson is not None
    verdict = found["Verdict on each artifact, judged from its own bytes"][0]
    assert verdict[1].split()[1] == report.verdict
    assert [int(verdict[i]) for i in (2, 3, 6)] == [m.fn, m.fp, len(c.changed)]
    exact = m.sensitivity.clopper_pearson
    assert [float(verdict[4]), *map(float, verdict[5].split(" to "))] == pytest.approx(
        [m.sensitivity.value, exact.low, exact.high], abs=5.1e-5
    )
    figures = found["More figures of each artifact, at its own threshold"][0]
    assert [float(figures[i]) for i in (1, 3, 4, 5)] == pytest.approx(
        [m.specificity.value, m.auc, m.accuracy.value, c.agreement], abs=5.1e-5
    )
    (ill, well) = found["Confusion matrix"]
    assert [int(cell.split()[0]) for cell in (*ill[1:3], *well[1:3])] == [m.tp, m.fn, m.fp, m.tn]


def test_numbers_are_the_reports(make: Make, skipped: Report) -> None:
    """The numbers read back from the overview are those of the report."""
    report = make(answers={7: 0.1, 500: 0.8})

    check_numbers(render_markdown([report, skipped]), report)


def test_card(make: Make) -> None:
    """A model card has the same figures, the artifact's files, its limits, and how it was made."""
    report = make(answers={7: 0.1})

    card = render_card(report)

    check_numbers(card, report)
    assert card.startswith("# Model card.")
    for words in (
        report.artifact.files[0].sha256,
        "0.500000",
        "two physicians graded",
        "5, 7, 77, 300.",
        *LIMITS,
    ):
        assert words in card


def test_a_card_without_figures(skipped: Report) -> None:
    """What was not executed has a card that says so."""
    card = render_card(skipped)

    assert "○ SKIP" in card
    assert "This artifact was not measured: Core ML operation 'erf' is not executed here" in card


@pytest.mark.parametrize("render", [lambda r: render_markdown([r]), render_card])
def test_rehearsal(render: Callable[[Report], str], make: Make) -> None:
    """On synthetic data the heading and the line below it say REHEARSAL."""
    lines = render(make(data={"origin": "synthetic"})).splitlines()

    assert "REHEARSAL" in lines[0]
    assert "REHEARSAL" in lines[2]


def test_hostile_cells() -> None:
    """A cell that holds a bar, a tag or a line break stays one cell."""
    row = ("a|b", "<i>", "x\ny", "back\\slash", "`code` *bold* [link](u)")
    table = Table("t", "c", ("1", "2", "3", "4", "5"), (row,))

    (shown,) = tables(table_text(table))["c"]

    assert shown == ["a|b", "<i>", "x y", "back\\slash", "`code` *bold* [link](u)"]


@pytest.mark.parametrize("render", [lambda r: render_html([r]), lambda r: render_markdown([r]), render_card])
def test_what_the_model_s_card_says(render: Callable[[Report], str], make: Make) -> None:
    """Every page repeats the lines of the source model's card; where it has none, that is said."""
    report = make()
    line = "test split 0123, specificity on soft normals: 58 of 67 called normal"
    source = report.source.model_copy(update={"card": (line, f"limit: {LIMITS[0]}")})

    page = render(report.model_copy(update={"source": source}))

    assert page.count(line) == 1
    assert page.count(LIMITS[0]) == 1
    assert NO_CARD in render(report)
    assert NO_CARD not in page
