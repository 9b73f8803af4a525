"""The command benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from udacimed_edge.cli.command import EdgeCommand, Named, OutputPath
from udacimed_edge.cli.options import devices
from udacimed_edge.cli.output import CommandOutput, machine_options
from udacimed_edge.core.machine import cores

__all__ = ["benchmark"]


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


@click.command(cls=EdgeCommand)
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
@click.option("--svg", "figures", type=OutputPath("folder"), help="A folder for two figures as SVG.")
@machine_options
def benchmark(
    artifacts: tuple[Path, ...], figures: Path | None, command_output: CommandOutput, **options: Any
) -> None:
    """Measure artifacts on this machine: latency, throughput, cold start, memory, energy.

    ARTIFACT is a folder that `convert` wrote, or the artifact in it. Each has a process of its own, all
    are held to the same cores and measured in turn, round by round. A ratio whose spread over the rounds is
    larger than the difference is not quoted.

    Example: udacimed-edge benchmark out/ort-int8 out/ort-fp32 --against source
    """
    from udacimed_edge.benchmarking.rounds import BenchmarkPlan
    from udacimed_edge.benchmarking.run import BATCHES, BenchmarkExtras, run_benchmark
    from udacimed_edge.cli.benchmark_tables import benchmark_record, tables, write_figures
    from udacimed_edge.cli.display import stdout
    from udacimed_edge.targets.devices.profile import find_profile

    batches, console, screen = options["batches"], command_output.console(), stdout()
    plan = BenchmarkPlan(
        options["rounds"], batches or BATCHES, options["threads"] or cores(), only_fitting=batches is None
    )
    extras = BenchmarkExtras(
        options["source"] or options["against"] is not None,
        options["variants"],
        options["roofline"],
        find_profile(options["target"]) if options["target"] else None,
    )
    outcome = run_benchmark(
        artifacts, plan, extras, lambda line: console.print(line, markup=False, highlight=False)
    )
    command_output.content.update(benchmark_record(outcome))
    for part in tables(outcome):
        screen.print(part, highlight=False, soft_wrap=isinstance(part, str))
    if figures:
        for path in write_figures(outcome, figures):
            console.print(f"Figure: {path}", markup=False, highlight=False, soft_wrap=True)
