"""What a benchmark shows: tables for a terminal, JSON for programs, SVG for the report."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from udacimed_edge.benchmarking.roofline import Share
from udacimed_edge.benchmarking.rounds import ArtifactMeasurement, ratios
from udacimed_edge.benchmarking.run import BenchmarkResult
from udacimed_edge.benchmarking.scores import Mark, device_marks, scoreboard, spread
from udacimed_edge.core import machine
from udacimed_edge.core.files import write_atomic
from udacimed_edge.validation.rendering.figures import latency_against_size, throughput_against_batch

__all__ = ["benchmark_record", "tables", "write_figures"]


def tables(outcome: BenchmarkResult) -> list[Table | str]:
    """Everything for people, in order."""
    shown: list[Table | str] = [_latency_table(outcome)]
    if not any(m.joules_per_image for m in outcome.measurements):
        shown.append("Energy: not exposed by this machine (no readable counter below /sys/class/powercap)\n")
    shown.append(_throughput_table(outcome))
    shown += [str(ratio) for ratio in ratios(outcome.measurements)]
    shown.append(_marks_table("Five targets", [(m, scoreboard(m.facts())) for m in outcome.measurements]))
    if profile := outcome.profile:
        title = f"The budget of {profile.name}, held against what was measured here, not on the device"
        shown.append(
            _marks_table(title, [(m, device_marks(m.facts(), profile)) for m in outcome.measurements])
        )
    if outcome.shares:
        shown.append(_shares_table(outcome.shares))
    shown += [f"{name}: SKIP: {why}" for name, why in outcome.skipped.items()]
    return shown


def _table(title: str, names: Sequence[str], figures: Sequence[str]) -> Table:
    # measured against the longer of both, or the title would be broken to the width of a narrow table
    table = Table(title=title, title_justify="left", min_width=len(title), box=SIMPLE, collapse_padding=True)
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in figures:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _latency_table(outcome: BenchmarkResult) -> Table:
    title = f"One image, {outcome.plan.threads} thread(s), {outcome.plan.rounds} round(s)"
    figures = ("p50 ms", "rounds", "p95", "p99", "cold ms", "MiB", "peak MiB", "model's", "mJ")
    table = _table(title, ("artifact",), figures)
    for m in outcome.measurements:
        rounds = spread(m.medians_ms)
        table.add_row(
            m.subject.name,
            *(f"{m.percentile_ms(50):.2f}", f"{rounds.low:.2f}-{rounds.high:.2f}"),
            *(f"{m.percentile_ms(95):.2f}", f"{m.percentile_ms(99):.2f}"),
            f"{spread(m.cold_start_ms).median:.0f}",
            f"{m.size_bytes / 2**20:.1f}",
            *(_number(m.peak_mib, "{:.0f}"), _number(m.own_mib, "{:.0f}")),
            f"{1000 * spread(m.joules_per_image).median:.1f}" if m.joules_per_image else "-",
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "not shown" if value is None else form.format(value)


def _throughput_table(outcome: BenchmarkResult) -> Table:
    batches = sorted({batch for m in outcome.measurements for batch in m.images_per_second})
    table = _table(
        "Images per second by batch: median, and where eight of ten rounds lie",
        ("artifact",),
        [str(batch) for batch in batches],
    )
    for m in outcome.measurements:
        table.add_row(m.subject.name, *(_rate(m.images_per_second.get(batch)) for batch in batches))
    return table


def _rate(rounds: Sequence[float] | None) -> str:
    if not rounds:
        return ""
    found = spread(rounds)
    return f"{found.median:,.0f}\n{found.low:,.0f}-{found.high:,.0f}"


def _marks_table(title: str, rows: Sequence[tuple[ArtifactMeasurement, tuple[Mark, ...]]]) -> Table:
    """One row per artifact, one column per target; a sign says what colour says, for those who see none."""
    table = _table(title, ("artifact",), [f"{mark.name}\n{mark.bound}" for mark in rows[0][1]])
    table.add_column("met", justify="right")
    for measurement, marks in rows:
        cells = [f"{_SIGNS[mark.met]} {mark.value}" for mark in marks]
        met = sum(mark.met is True for mark in marks)
        table.add_row(measurement.subject.name, *cells, f"{met} of {len(marks)}")
    return table


_SIGNS = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "[yellow]○[/yellow]"}


def _shares_table(shares: Sequence[Share]) -> Table:
    title = "Share of the rate that a dense network reaches in the same runtime and precision"
    table = _table(title, ("artifact",), ("10^9 MAC/s", "dense network's", "share"))
    for share in shares:
        table.add_row(share.name, f"{share.gmacs:.0f}", f"{share.peak_gmacs:.0f}", f"{share.share:.0%}")
    return table


def benchmark_record(outcome: BenchmarkResult) -> dict[str, Any]:
    """Every figure with the rounds behind it, as JSON names them."""
    return {
        "machine": {
            "processor": machine.processor(),
            "instruction_sets": machine.instruction_sets(),
            "cores": machine.cores(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "tools": machine.tool_versions(),
        },
        "plan": asdict(outcome.plan),
        "measurements": [_record(m, outcome) for m in outcome.measurements],
        "ratios": [{**asdict(ratio), "shown": ratio.shown} for ratio in ratios(outcome.measurements)],
        "shares_of_peak": [{**asdict(share), "share": share.share} for share in outcome.shares],
        "skipped": outcome.skipped,
    }


def _record(m: ArtifactMeasurement, outcome: BenchmarkResult) -> dict[str, Any]:
    budget = device_marks(m.facts(), outcome.profile) if outcome.profile else ()
    return {
        **asdict(m),
        "p50_ms": m.percentile_ms(50),
        "p95_ms": m.percentile_ms(95),
        "p99_ms": m.percentile_ms(99),
        "own_mib": m.own_mib,
        "targets": [asdict(mark) for mark in scoreboard(m.facts())],
        "budget": [asdict(mark) for mark in budget],
    }


def write_figures(outcome: BenchmarkResult, folder: Path) -> list[Path]:
    """Write latency-size.svg and throughput-batch.svg, each whole or not at all.

    Raises:
        OutputError: They cannot be written.
    """
    sizes = {m.subject.name: (m.size_bytes / 2**20, m.percentile_ms(50)) for m in outcome.measurements}
    rates = {
        m.subject.name: {batch: spread(values).median for batch, values in m.images_per_second.items()}
        for m in outcome.measurements
    }
    figures = {
        "latency-size.svg": latency_against_size(sizes),
        "throughput-batch.svg": throughput_against_batch(rates),
    }
    for name, text in figures.items():
        write_atomic(folder / name, text.encode())
    return [folder / name for name in figures]
