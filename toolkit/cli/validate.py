"""The command validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from udacimed_edge.cli.command import EdgeCommand, OutputPath
from udacimed_edge.cli.ending import explain, leave
from udacimed_edge.cli.options import (
    data_option,
    isa_option,
    model_options,
    policy_options,
    policy_settings,
    source_options,
)
from udacimed_edge.cli.output import CommandOutput, machine_options

if TYPE_CHECKING:
    from udacimed_edge.validation.report import Report

__all__ = ["validate"]


@click.command(cls=EdgeCommand)
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
@click.option("--report", type=OutputPath("file"), help="Write the new report.json (one artifact).")
@click.option("--html", type=OutputPath("file"), help="Write a page for people over all of them.")
@model_options
@policy_options
@isa_option
@machine_options
def validate(
    artifacts: tuple[Path, ...],
    data: str | None,
    source: Path | None,
    artifact: Path | None,
    command_output: CommandOutput,
    **options: Any,
) -> None:
    """Judge artifacts again, from their bytes, over the whole test split.

    ARTIFACT is an artifact, the folder that `convert` wrote for it, or one with any number of these below it.

    Example: udacimed-edge validate out/ort-int8 --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.cli.display import processors_table, progress, result_table, stdout, verdict_text
    from udacimed_edge.cli.records import item_records
    from udacimed_edge.core.artifact import artifacts_below
    from udacimed_edge.core.data import open_data
    from udacimed_edge.source.load import SourceModel, find_source
    from udacimed_edge.workflow.validate import validate_all, validate_predictions

    named, predictions = (*artifacts, *([artifact] if artifact else [])), options["predictions"]
    paths = list(dict.fromkeys(below for path in named for below in artifacts_below(path)))
    if not paths or ((predictions or options["report"]) and len(paths) > 1):
        raise click.UsageError("name an artifact; with --predictions or --report exactly one")
    screen, settings = stdout(), policy_settings(options)

    def find(digest: str) -> SourceModel | None:
        return find_source(digest, source, source_options(options))

    with progress(command_output.console()) as notify:
        if predictions is None:
            results = validate_all(paths, open_data(data), settings, find, notify, options["isa"])
        else:
            results = [validate_predictions(paths[0], predictions, open_data(data), settings, find)]
    command_output.content["results"] = item_records(results)
    screen.print(result_table(results))
    reports = [result.report for result in results if result.report]
    if matrix := processors_table(reports):
        screen.print(matrix)
    for report in reports:
        screen.print(verdict_text(report), highlight=False, markup=False, soft_wrap=True)
    _write(reports, options["report"], options["html"])
    explain(results, Console(stderr=True))
    leave(results)


def _write(reports: list[Report], record: Path | None, page: Path | None) -> None:
    from udacimed_edge.validation.report import write_report
    from udacimed_edge.workflow.report import write_html

    if reports and record:
        write_report(reports[0], record)
    if reports and page:
        write_html(reports, page)
