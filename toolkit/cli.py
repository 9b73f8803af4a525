"""The command line: parse, call, print. The one place that prints or exits."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from udacimed_edge import __version__
from udacimed_edge.errors import EdgeError, GateRefusedError
from udacimed_edge.options import (
    Named,
    data_option,
    model_options,
    policy_options,
    policy_settings,
    precisions,
    source_options,
    targets,
)

if TYPE_CHECKING:
    from rich.console import Console

    from udacimed_edge.pipeline import Result

__all__ = ["cli", "main"]

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="udacimed-edge")
def cli() -> None:
    """Take a pneumonia classifier to edge devices, and prove every artifact from its own bytes.

    Exit codes: 0 everything passed, 2 command line, 3 bad input, 4 missing extra, 5 conversion failed,
    6 refused by the gate, 7 cannot write, 130 interrupted.

    Example: udacimed-edge convert --target all --data synthetic
    """


@cli.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option(
    "--target", type=Named("target", targets), required=True, help="ort, coreml, litert, openvino, or all."
)
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
def convert(
    model: Path | None, target: str, precision: Any, data: str | None, out: Path, **options: Any
) -> None:
    """Convert a model and judge each artifact from its bytes.

    MODEL is a .safetensors, .pth, .pt2 or .onnx file; without it, the built-in reference model.
    What passes is in OUT/<target>-<precision>/ with its report.json, what fails in OUT/rejected/.

    Example: udacimed-edge convert --target coreml --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.data import open_data
    from udacimed_edge.display import basis_text, progress, result_table, stdout
    from udacimed_edge.pipeline import Plan, convert_all, plan_items
    from udacimed_edge.source import load_source

    console, settings = Console(stderr=True), policy_settings(options)
    plan = Plan(plan_items(target, precision), out, settings)
    dataset = open_data(data)
    with progress(console) as notify:
        results = convert_all(load_source(model, source_options(options)), dataset, plan, notify)
    out_console = stdout()
    out_console.print(result_table(results))
    for report in [result.report for result in results if result.report][:1]:
        out_console.print(basis_text(report), highlight=False, markup=False, soft_wrap=True)
    _explain(results, console)
    _leave(results)
    passed = next(r.artifact for r in results if r.artifact)
    console.print(
        f"Next: udacimed-edge validate {passed.parent}" + (f" --data {data}" if data else ""), highlight=False
    )


@cli.command()
@click.argument("artifacts", metavar="ARTIFACT...", type=click.Path(path_type=Path), nargs=-1, required=True)
@data_option
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="The model they were made from; default: the built-in one.",
)
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write the new report to this file (one artifact only)."
)
@model_options
@policy_options
def validate(
    artifacts: tuple[Path, ...], data: str | None, source: Path | None, report: Path | None, **options: Any
) -> None:
    """Judge artifacts again, from their bytes, over the whole test split.

    ARTIFACT is a folder that `convert` wrote, or the artifact in it.

    Example: udacimed-edge validate out/ort-int8 --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.data import open_data
    from udacimed_edge.display import (
        basis_text,
        changes_text,
        clauses_text,
        figures_text,
        progress,
        result_table,
        stdout,
    )
    from udacimed_edge.pipeline import validate_all
    from udacimed_edge.source import load_source
    from udacimed_edge.validation.report import write_report

    if report is not None and len(artifacts) > 1:
        raise click.UsageError("--report takes one artifact")
    console, out = Console(stderr=True), stdout()
    with progress(console) as notify:
        results = validate_all(
            artifacts,
            open_data(data),
            policy_settings(options),
            lambda: load_source(source, source_options(options)),
            notify,
        )
    out.print(result_table(results))
    for result in results:
        if result.report is not None:
            parts = [f"{result.report.title}, executed by {result.report.executor}"]
            parts += [show(result.report) for show in (basis_text, figures_text, clauses_text, changes_text)]
            out.print("\n".join(parts), highlight=False, markup=False, soft_wrap=True)
            if report is not None:
                write_report(result.report, report)
    _explain(results, console)
    _leave(results)


@cli.command()
def doctor() -> None:
    """Say what is installed, what each format can do here, and what is missing.

    Example: udacimed-edge doctor
    """
    from rich.console import Console
    from rich.table import Table

    from udacimed_edge import machine
    from udacimed_edge.doctor import data_found, examine_formats

    console = Console()
    table = Table()
    for column in ("format", "convert", "execute", "missing"):
        table.add_column(column)
    formats = examine_formats()
    for health in formats:
        table.add_row(
            health.name,
            "yes" if health.convert else "no",
            health.execute,
            ", ".join(health.missing) or "nothing",
        )
    console.print(table)
    for health in formats:
        if health.remedy:
            console.print(f"for {health.name}: {health.remedy}", markup=False, highlight=False)
    facts = {
        "processor": f"{machine.processor()}, {machine.cores()} cores",
        "instruction sets": " ".join(machine.instruction_sets()) or "unknown",
        **{f"data: {way}": found for way, found in data_found().items()},
        **machine.tool_versions(),
    }
    for name, value in facts.items():
        console.print(f"{name:<20} {value}", markup=False, highlight=False, soft_wrap=True)


def _explain(results: list[Result], console: Console) -> None:
    """Why an item did not pass, and what to do."""
    for result in results:
        if result.error is not None:
            console.print(f"{result.item}: {result.error}", markup=False, highlight=False, soft_wrap=True)
        elif result.report is not None and result.report.verdict != "PASS":
            text = f"{result.item}: {result.report.verdict}: {result.report.reason}"
            console.print(f"{text}{_whereabouts(result)}", markup=False, soft_wrap=True)


def _whereabouts(result: Result) -> str:
    """Where an artifact that did not pass lies, and whether an earlier one that did is still there."""
    if result.artifact is None:
        return ""
    folder = result.artifact.parent
    earlier = folder.parent.parent / folder.name
    still = f"; {earlier} still holds an earlier artifact" if earlier.exists() and earlier != folder else ""
    return f"; it is in {folder}{still}"


def _leave(results: list[Result]) -> None:
    """Exit with the first error's code, or the gate's; return where everything passed."""
    errors = [result.error for result in results if result.error]
    if errors:
        sys.exit(errors[0].exit_code)
    if any(result.report and result.report.verdict != "PASS" for result in results):
        sys.exit(GateRefusedError.exit_code)


def main() -> NoReturn:
    """Run the command line; a person sees a message and an exit code, never a traceback."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EdgeError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "Interrupted. Artifacts that were already finished are kept; nothing half-done is.", err=True
        )
        sys.exit(INTERRUPTED)
    except Exception as error:  # a defect of ours, which is no reason to show a person a traceback
        if os.environ.get("UDACIMED_DEBUG"):
            raise
        click.echo(
            f"Error: udacimed-edge itself failed: {type(error).__name__}: {error}\n"
            "Please report it; with UDACIMED_DEBUG=1 set, the same command shows where.",
            err=True,
        )
        sys.exit(1)
