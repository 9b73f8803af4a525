"""Tables and progress lines for a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from udacimed_edge.targets.devices.profile import DeviceProfile
    from udacimed_edge.validation.metrics.records import Metrics, Proportion
    from udacimed_edge.validation.report import ProcessorRecord, Report, Verdict
    from udacimed_edge.workflow.plan import ItemResult, Stage

__all__ = [
    "basis_text",
    "changes_text",
    "clauses_text",
    "devices_table",
    "figures_text",
    "left",
    "processors_table",
    "profile_text",
    "progress",
    "result_table",
    "stdout",
    "verdict_text",
]

_TABLE_WIDTH = 116


def stdout() -> Console:
    """Where results go; a file or pipe gets lines long enough for the table."""
    console = Console()
    return console if console.is_terminal else Console(width=_TABLE_WIDTH)


_RESULT_CAPTION = (
    "recipe: which INT8 recipe held first, 1 the lowest; in int8: share of the multiply-accumulates computed "
    "in int8; found: of the images with pneumonia; changed: decisions other than the source model's"
)


def result_table(results: Sequence[ItemResult]) -> Table:
    """One row per artifact."""
    rehearsal = any(r.report is not None and r.report.rehearsal for r in results)
    table = Table(
        title="REHEARSAL on synthetic images: no evidence" if rehearsal else None,
        caption=_RESULT_CAPTION,
        caption_justify="left",
        box=SIMPLE,
        collapse_padding=True,
    )
    for words in ("target", "precision", "verdict"):
        table.add_column(words)
    for figures in (
        "recipe",
        "in int8",
        "MiB",
        "sensitivity",
        "found",
        "specificity",
        "AUC",
        "changed",
        "time",
    ):
        table.add_column(figures, justify="right")
    for result in results:
        table.add_row(*_cells(result))
    return table


def _cells(result: ItemResult) -> list[str]:
    report, seconds = result.report, f"{result.seconds:.1f} s"
    if report is None:
        target, _, precision = result.item.rpartition("-")
        name = [target, precision] if target else [result.item, ""]
        return [*name, "[red]ERROR[/red]", *[""] * 8, seconds]
    figures = [""] * 5
    if report.metrics and report.comparison:
        found = report.metrics.sensitivity
        figures = [
            f"{found.value:.4f}",
            f"{found.successes}/{found.total}",
            f"{report.metrics.specificity.value:.4f}",
            f"{report.metrics.auc:.4f}",
            f"{len(report.comparison.changed)}/{len(report.predictions.labels)}",
        ]
    verdict = _coloured(report.verdict, report.verdict_words)
    size = f"{report.artifact.size_bytes / 2**20:.1f}"
    name = [report.artifact.format, report.artifact.precision]
    return [*name, verdict, *_int8_cells(report), size, *figures, seconds]


def _int8_cells(report: Report) -> tuple[str, str]:
    """The recipe that an INT8 artifact stands on, and how much of its work is in int8."""
    total = sum(report.artifact.macs.values())
    if report.artifact.precision != "int8" or not total:
        return "", ""
    recipe = f"{report.recipes[-1].number}" if report.recipes else ""
    return recipe, f"{report.artifact.macs.get('int8', 0) / total:.0%}"


def _coloured(verdict: Verdict, words: str = "") -> str:
    colour = {"PASS": "green", "FAIL": "red", "SKIP": "yellow"}[verdict]
    if words and words != verdict:
        colour = "yellow"
    return f"[{colour}]{words or verdict}[/{colour}]"


def processors_table(reports: Sequence[Report]) -> Group | None:
    """The processor cases of all artifacts, each row beside the judged run; None where there is none.

    What was computed for comparison alone stands below, in words that are no verdict.
    """
    from udacimed_edge.validation.rendering.int8 import compared

    table = Table(
        title="As other processors compute it", caption=_PROCESSORS_CAPTION, caption_justify="left",
        box=SIMPLE, collapse_padding=True,
    )  # fmt: skip
    for words in ("processor", "verdict"):
        table.add_column(words, no_wrap=True)
    for figures in ("other than judged", "moved by", "time"):
        table.add_column(figures, justify="right", no_wrap=True)
    table.add_column("how, or why not", overflow="fold")
    lines = []
    for report in reports:
        images = len(report.predictions.labels)
        for row in report.processors:
            if row.comparison_only:
                moved = "" if row.changed is None else f", {row.changed}/{images} other than judged"
                lines.append(escape(f"  {row.name}: {compared(row)}{moved}; {row.reason or row.way}"))
            else:
                table.add_row(*_processor_cells(row, images))
    parts: list[Table | str] = [table] if table.row_count else []
    if lines:
        parts += [_COMPARISON, *lines]
    return Group(*parts) if parts else None


_PROCESSORS_CAPTION = (
    "other than judged: decisions that differ from the judged run; changed decisions in a reason are counted "
    "against the source model"
)

_COMPARISON = "For comparison, no verdict: the same model in the faster setting that was not taken"


def _processor_cells(row: ProcessorRecord, images: int) -> list[str]:
    return [
        row.name,
        _coloured(row.verdict),
        "" if row.changed is None else f"{row.changed}/{images}",
        "" if row.max_difference is None else f"{row.max_difference:.2g}",
        "" if row.seconds is None else f"{row.seconds:.1f} s",
        escape(row.reason or row.way),
    ]


def devices_table(profiles: Iterable[DeviceProfile]) -> Table:
    """One row per device."""
    table = Table(box=SIMPLE, collapse_padding=True)
    for name in ("device", "what it is", "system", "takes, best first"):
        table.add_column(name)
    for profile in profiles:
        table.add_row(
            profile.name, profile.title, f"{profile.operating_system} {profile.architecture}", _takes(profile)
        )
    return table


def _takes(profile: DeviceProfile) -> str:
    return ", ".join(f"{choice.format} {choice.precision}" for choice in profile.formats)


def profile_text(profile: DeviceProfile) -> str:
    """Everything about one device."""
    budget, sets = profile.budget, profile.instruction_sets
    lines = [
        f"{profile.name}: {profile.title}",
        profile.description,
        f"system: {profile.operating_system} {profile.architecture}; {profile.minimum}",
        f"instruction sets: {', '.join(sets.has) or 'not stated'}; without {', '.join(sets.lacks) or 'none'}",
        f"takes, best first: {_takes(profile)}",
        f"budget: {budget.size_mib:g} MiB, {budget.ram_mib:g} MiB of memory, "
        f"{budget.latency_ms:g} ms an image, {budget.images_per_second:g} images/s",
        *profile.notes,
        f"next: udacimed-edge convert --target {profile.name}",
    ]
    return "\n".join(lines)


def verdict_text(report: Report) -> str:
    """Everything about one verdict: what it rests on, figures, clauses, changed decisions."""
    parts = [f"{report.title}: {report.verdict_words}", f"rests on: {report.basis or report.executor}"]
    parts += [show(report) for show in (basis_text, figures_text, clauses_text, changes_text)]
    return "\n".join(parts)


def basis_text(report: Report) -> str:
    """What a verdict rests on, one line each: data, threshold, policy."""
    bounds, data = report.policy.settings, report.data
    return "\n".join(
        (
            f"data: {data.origin}, {data.name}, {data.split} split of {data.pneumonia} pneumonia and "
            f"{data.normal} normal, digest {data.digest[:12]}",
            f"threshold: {report.threshold:.4f}, {report.threshold_origin}",
            f"policy: sensitivity >= {bounds.min_sensitivity:g}; specificity >= "
            f"{bounds.min_specificity or 0:g} and >= source - {bounds.max_specificity_drop:g}; "
            f"AUC >= source - {bounds.max_auc_drop:g}; agreement >= "
            f"{bounds.min_agreement:g}; finite outputs; same answer in any batch; precision as claimed",
        )
    )


def figures_text(report: Report) -> str:
    """Every figure with its 95 % intervals."""
    from udacimed_edge.validation.rendering.tables import PREVALENCES

    metrics, comparison = report.metrics, report.comparison
    if metrics is None or comparison is None:
        return "  no figures: " + report.reason
    lines = [
        _proportion_line(name, getattr(metrics, name)) for name in ("sensitivity", "specificity", "accuracy")
    ]
    lines += [_predictive_line(metrics, share) for share in PREVALENCES]
    clears = "reaches" if report.sensitivity_bound_clears else "does not reach"
    required = report.policy.settings.min_sensitivity
    return "\n".join(
        (
            *lines,
            f"  AUC {metrics.auc:.4f} (source {report.source.metrics.auc:.4f})",
            f"  the exact interval's lower end {clears} {required:g} sensitivity",
            f"  probabilities differ from the source's by {comparison.max_probability_difference:.4f} "
            f"at most, {comparison.mean_probability_difference:.5f} on average",
            f"  exact McNemar test: p = {comparison.mcnemar_positives.p_value:.3g} on pneumonia, "
            f"p = {comparison.mcnemar_negatives.p_value:.3g} on normal",
        )
    )


def _proportion_line(name: str, found: Proportion) -> str:
    if found.value is None or found.wilson is None or found.clopper_pearson is None:
        return f"  {name}: no image to measure it on"
    wilson, exact = found.wilson, found.clopper_pearson
    return (
        f"  {name} {found.value:.4f} ({found.successes}/{found.total}), 95 % interval {wilson.low:.4f} to "
        f"{wilson.high:.4f} (Wilson), {exact.low:.4f} to {exact.high:.4f} (exact)"
    )


def _predictive_line(metrics: Metrics, prevalence: float) -> str:
    from udacimed_edge.validation.rendering.tables import predictive_cells

    ppv, npv = predictive_cells(metrics, prevalence)
    return f"  where {prevalence:.0%} are ill: PPV {ppv}, NPV {npv}, with their 95 % intervals"


def clauses_text(report: Report) -> str:
    """The policy, clause by clause, with what was measured."""
    lines = [f"  {'held  ' if c.passed else 'BROKEN'} {c}" for c in report.policy.clauses]
    return "\n".join(lines or [f"  not evaluated: {report.reason}"])


def changes_text(report: Report) -> str:
    """Every decision that differs from the source model's, by index and direction."""
    if report.comparison is None or not report.comparison.changed:
        return "  no decision differs from the source model's"
    return "\n".join(
        f"  image {c.index} ({c.label}): {c.source} -> {c.artifact}, "
        f"probability {c.source_probability:.4f} -> {c.artifact_probability:.4f}"
        for c in report.comparison.changed
    )


