"""Figures of reports as SVG: text stays text, colours are CSS variables with a light default.

What tells curves and points apart is their shape and their place first, colour second.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.validation.metrics.statistics import roc_points, threshold_curve
from udacimed_edge.validation.rendering.dossier import reliability_bins
from udacimed_edge.validation.rendering.statements import GLYPHS
from udacimed_edge.validation.report import Report, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "PALETTE",
    "latency_against_size",
    "reliability",
    "roc",
    "score_scatter",
    "sensitivity_intervals",
    "threshold_sweep",
    "throughput_against_batch",
]

PALETTE: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14181d"),
    "panel": ("#f3f5f7", "#1f252c"),
    "ink": ("#1b1f24", "#e9edf1"),
    "muted": ("#555f6a", "#a9b4bf"),
    "line": ("#c3cad1", "#46505a"),
    "link": ("#0b57a4", "#8cc4ff"),
    "pass": ("#0a6640", "#5fd39a"),
    "fail": ("#a8201a", "#ff9d92"),
    "skip": ("#6a5100", "#ecc763"),
    "warn": ("#7a1f00", "#ffb38a"),
    "blue": ("#0c5fa6", "#74b9f5"),
    "orange": ("#b04a00", "#f5a35b"),
    "green": ("#00705a", "#4ecbab"),
    "purple": ("#85398c", "#dba0e4"),
}
"""Each colour on a light page and on a dark one; the figures use those of the light page as defaults."""

_WIDTH = 5.2
"""Inches. At 72 units an inch the text, 10.5 units high, is 9.6 pixels on a phone 360 pixels wide."""

_SERIES = ("blue", "orange", "green", "purple")
_STYLES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "udacimed-edge",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
    "grid.linewidth": 0.6,
}


def sensitivity_intervals(reports: Sequence[Report]) -> str:
    """The sensitivity of each artifact with its exact 95 % interval, against the policy's bound."""
    least = reports[0].policy.settings.min_sensitivity
    ends = [r.metrics.sensitivity.clopper_pearson for r in reports if r.metrics]
    low = min([least, *[e.low for e in ends if e]])
    named = list(zip(names(reports), reports, strict=True))
    with _axes(0.9 + 0.36 * len(reports)) as (axes, finish):
        axes.axvline(least, color=_colour("warn"), linestyle="--")
        axes.text(least, -0.75, f"required: {least:g}", color=_colour("warn"), ha="center", va="bottom")
        for row, report in enumerate(reports):
            _interval(axes, row, report, low)
        axes.set_yticks(range(len(reports)), [_row_label(n, r) for n, r in named])
        axes.set_ylim(len(reports) - 0.5, -0.75)
        axes.set_xlim(low - (1 - low) * 0.12, 1 + (1 - low) * 0.03)
        axes.set_xlabel("sensitivity, with its exact 95 % interval")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=_colour("line"))
        axes.spines["left"].set_visible(False)
        what = "; ".join(f"{n} {_told(r)}" for n, r in named)
        return finish("sensitivity", f"Sensitivity with its 95 % interval against {least:g}: {what}")


def _row_label(name: str, report: Report) -> str:
    return f"{GLYPHS[report.verdict]} {textwrap.shorten(name, 24)}"


def _interval(axes: Axes, row: int, report: Report, low: float) -> None:
    colour = _colour(report.verdict.lower())
    if report.metrics is None or (exact := report.metrics.sensitivity.clopper_pearson) is None:
        axes.annotate(
            "not measured", (low, row), (6, 0), textcoords="offset points", color=colour, va="center"
        )
        return
    marker = "o" if report.verdict == "PASS" else "X"
    axes.plot([exact.low, exact.high], [row, row], color=colour, linewidth=2, marker="|", markersize=8)
    axes.plot([report.metrics.sensitivity.value or 0.0], [row], color=colour, marker=marker, markersize=7)


def _told(report: Report) -> str:
    if report.metrics is None or (exact := report.metrics.sensitivity.clopper_pearson) is None:
        return "was not measured"
    return f"{report.metrics.sensitivity.value:.4f} ({exact.low:.4f} to {exact.high:.4f})"


