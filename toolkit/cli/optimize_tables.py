"""What `optimize` shows: one table and one figure."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

from udacimed_edge.optimization.trained import REHEARSAL

if TYPE_CHECKING:
    from udacimed_edge.optimization.steps import Optimization, StepMeasurement

__all__ = ["figure", "table"]

_COLUMNS: dict[str, Callable[[StepMeasurement], str]] = {
    "GFLOP": lambda row: f"{row.flops / 1e9:.3f}",
    "Mpar.": lambda row: f"{row.parameters / 1e6:.2f}",
    "MB": lambda row: f"{row.stored_bytes / 1e6:.1f}",
    "MiB": lambda row: f"{row.peak_activation_bytes / 2**20:.2f}",
    "ms": lambda row: f"{row.latency_ms:.1f}",
    "sens.": lambda row: f"{row.metrics.sensitivity.value:.4f}",
    "spec.": lambda row: f"{row.metrics.specificity.value:.4f}",
    "AUC": lambda row: f"{row.metrics.auc:.4f}",
    "moved": lambda row: _moved(row.max_probability_difference),
}

_PANELS: dict[str, Callable[[StepMeasurement], float]] = {
    "GFLOP an image": lambda row: row.flops / 1e9,
    "activations, MiB": lambda row: row.peak_activation_bytes / 2**20,
    "latency, ms": lambda row: row.latency_ms,
    "stored, MB": lambda row: row.stored_bytes / 1e6,
    "AUC, validation": lambda row: row.metrics.auc,
}


def table(record: Optimization) -> Table:
    """One row per step.

    MB: the stored weights. MiB: the peak of the activations. moved: the largest change of a probability
    against the row before.
    """
    result = Table(
        title=REHEARSAL if record.rehearsal else None, box=SIMPLE, collapse_padding=True, pad_edge=False
    )
    for words in ("step", "effect"):
        result.add_column(words, no_wrap=True)
    for name in _COLUMNS:
        result.add_column(name, justify="right")
    for row in record.steps:
        result.add_row(row.step, row.effect, *(text(row) for text in _COLUMNS.values()))
    return result


def _moved(difference: float | None) -> str:
    return "" if difference is None else f"{difference:.1g}"


def figure(record: Optimization) -> bytes:
    """The same as bars, an SVG file: a row per step, a panel per figure."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = range(len(record.steps))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "udacimed-edge"}):
        sheet = Figure(figsize=(12, 1.2 + 0.35 * len(rows)), layout="constrained")
        panels = sheet.subplots(1, len(_PANELS), sharey=True)
        for axes, (title, value) in zip(panels, _PANELS.items(), strict=True):
            bars = axes.barh(rows, [value(row) for row in record.steps], color="#0c5fa6")
            axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=8)
            axes.set_title(title, fontsize=10)
            axes.margins(x=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_yticks(rows, [f"{row.step} ({row.effect})" for row in record.steps])
        panels[0].invert_yaxis()
        if record.rehearsal:
            sheet.suptitle(REHEARSAL, color="#7a1f00", fontsize=10)
        stream = io.BytesIO()
        sheet.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
