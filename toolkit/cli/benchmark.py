"""The command benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from udacimed_edge.cli.options import Named, devices
from udacimed_edge.core.machine import cores

if TYPE_CHECKING:
    from udacimed_edge.benchmark.worker import BenchmarkSubject
    from udacimed_edge.cli.benchmark_tables import BenchmarkResult

__all__ = ["benchmark"]

BATCHES = (1, 8, 16, 32, 64)


class Batches(click.ParamType[tuple[int, ...]]):
    """Numbers of images in one call, separated by commas."""

    name = "batches"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read them, in ascending order.

        Raises:
            click.BadParameter: None, one that is no number of images from 1 to 4096, or one twice.
        """
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() and 1 <= int(part) <= 4096 for part in parts):
            self.fail(f"'{value}' is not a list of numbers from 1 to 4096 such as 1,8,64", param, ctx)
        if len({*map(int, parts)}) < len(parts):
            self.fail(f"'{value}' names a batch twice", param, ctx)
        return tuple(sorted(map(int, parts)))


class Threads(click.IntRange):
    """A number of threads that this machine has cores for."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it.

        Raises:
            click.BadParameter: Not a number, below 1, or more than the cores this process may use.
        """
        number = super().convert(value, param, ctx)
        if number > cores():
            self.fail(f"{number} threads on {cores()} cores would measure their waiting", param, ctx)
        return number


@click.command()
@click.argument("artifacts", metavar="ARTIFACT...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--batch", "batches", type=Batches(), help="Images in one call; default: 1,8,16,32,64 where taken."
)
@click.option("--threads", type=Threads(1), help="Threads, and cores to hold to; default: all cores.")
@click.option(
    "--against", type=click.Choice(["source"]), help="Measure the PyTorch model in the same rounds."
)
@click.option(
    "--source", type=click.Path(path_type=Path), help="That model, its card beside it; default: the built-in."
)
@click.option("--target", type=Named("device", devices), help="A device whose budget is held against it.")
@click.option("--variants", is_flag=True, help="Compare each runtime's other settings that are present.")
@click.option("--roofline", is_flag=True, help="Measure a dense network too, for the share of its rate.")
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True, help="How often each.")
@click.option("--json", "record", type=click.Path(path_type=Path), help="Write every figure as JSON.")
@click.option("--svg", "figures", type=click.Path(path_type=Path), help="A folder for two figures as SVG.")
def benchmark(artifacts: tuple[Path, ...], record: Path | None, figures: Path | None, **options: Any) -> None:
    """Measure artifacts on this machine: latency, throughput, cold start, memory, energy.

    ARTIFACT is a folder that `convert` wrote, or the artifact in it. Each has a process of its own, all
    are held to the same cores and measured in turn, round by round. A ratio whose spread over the rounds is
    larger than the difference is not quoted.

    Example: udacimed-edge benchmark out/ort-int8 out/ort-fp32 --against source
    """
    from rich.console import Console

    from udacimed_edge.cli.benchmark_tables import tables, write_figures, write_json
    from udacimed_edge.cli.display import stdout

    console, screen = Console(stderr=True), stdout()
    outcome = _outcome(artifacts, options, lambda line: console.print(line, markup=False, highlight=False))
    for part in tables(outcome):
        screen.print(part, highlight=False, soft_wrap=isinstance(part, str))
    if record:
        write_json(outcome, record)
    if figures:
        for path in write_figures(outcome, figures):
            console.print(f"Figure: {path}", markup=False, highlight=False, soft_wrap=True)


def _outcome(artifacts: tuple[Path, ...], options: dict[str, Any], notify: Any) -> BenchmarkResult:
    """Everything that was asked for, measured."""
    from tempfile import TemporaryDirectory

    from udacimed_edge.benchmark.roofline import make_kernels, share_of_peak
    from udacimed_edge.benchmark.rounds import BenchmarkPlan, measure
    from udacimed_edge.cli.benchmark_tables import BenchmarkResult
    from udacimed_edge.targets.devices.profile import find_profile

    profile = find_profile(options["target"]) if options["target"] else None
    threads, batches = options["threads"] or cores(), options["batches"]
    plan = BenchmarkPlan(options["rounds"], batches or BATCHES, threads, only_fitting=batches is None)
    subjects, skipped = _subjects(artifacts, threads, options["variants"])
    against = options["source"] or options["against"] is not None
    with TemporaryDirectory() as folder:
        kernels: list[BenchmarkSubject] = []
        if options["roofline"]:
            notify("dense networks: converted")
            kernels, macs = make_kernels(subjects, Path(folder))
        measurements = measure([*subjects, *kernels], plan, against, notify)
    shares = share_of_peak(measurements, macs) if kernels else []
    own = [m for m in measurements if m.subject not in kernels]
    return BenchmarkResult(plan, own, skipped, profile, shares)


def _subjects(
    artifacts: tuple[Path, ...], threads: int, variants: bool
) -> tuple[list[BenchmarkSubject], dict[str, str]]:
    """What can be measured here; and what cannot, with the reason.

    Raises:
        InputError: There is no artifact at a path.
        UnsupportedError: None of them can be measured here.
    """
    from udacimed_edge.benchmark.rounds import artifact_subjects
    from udacimed_edge.core.artifact import locate
    from udacimed_edge.core.errors import UnsupportedError
    from udacimed_edge.runtime.formats import format_of

    why = "Core ML is measured on macOS only: our own executor shows what it answers, not how fast"
    found = [locate(path) for path in artifacts]
    skipped = [path for path in found if format_of(path).stand_in_here]
    measured = [path for path in found if path not in skipped]
    if not measured:
        raise UnsupportedError(f"{skipped[0]}: {why}", "name an ort, litert or openvino artifact")
    return artifact_subjects(measured, threads, variants), {str(path): why for path in skipped}