def roc(reports: Sequence[Report]) -> str:
    """The ROC curve of every artifact with its operating point, and the corner that matters, enlarged."""
    measured = [(n, r) for n, r in zip(names(reports), reports, strict=True) if r.metrics]
    with _axes(4.6 + 0.2 * ((len(measured) + 1) // 2)) as (axes, finish):
        corner = axes.inset_axes((0.36, 0.1, 0.62, 0.55))
        for (name, report), (colour, line, marker) in zip(measured, _series(measured), strict=True):
            fpr, tpr = roc_points(*_arrays(report))
            for where in (axes, corner):
                where.plot(fpr, tpr, color=colour, linestyle=line, linewidth=1)
                where.plot(
                    *_operating_point(report),
                    color=colour,
                    marker=marker,
                    markersize=6,
                    linestyle="none",
                    markerfacecolor="none",
                    label=name,
                )
        axes.set(
            xlabel="false alarms (1 - specificity)", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(0, 1.01)
        )
        _enlarge(corner, [_operating_point(r) for _, r in measured])
        for where in (axes, corner):
            where.grid(color=_colour("line"))
        if measured:
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=2)
        told = "; ".join(f"{n} AUC {r.metrics.auc:.4f}" for n, r in measured if r.metrics)
        return finish("roc", f"ROC curves with the operating points: {told or 'none was measured'}")


def _enlarge(corner: Axes, points: Sequence[tuple[float, float]]) -> None:
    right = max([x for x, _ in points], default=0.2)
    low = min([y for _, y in points], default=0.98)
    corner.set(xlim=(0, min(1.0, right * 1.6 + 0.02)), ylim=(max(0.0, 1 - max(0.06, (1 - low) * 2)), 1.003))
    corner.set_title("enlarged", fontsize=9.5)
    corner.tick_params(labelsize=9)


def _operating_point(report: Report) -> tuple[float, float]:
    assert report.metrics is not None
    return 1 - (report.metrics.specificity.value or 0.0), report.metrics.sensitivity.value or 0.0


def _series(measured: Sequence[tuple[str, Report]]) -> Iterator[tuple[str, str, str]]:
    """A colour per format; within a format, a line and a marker per artifact."""
    seen: dict[str, int] = {}
    for _, report in measured:
        target = report.artifact.format
        seen[target] = seen.get(target, -1) + 1
        line, marker = _STYLES[seen[target] % len(_STYLES)]
        yield _colour(_SERIES[list(seen).index(target) % len(_SERIES)]), line, marker


def threshold_sweep(report: Report) -> str:
    """Sensitivity and specificity against the threshold, around the frozen one; needs measured answers."""
    low, high = report.threshold / 3, min(1.0, report.threshold * 3)
    thresholds = np.linspace(low, high, 241)
    curves = threshold_curve(*_arrays(report), thresholds)
    least = report.policy.settings.min_sensitivity
    with _axes(3.3) as (axes, finish):
        drawn = zip(curves, ("blue", "orange"), ("-", "--"), ("sensitivity", "specificity"), strict=True)
        for curve, colour, line, label in drawn:
            axes.plot(thresholds, curve, color=_colour(colour), linestyle=line, label=label)
        axes.axhline(least, color=_colour("warn"), linestyle=":", label=f"required sensitivity, {least:g}")
        axes.axvline(report.threshold, color=_colour("muted"), label=f"frozen, {report.threshold:.4f}")
        axes.set(xlabel="threshold on the probability of pneumonia", xlim=(low, high))
        axes.set_ylim(max(0.0, float(min(c.min() for c in curves)) - 0.05), 1.01)
        axes.grid(color=_colour("line"))
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2)
        return finish(
            f"sweep-{report.report_digest[:8]}",
            f"Sensitivity and specificity for thresholds from {low:.4f} to {high:.4f}; frozen at "
            f"{report.threshold:.4f}",
        )


