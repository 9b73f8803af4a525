"""The command convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from udacimed_edge.cli.ending import explain, leave
from udacimed_edge.cli.options import (
    Named,
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
from udacimed_edge.runtime.formats import FORMATS

if TYPE_CHECKING:
    from udacimed_edge.workflow.plan import Item

__all__ = ["convert"]

PAGE = "report.html"


@click.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@built_in_option
@click.option(
    "--target",
    type=Named("target", targets),
    help=f"{', '.join(FORMATS)}, all, or a device (see `udacimed-edge targets`).",
)
@click.option("--profile", type=click.Path(path_type=Path), help="A device of your own, a TOML file.")
@click.option(
    "--precision",
    type=Named("precision", precisions),
    help="fp32, fp16 or int8; each target has its default.",
)
@data_option
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Output folder."
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
def convert(
    model: Path | None,
    built_in: str | None,
    target: str | None,
    profile: Path | None,
    precision: Any,
    data: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Convert a model and judge each artifact from its bytes.

    MODEL is a .safetensors, .pth, .pt2 or .onnx file; without it, a built-in model (--model).
    What passes is in OUT/<target>-<precision>/ with its report.json and model card, what fails in
    OUT/rejected/; OUT/report.html shows all of them to people.

    Example: udacimed-edge convert --target coreml --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.cli.display import basis_text, processors_table, progress, result_table, stdout
    from udacimed_edge.core.data import open_data
    from udacimed_edge.source.load import load_source
    from udacimed_edge.targets.devices.profile import read_profile
    from udacimed_edge.workflow.convert import convert_all
    from udacimed_edge.workflow.plan import ConversionPlan, device_item, plan_items
    from udacimed_edge.workflow.report import write_html

    console, settings = Console(stderr=True), policy_settings(options)
    if (target is None) == (profile is None):
        raise click.UsageError("name either --target or --profile")
    model = chosen_model(model, built_in)
    if profile is not None:
        items: tuple[Item, ...] = (device_item(read_profile(profile), precision),)
    else:
        items = plan_items(str(target), precision)
    plan = ConversionPlan(
        items,
        out,
        settings,
        options["min_recipe"],
        options["max_recipe"],
        options["calibrate"],
        options["isa"],
    )
    dataset = open_data(data)
    with progress(console) as notify:
        results = convert_all(load_source(model, source_options(options)), dataset, plan, notify)
    screen = stdout()
    screen.print(result_table(results))
    explain(results, console)
    reports = [result.report for result in results if result.report]
    if matrix := processors_table(reports):
        screen.print(matrix)
    if reports:
        screen.print(basis_text(reports[0]), highlight=False, markup=False, soft_wrap=True)
        write_html(reports, out / PAGE)
        console.print(f"For people: {out / PAGE}", highlight=False, soft_wrap=True)
    leave(results)
    passed = next(r.artifact for r in results if r.artifact)
    command = f"udacimed-edge validate {passed.parent}" + (f" --data {data}" if data else "")
    console.print(f"Next: {command}", highlight=False, soft_wrap=True)
