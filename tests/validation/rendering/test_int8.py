"""What a report says of INT8."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from udacimed_edge.runtime.formats import FORMATS
from udacimed_edge.validation.rendering import int8
from udacimed_edge.validation.rendering.html import render_html
from udacimed_edge.validation.rendering.markdown import render_markdown
from udacimed_edge.validation.report import (
    CalibrationCost,
    CalibrationRecord,
    ProcessorRecord,
    RecipeRecord,
    Report,
)

ROWS = (
    ProcessorRecord(name="native", processor="this one", way="native", verdict="PASS", sensitivity=0.9923,
                    specificity=0.812, auc=0.9908, changed=0, max_difference=0.0),
    ProcessorRecord(name="avx2", processor="AVX2, no VNNI", way="ONEDNN_MAX_CPU_ISA=AVX2", verdict="FAIL",
                    reason="sensitivity: 0.9700", sensitivity=0.97, specificity=0.8, auc=0.98, changed=9,
                    max_difference=0.25),
    ProcessorRecord(name="unsafe", processor="AVX2, no VNNI", way="ONEDNN_MAX_CPU_ISA=AVX2", verdict="FAIL",
                    changed=40, comparison_only=True),
    ProcessorRecord(name="a72", processor="Cortex-A72", way="qemu", verdict="SKIP", reason="no emulator"),
)  # fmt: skip

RECIPES = (
    RecipeRecord(number=1, name="min-max", passed=False, reason="sensitivity: 0.9700"),
    RecipeRecord(number=2, name="some layers in float", passed=True, float_layers=("stem", "head")),
)


@pytest.fixture
def report(make: Callable[..., Report]) -> Report:
    """An INT8 artifact on its second recipe, that one processor computes badly."""
    report = make(update={"recipes": RECIPES, "processors": ROWS})
    work = {"operators": {"int8": 20, "fp32": 3}, "macs": {"int8": 96_000_000, "fp32": 4_000_000}}
    return report.model_copy(update={"artifact": report.artifact.model_copy(update=work)})


def rows_of(key: str, report: Report) -> tuple[tuple[str, ...], ...]:
    """The rows of one of its tables."""
    return next(table.rows for table in int8.tables([report]) if table.key == key)


def test_every_processor_has_its_row(report: Report) -> None:
    """A row shows its figures, what was not computed says so, and a comparison stands apart."""
    native, avx2, arm = rows_of("processors", report)
    assert native[1:] == ("this one", "native", "✓ PASS", "0", "0.00e+00", "0.9923", "0.8120", "0.9908", "")
    assert avx2[3:6] == ("✗ FAIL", "9", "2.50e-01")
    ((_, *unsafe),) = rows_of("unsafe", report)
    assert unsafe[2:4] == ["would be broken", "40"]
    assert arm[3:5] == ("○ SKIP", "not measured")
    assert arm[-1] == "no emulator"


def test_the_summary_counts_no_comparison(report: Report) -> None:
    """Rows for comparison are counted neither as executed nor as changed."""
    text = int8.processors_text([report])
    assert "2 of 3 rows were executed, 1 skipped; in 1 a decision differs" in text


def test_what_was_not_computed_is_named(make: Callable[..., Report]) -> None:
    """One row of one says "0 skipped", and which processors it says nothing of."""
    native = ROWS[0].model_copy(update={"name": "ort-native"})
    text = int8.processors_text([make(update={"processors": (native,)})])
    assert "1 of 1 rows were executed, 0 skipped" in text
    assert "Not computed: ort-haswell, ort-cortex-a72. How such a processor computes" in text


def test_nothing_is_said_missing_where_all_was_computed(make: Callable[..., Report]) -> None:
    """Where every known processor was computed none is named."""
    rows = tuple(ROWS[0].model_copy(update={"name": f"ort-{name}"}) for name in FORMATS["ort"].processors)
    assert "Not computed" not in int8.processors_text([make(update={"processors": rows})])


def test_every_rung_is_listed(report: Report) -> None:
    """The recipes stand in the order in which they were tried, with what was left in float."""
    assert [row[1:] for row in rows_of("recipes", report)] == [
        ("1", "min-max", "✗ broken", "sensitivity: 0.9700", "none"),
        ("2", "some layers in float", "✓ held", "", "stem, head"),
    ]


def test_the_work_is_shared_out(report: Report) -> None:
    """Multiply-accumulates are shown as shares of all."""
    ((_, total, shares, operators),) = rows_of("work", report)
    assert (total, shares, operators) == ("100.0", "4.00% fp32, 96.00% int8", "3 fp32, 20 int8")


def test_the_cost_of_synthetic_calibration(report: Report) -> None:
    """What is lost against patients' images has its sign; what was not measured says so."""
    record = CalibrationRecord(images=320, digest="1" * 64, split="train", data_digest="2" * 64)
    cost = CalibrationCost(calibration=record, method="recipe 1", verdict="PASS", sensitivity_cost=0.0026,
                           specificity_cost=-0.0043)  # fmt: skip
    changed = report.model_copy(update={"calibration_cost": cost})
    (row,) = rows_of("cost", changed)
    assert row[1:] == ("✓ PASS", "+0.0026", "-0.0043", "not measured", "recipe 1")


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_both_pages_show_it(
    render: Callable[[list[Report]], str], report: Report, make: Callable[..., Report]
) -> None:
    """Page and Markdown have the section where there is something to say, and none otherwise."""
    assert "How it computes" in render([report])
    report = make()
    plain = report.model_copy(update={"artifact": report.artifact.model_copy(update={"macs": {}})})
    assert "How it computes" not in render([plain])
