"""The command validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from udacimed_edge.cli.ending import explain, leave
from udacimed_edge.cli.options import (
    data_option,
    isa_option,
    model_options,
    policy_options,
    policy_settings,
    source_options,
)

if TYPE_CHECKING:
    from udacimed_edge.validation.report import Report

__all__ = ["validate"]


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
    from udacimed_edge.source.load import SourceModel, find_source
    from udacimed_edge.workflow.validate import validate_all, validate_predictions

    paths, predictions = (*artifacts, *([artifact] if artifact else [])), options["predictions"]
    if not paths or ((predictions or options["report"]) and len(paths) > 1):
        raise click.UsageError("name an artifact; with --predictions or --report exactly one")
    console, screen, settings = Console(stderr=True), stdout(), policy_settings(options)

    def find(digest: str) -> SourceModel | None:
        return find_source(digest, source, source_options(options))

    with progress(console) as notify:
        if predictions is None:
            results = validate_all(paths, open_data(data), settings, find, notify, options["isa"])
        else:
            results = [validate_predictions(paths[0], predictions, open_data(data), settings, find)]
    screen.print(result_table(results))
    reports = [result.report for result in results if result.report]
    if matrix := processors_table(reports):
        screen.print(matrix)
    for report in reports:
        screen.print(verdict_text(report), highlight=False, markup=False, soft_wrap=True)
    _write(reports, options["report"], options["html"])
    explain(results, console)
    leave(results)


def _write(reports: list[Report], record: Path | None, page: Path | None) -> None:
    from udacimed_edge.validation.report import write_report
    from udacimed_edge.workflow.report import write_html

    if reports and record:
        write_report(reports[0], record)
    if reports and page:
        write_html(reports, page)
