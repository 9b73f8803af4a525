"""Commands that read reports: report, compare."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from udacimed_edge.cli.command import EdgeCommand, OutputPath
from udacimed_edge.cli.options import data_option
from udacimed_edge.cli.output import CommandOutput, machine_options
from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.core.outputs import require_writable_file

__all__ = ["compare", "report"]

PAGE = "report.html"


@click.command(cls=EdgeCommand)
@click.argument("paths", metavar="PATH...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--html", type=OutputPath("file"), help="The page to write; default: report.html.")
@click.option("--markdown", type=OutputPath("file"), help="The same figures as Markdown.")
@click.option("--images", is_flag=True, help="Show missed and changed radiographs: they leave with the page.")
@data_option
def report(
    paths: tuple[Path, ...], html: Path | None, markdown: Path | None, images: bool, data: str | None
) -> None:
    """Turn reports into one page for clinicians, auditors and engineers.

    PATH is a report.json, or a folder with any number of them below it.

    Example: udacimed-edge report out --html report.html --markdown report.md
    """
    from udacimed_edge.core.data import open_data
    from udacimed_edge.workflow.report import collect, write_html, write_markdown

    if not (html or markdown):
        require_writable_file(Path(PAGE), "--html")
    reports = collect(paths)
    shown = open_data(data).read("test") if images else None
    if html or not markdown:
        write_html(reports, html or Path(PAGE), shown)
        click.echo(html or PAGE)
    if markdown:
        write_markdown(reports, markdown)
        click.echo(markdown)


@click.command(cls=EdgeCommand)
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@machine_options
def compare(before: Path, after: Path, command_output: CommandOutput) -> None:
    """Say what changed between two artifacts, for whom, and whether it matters under the policy.

    BEFORE and AFTER are folders that `convert` wrote, artifacts, or report.json files. The exit code is 6
    where the change matters.

    Example: udacimed-edge compare out/ort-fp32 out/ort-int8
    """
    from udacimed_edge.cli.records import change_record
    from udacimed_edge.validation.rendering.compare_text import change_markdown
    from udacimed_edge.workflow.report import compare_paths

    change = compare_paths(before, after)
    command_output.content["change"] = change_record(change)
    click.echo(change_markdown(change))
    if change.reasons:
        sys.exit(GateRefusedError.exit_code)
