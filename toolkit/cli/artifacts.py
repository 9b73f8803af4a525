"""Commands that make artifacts and judge them: convert, validate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.runtime.formats import FORMATS

if TYPE_CHECKING:
    from rich.console import Console

    from udacimed_edge.source.load import SourceModel
    from udacimed_edge.validation.report import Report
    from udacimed_edge.workflow.plan import Item, ItemResult

__all__ = ["convert", "validate"]

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
@click.option("--max-recipe", type=click.IntRange(min=1), help="The highest INT8 recipe; default: all of it.")
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
    plan = ConversionPlan(items, out, settings, options["max_recipe"], options["calibrate"], options["isa"])
    dataset = open_data(data)
    with progress(console) as notify:
        results = convert_all(load_source(model, source_options(options)), dataset, plan, notify)
    screen = stdout()
    screen.print(result_table(results))
    _explain(results, console)
    reports = [result.report for result in results if result.report]
    if matrix := processors_table(reports):
        screen.print(matrix)
    if reports:
        screen.print(basis_text(reports[0]), highlight=False, markup=False, soft_wrap=True)
        write_html(reports, out / PAGE)
        console.print(f"For people: {out / PAGE}", highlight=False, soft_wrap=True)
    _leave(results)
    passed = next(r.artifact for r in results if r.artifact)
    command = f"udacimed-edge validate {passed.parent}" + (f" --data {data}" if data else "")
    console.print(f"Next: {command}", highlight=False, soft_wrap=True)


@click.command()
@click.argument("artifacts", metavar="[ARTIFACT]...", type=click.Path(path_type=Path), nargs=-1)
@data_option
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="The model they were made from; default: the built-in one that each names.",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Judge these answers, computed on another device (examples/PREDICTIONS.md), instead of running it.",
)
@click.option("--artifact", type=click.Path(path_type=Path), help="The artifact that gave the predictions.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the new report.json (one artifact).")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page for people over all of them.")
@model_options
@policy_options
@isa_option
def validate(
    artifacts: tuple[Path, ...], data: str | None, source: Path | None, artifact: Path | None, **options: Any
) -> None:
    """Judge artifacts again, from their bytes, over the whole test split.

    ARTIFACT is a folder that `convert` wrote, or the artifact in it.

    Example: udacimed-edge validate out/ort-int8 --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.cli.display import processors_table, progress, result_table, stdout, verdict_text
    from udacimed_edge.core.data import open_data
    from udacimed_edge.source.load import built_in_of, load_source
    from udacimed_edge.workflow.convert import validate_all, validate_predictions

    paths, predictions = (*artifacts, *([artifact] if artifact else [])), options["predictions"]
    if not paths or ((predictions or options["report"]) and len(paths) > 1):
        raise click.UsageError("name an artifact; with --predictions or --report exactly one")
    console, screen, settings = Console(stderr=True), stdout(), policy_settings(options)

    def load_model(digest: str) -> SourceModel:
        return load_source(source or built_in_of(digest), source_options(options))

    with progress(console) as notify:
        if predictions is None:
            results = validate_all(paths, open_data(data), settings, load_model, notify, options["isa"])
        else:
            results = [validate_predictions(paths[0], predictions, open_data(data), settings, load_model)]
    screen.print(result_table(results))
    reports = [result.report for result in results if result.report]
    if matrix := processors_table(reports):
        screen.print(matrix)
    for report in reports:
        screen.print(verdict_text(report), highlight=False, markup=False, soft_wrap=True)
    _write(reports, options["report"], options["html"])
    _explain(results, console)
    _leave(results)


def _write(reports: list[Report], record: Path | None, page: Path | None) -> None:
    from udacimed_edge.validation.report import write_report
    from udacimed_edge.workflow.report import write_html

    if reports and record:
        write_report(reports[0], record)
    if reports and page:
        write_html(reports, page)


def _explain(results: list[ItemResult], console: Console) -> None:
    """Why an item did not pass, and what to do."""
    for result in results:
        if result.error is not None:
            console.print(f"{result.item}: {result.error}", markup=False, highlight=False, soft_wrap=True)
        elif result.report is not None and result.report.verdict != "PASS":
            text = f"{result.item}: {result.report.verdict}: {result.report.reason}"
            console.print(f"{text}{_whereabouts(result)}", markup=False, soft_wrap=True)


def _whereabouts(result: ItemResult) -> str:
    """Where an artifact that did not pass lies, and whether an earlier one that did is still there."""
    if result.artifact is None:
        return ""
    folder = result.artifact.parent
    earlier = folder.parent.parent / folder.name
    still = f"; {earlier} still holds an earlier artifact" if earlier.exists() and earlier != folder else ""
    return f"; it is in {folder}{still}"


def _leave(results: list[ItemResult]) -> None:
    """Exit with the first error's code, or the gate's; return where everything passed."""
    errors = [result.error for result in results if result.error]
    if errors:
        sys.exit(errors[0].exit_code)
    if any(result.report and result.report.verdict != "PASS" for result in results):
        sys.exit(GateRefusedError.exit_code)