@contextmanager
def progress(console: Console, total: int = 0) -> Iterator[Callable[[Stage | ItemResult], None]]:
    """Show what is being done: on a terminal one line per item, kept in its place; plain lines elsewhere.

    Args:
        console: Where to.
        total: How many items there are, for a count and an estimate of the time left; 0 for neither.
    """
    from udacimed_edge.workflow.plan import ItemResult

    started, now, done = time.monotonic(), dict[str, str](), dict[str, str]()

    def lines() -> Table:
        grid = Table.grid(padding=(0, 1))
        for item, stage in {**now, **done}.items():
            grid.add_row("" if item in done else Spinner("line"), item, stage)
        if total:
            grid.add_row("", f"{len(done)} of {total}", left(len(done), total, time.monotonic() - started))
        return grid

    with Live(console=console, transient=True, get_renderable=lines, refresh_per_second=8) as live:

        def notify(event: Stage | ItemResult) -> None:
            if isinstance(event, ItemResult):
                verdict = event.report.verdict_words if event.report else "ERROR"
                done[event.item] = f"{verdict} ({event.seconds:.1f} s)"
                if not console.is_terminal:
                    count = f" [{len(done)} of {total}]" if total else ""
                    text = f"{event.item}: {done[event.item]}{count}"
                    live.console.print(text, highlight=False, markup=False)
            elif console.is_terminal:
                now[event.item] = event.name
                if event.item != "source":
                    now.pop("source", None)
            else:
                console.print(f"{event.item}: {event.name}", highlight=False)

        yield notify


def left(done: int, total: int, seconds: float) -> str:
    """How long the rest takes if it goes on as it went, in words; nothing before the first has ended."""
    if not done or done >= total:
        return ""
    rest = seconds / done * (total - done)
    return f"about {rest:.0f} s left" if rest < 90 else f"about {rest / 60:.0f} min left"