def score_scatter(report: Report) -> str:
    """The source model's probability against the artifact's, changes marked; needs measured answers."""
    labels, after = _arrays(report)
    before = np.array(report.predictions.source)
    changed = report.comparison.changed if report.comparison else ()
    with _axes(4.5) as (axes, finish):
        for label, colour, marker, what in ((0, "orange", "^", "normal"), (1, "blue", "o", "pneumonia")):
            here = labels == label
            axes.plot(
                before[here],
                after[here],
                color=_colour(colour),
                marker=marker,
                markersize=4,
                linestyle="none",
                markerfacecolor="none",
                markeredgewidth=0.8,
                label=what,
            )
        x, y = [c.source_probability for c in changed], [c.artifact_probability for c in changed]
        axes.plot(
            x,
            y,
            color=_colour("fail"),
            marker="X",
            markersize=6,
            markeredgewidth=0,
            linestyle="none",
            label=f"decision changed ({len(changed)})",
        )
        for line in (axes.axhline, axes.axvline):
            line(report.threshold, color=_colour("muted"), linestyle="--", linewidth=0.9)
        axes.set(
            xlabel="probability by the source model",
            ylabel="probability by the artifact",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        axes.legend(loc="lower right")
        return finish(
            f"scatter-{report.report_digest[:8]}",
            f"Probability of pneumonia by source model and artifact; {len(changed)} decisions changed",
        )


def reliability(report: Report) -> str:
    """The share that is ill against the mean probability, in ten bins; needs measured answers."""
    rows = reliability_bins(report)
    with _axes(3.6) as (axes, finish):
        axes.plot([0, 1], [0, 1], color=_colour("muted"), linestyle="--", linewidth=0.9)
        for mean, ill in rows:
            assert ill.clopper_pearson is not None  # no bin is empty
            ends = [ill.clopper_pearson.low, ill.clopper_pearson.high]
            axes.plot([mean, mean], ends, color=_colour("blue"), marker="_", markersize=6)
        axes.plot(
            [m for m, _ in rows], [ill.value or 0.0 for _, ill in rows], color=_colour("blue"), marker="o"
        )
        axes.set(
            xlabel="mean probability", ylabel="share that is ill", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
        )
        axes.grid(color=_colour("line"))
        told = "; ".join(f"{mean:.2f}: {ill.successes} of {ill.total}" for mean, ill in rows)
        return finish(
            f"reliability-{report.report_digest[:8]}", f"Reliability curve, ill by probability: {told}"
        )


def latency_against_size(points: Mapping[str, tuple[float, float]]) -> str:
    """Size in MiB and latency of one image in milliseconds, both above 0, by name; at least one."""
    with _axes(4.2 + 0.1 * len(points)) as (axes, finish):
        for (name, (size, latency)), (colour, _, marker) in zip(points.items(), _styles(), strict=False):
            axes.plot(
                [size], [latency], color=colour, marker=marker, markersize=7, linestyle="none", label=name
            )
        axes.set(yscale="log", xlabel="size in MiB", ylabel="latency of one image in ms (median)")
        axes.set_xlim(0, 1.15 * max(size for size, _ in points.values()))
        _finish_axes(axes, len(points))
        told = "; ".join(f"{name} {size:.1f} MiB {ms:.2f} ms" for name, (size, ms) in points.items())
        return finish("latency-size", f"Latency of one image against size: {told}")


def throughput_against_batch(rates: Mapping[str, Mapping[int, float]]) -> str:
    """Images per second, above 0, by name and images in one call."""
    with _axes(4.2 + 0.1 * len(rates)) as (axes, finish):
        for (name, points), (colour, line, marker) in zip(rates.items(), _styles(), strict=False):
            axes.plot(
                list(points), list(points.values()), color=colour, linestyle=line, marker=marker, label=name
            )
        batches = sorted({batch for points in rates.values() for batch in points})
        axes.set(xscale="log", yscale="log", xlabel="images in one call", ylabel="images per second (median)")
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.minorticks_off()
        _finish_axes(axes, len(rates))
        told = "; ".join(f"{name} at best {max(points.values()):.0f}" for name, points in rates.items())
        return finish("throughput-batch", f"Images per second against the batch: {told}")


def _styles() -> Iterator[tuple[str, str, str]]:
    """Colour, line and marker, without end: each marker in every colour before the next marker."""
    while True:
        for line, marker in _STYLES:
            for name in _SERIES:
                yield _colour(name), line, marker


def _finish_axes(axes: Axes, names: int) -> None:
    """Plain numbers instead of powers of ten, a grid, and the legend below."""
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter("")
    axes.grid(color=_colour("line"))
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=2 if names > 1 else 1)


def _arrays(report: Report) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Labels and the artifact's probabilities."""
    return np.array(report.predictions.labels, np.uint8), np.array(report.predictions.artifact, np.float64)


def _colour(name: str) -> str:
    return PALETTE[name][0]


@contextmanager
def _axes(height: float) -> Iterator[tuple[Axes, Callable[[str, str], str]]]:
    """Axes of a figure so many inches high, and what turns it into SVG, given its key and description."""
    import matplotlib
    from matplotlib.figure import Figure

    ink, muted = _colour("ink"), _colour("muted")
    colours = {
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.titlecolor": ink,
        "axes.edgecolor": muted,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
    }
    settings: dict[str, Any] = {**_STYLE, **colours}
    with matplotlib.rc_context(cast("Any", settings)):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        yield figure.subplots(), lambda key, alt: _svg(figure, key, alt)


def _svg(figure: Figure, key: str, alt: str) -> str:
    """The figure as an `<svg>` element to be put into a page with others."""
    stream = io.StringIO()
    figure.savefig(
        stream,
        format="svg",
        transparent=True,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>|<metadata.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    opening = f'<svg {spaces} {box[0]} role="img" '
    body = _compact(_themed(_own_ids(body, key)))
    return opening + f'class="figure" aria-label="{_escaped(alt)}">' + body.strip()


def _own_ids(body: str, key: str) -> str:
    """Ids that are referred to get the figure's key, since a page holds several figures; the others go."""
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', body))
    kept = {a or b for a, b in used}
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in kept else "", body)
    return re.sub(r'(url\(#|href="#)', rf"\1{key}-", body)


def _themed(body: str) -> str:
    """Colours as variables with their light value as default, and the reader's own sans-serif."""
    for name, (light, _) in PALETTE.items():
        body = body.replace(light, f"var(--{name}, {light})")
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 system-ui, sans-serif", body)
    return re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", body)


def _compact(body: str) -> str:
    """Coordinates to hundredths of a unit, and the style of equal markers said once."""

    def grouped(run: re.Match[str]) -> str:
        style = f' style="{run[1]}"'
        return f"<g{style}>{run[0].replace(style, '')}</g>"

    def rounded(tag: re.Match[str]) -> str:
        return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])

    body = re.sub(r"<[^>]+>", rounded, body)
    body = re.sub(r"\n\s*", "\n", body)
    return re.sub(r'<use [^>]*? style="([^"]*)"/>\s*(?:<use [^>]*? style="\1"/>\s*)+', grouped, body)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
