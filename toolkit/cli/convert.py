"""The command convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from udacimed_edge.cli.command import EdgeCommand, Named, OutputPath, command_text, given_options
from udacimed_edge.cli.ending import explain, leave
from udacimed_edge.cli.options import (
    built_in_option,
    chosen_model,
    data_option,
    isa_option,
    model_options,
    policy_options,
    policy_settings,
    precisions,
    source_options,
    targets,
)
from udacimed_edge.cli.output import CommandOutput, machine_options
from udacimed_edge.core.outputs import require_writable_file
from udacimed_edge.runtime.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from udacimed_edge.workflow.plan import Item, ItemResult

__all__ = ["convert"]

PAGE = "report.html"


@click.command(cls=EdgeCommand)
@click.argument("model", type=click.Path(path_type=Path), required=False)
@built_in_option
@click.option(
    "--target",
    "wanted",
    type=Named("target", targets),
    multiple=True,
    help=f"{', '.join(FORMATS)}, all, or a device (see `udacimed-edge targets`); may be given several times.",
)
@click.option("--profile", type=click.Path(path_type=Path), help="A device of your own, a TOML file.")
@click.option(
    "--precision",
    type=Named("precision", precisions),
    help="fp32, fp16 or int8; each target has its default.",
)
@data_option
@click.option(
    "--out", type=OutputPath("folder"), default=Path("out"), show_default=True, help="Output folder."
)
@model_options
@policy_options
@click.option(
    "--min-recipe",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="The INT8 recipe to begin with.",
)
@click.option(
    "--max-recipe",
    "--max-rung",
    type=click.IntRange(min=1),
    help="The last INT8 recipe to try; default: all.",
)
@click.option(
    "--calibrate",
    type=click.Choice(["train", "synthetic"]),
    default="train",
    show_default=True,
    help="Images that calibrate INT8: the training split, or synthetic ones and what they cost.",
)
@isa_option
@machine_options
def convert(
    model: Path | None,
    built_in: str | None,
    wanted: tuple[str, ...],
    profile: Path | None,
    precision: Any,
    data: str | None,
    out: Path,
    command_output: CommandOutput,
    **options: Any,
) -> None:
    """Convert a model and judge each artifact from its bytes.

    MODEL is a .safetensors, .pth, .pt2 or .onnx file; without it, a built-in model (--model).
    What passes is in OUT/<target>-<precision>/ with its report.json and model card, what fails in
    OUT/rejected/; OUT/report.html shows all of them to people.

    Example: udacimed-edge convert --target coreml --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.cli.display import progress
    from udacimed_edge.cli.records import item_records
    from udacimed_edge.core.data import open_data
    from udacimed_edge.source.load import load_source
    from udacimed_edge.workflow.convert import convert_all
    from udacimed_edge.workflow.plan import ConversionPlan

    plan = ConversionPlan(
        _items(wanted, profile, precision),
        out,
        policy_settings(options),
        options["min_recipe"],
        options["max_recipe"],
        options["calibrate"],
        options["isa"],
    )
    require_writable_file(out / PAGE, "--out")
    source, dataset, console = chosen_model(model, built_in), open_data(data), command_output.console()
    with progress(console, len(plan.items)) as notify:
        results = convert_all(load_source(source, source_options(options)), dataset, plan, notify)
    command_output.content["results"] = item_records(results)
    _show(results)
    explain(results, Console(stderr=True))
    if _write_page(results, out):
        console.print(f"For people: {out / PAGE}", markup=False, highlight=False, soft_wrap=True)
    leave(results)
    passed = next(r.artifact for r in results if r.artifact)
    console.print(f"Next: {_next(passed, model, data)}", markup=False, highlight=False, soft_wrap=True)


def _items(wanted: tuple[str, ...], profile: Path | None, precision: Any) -> tuple[Item, ...]:
    """What is to be made.

    Raises:
        click.UsageError: Neither targets nor a profile are named, or both.
    """
    from udacimed_edge.targets.devices.profile import read_profile
    from udacimed_edge.workflow.plan import device_item, plan_all

    if bool(wanted) == (profile is not None):
        raise click.UsageError("name either --target or --profile")
    if profile is not None:
        return (device_item(read_profile(profile), precision),)
    return plan_all(wanted, precision)


def _show(results: Sequence[ItemResult]) -> None:
    from udacimed_edge.cli.display import basis_text, processors_table, result_table, stdout

    screen, reports = stdout(), [result.report for result in results if result.report]
    screen.print(result_table(results))
    if matrix := processors_table(reports):
        screen.print(matrix)
    if reports:
        screen.print(basis_text(reports[0]), highlight=False, markup=False, soft_wrap=True)


def _write_page(results: Sequence[ItemResult], out: Path) -> bool:
    """Write the page for people; False where there is nothing to show."""
    from udacimed_edge.workflow.report import write_html

    reports = [result.report for result in results if result.report]
    if reports:
        write_html(reports, out / PAGE)
    return bool(reports)


def _next(artifact: Path, model: Path | None, data: str | None) -> str:
    """The command that judges an artifact again, with all that was stated of its model and its bounds."""
    from dataclasses import fields

    from udacimed_edge.source.load import SourceOptions
    from udacimed_edge.validation.policy.policy import PolicySettings

    source = ["--source", model] if model else []
    stated = given_options({*(field.name for field in fields(SourceOptions)), *PolicySettings.model_fields})
    return command_text(["validate", artifact.parent, *source, *stated, *(["--data", data] if data else [])])
