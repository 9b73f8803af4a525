"""Figures: text that can be read and found, colours that can be told apart, nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from udacimed_edge.validation.rendering import figures
from udacimed_edge.validation.rendering.figures import PALETTE
from udacimed_edge.validation.report import Report

Make = Callable[..., Report]


@pytest.fixture
def every(make: Make) -> list[str]:
    """Each figure, over two artifacts that differ in one decision."""
    reports = [make(), make("openvino", answers={400: 0.7})]
    return [
        figures.sensitivity_intervals(reports),
        figures.roc(reports),
        *(draw(r) for draw in (figures.threshold_sweep, figures.score_scatter) for r in reports),
        figures.latency_against_size({"ort-int8": (10.8, 0.5), "ort-fp32": (42.6, 3.1)}),
        figures.throughput_against_batch({"ort-int8": {1: 1500.0, 64: 3000.0}, "ort-fp32": {1: 300.0}}),
    ]


def texts(svg: str) -> str:
    """What a reader can search for."""
    return " ".join(e.text or "" for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text"))


def test_well_formed_with_description(every: list[str]) -> None:
    """Each figure is well-formed XML with the role of an image and a description."""
    for svg in every:
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert len(root.get("aria-label", "")) > 20


def test_text_is_text(make: Make) -> None:
    """The artifacts' names and the bound are text, not outlines."""
    shown = texts(figures.sensitivity_intervals([make(), make("openvino")]))

    for expected in ("✓ ort int8", "✓ openvino int8", "required: 0.98"):
        assert expected in shown


def test_description_says_the_numbers(make: Make) -> None:
    """Who cannot see the intervals hears them."""
    report = make()
    assert report.metrics is not None
    exact = report.metrics.sensitivity.clopper_pearson
    assert exact is not None

    svg = figures.sensitivity_intervals([report])

    said = f"ort int8 {report.metrics.sensitivity.value:.4f} ({exact.low:.4f} to {exact.high:.4f})"
    assert said in ElementTree.fromstring(svg).get("aria-label", "")


def test_every_colour_is_a_variable(every: list[str]) -> None:
    """A dark page can change every colour, and without a style sheet each has its light value."""
    for svg in every:
        bare = re.sub(r"var\(--(\w+), (#[0-9a-f]{6})\)", "", svg)
        assert not re.search(r"(fill|stroke): *(?!none)[#a-z(]", bare), bare[:500]
        for name, light in re.findall(r"var\(--(\w+), (#[0-9a-f]{6})\)", svg):
            assert PALETTE[name][0] == light


def test_ids_are_told_apart(every: list[str]) -> None:
    """Figures on one page share no id, and refer only to their own."""
    ids = [re.findall(r' id="([^"]+)"', svg) for svg in every]
    flat = [i for own in ids for i in own]

    assert len(set(flat)) == len(flat)
    for svg, own in zip(every, ids, strict=True):
        used = {a or b for a, b in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)}
        assert used <= set(own)


def test_drawn_twice_alike(make: Make) -> None:
    """The same report gives the same bytes."""
    report = make()
    assert figures.roc([report]) == figures.roc([report])


def test_not_measured_is_said(skipped: Report, make: Make) -> None:
    """An artifact that was not executed has its row, without a point."""
    assert "not measured" in texts(figures.sensitivity_intervals([make(), skipped]))
    assert "coreml" not in texts(figures.roc([make(), skipped]))


def test_a_foreign_name_is_text(make: Make) -> None:
    """What an artifact calls itself is shown as it is, also where it looks like markup or mathematics."""
    svg = figures.sensitivity_intervals([make(target='<b>$x^2$ & "y')])

    assert '<b>$x^2$ & "y int8' in texts(svg)
    assert "<b>" not in svg


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    """Contrast ratio by WCAG 2.2, 1 to 21."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("name", sorted(set(PALETTE) - {"paper", "panel", "line"}))
def test_contrast(name: str, ground: str, theme: int) -> None:
    """Every colour of text and curves has the 4.5 to 1 of WCAG AA on every ground, in both themes."""
    assert contrast(PALETTE[name][theme], PALETTE[ground][theme]) >= 4.5
