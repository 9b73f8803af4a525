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

    from udacimed_edge.pipeline import Item, Result
    from udacimed_edge.source import SourceModel
    from udacimed_edge.validation.report import Report

__all__ = ["cli", "main"]

INTERRUPTED = 130
PAGE = "report.html"


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
    "--target",
    type=Named("target", targets),
    help="ort, coreml, litert, openvino, all, or a device (see `udacimed-edge targets`).",
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
def convert(
    model: Path | None,
    target: str | None,
    profile: Path | None,
    precision: Any,
    data: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Convert a model and judge each artifact from its bytes.

    MODEL is a .safetensors, .pth, .pt2 or .onnx file; without it, the built-in reference model.
    What passes is in OUT/<target>-<precision>/ with its report.json and model card, what fails in
    OUT/rejected/; OUT/report.html shows all of them to people.

    Example: udacimed-edge convert --target coreml --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.data import open_data
    from udacimed_edge.display import basis_text, progress, result_table, stdout
    from udacimed_edge.pipeline import Plan, convert_all, device_item, plan_items
    from udacimed_edge.reporting import write_html
    from udacimed_edge.source import load_source
    from udacimed_edge.targets.profile import read_profile

    console, settings = Console(stderr=True), policy_settings(options)
    if (target is None) == (profile is None):
        raise click.UsageError("name either --target or --profile")
    if profile is not None:
        items: tuple[Item, ...] = (device_item(read_profile(profile), precision),)
    else:
        items = plan_items(str(target), precision)
    plan = Plan(items, out, settings)
    dataset = open_data(data)
    with progress(console) as notify:
        results = convert_all(load_source(model, source_options(options)), dataset, plan, notify)
    screen = stdout()
    screen.print(result_table(results))
    _explain(results, console)
    reports = [result.report for result in results if result.report]
    if reports:
        screen.print(basis_text(reports[0]), highlight=False, markup=False, soft_wrap=True)
        write_html(reports, out / PAGE)
        console.print(f"For people: {out / PAGE}", highlight=False, soft_wrap=True)
    _leave(results)
    passed = next(r.artifact for r in results if r.artifact)
    command = f"udacimed-edge validate {passed.parent}" + (f" --data {data}" if data else "")
    console.print(f"Next: {command}", highlight=False, soft_wrap=True)


@cli.command()
@click.argument("artifacts", metavar="[ARTIFACT]...", type=click.Path(path_type=Path), nargs=-1)
@data_option
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="The model they were made from; default: the built-in one.",
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
def validate(
    artifacts: tuple[Path, ...], data: str | None, source: Path | None, artifact: Path | None, **options: Any
) -> None:
    """Judge artifacts again, from their bytes, over the whole test split.

    ARTIFACT is a folder that `convert` wrote, or the artifact in it.

    Example: udacimed-edge validate out/ort-int8 --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.data import open_data
    from udacimed_edge.display import progress, result_table, stdout, verdict_text
    from udacimed_edge.pipeline import validate_all, validate_predictions
    from udacimed_edge.source import load_source

    paths, predictions = (*artifacts, *([artifact] if artifact else [])), options["predictions"]
    if not paths or ((predictions or options["report"]) and len(paths) > 1):
        raise click.UsageError("name an artifact; with --predictions or --report exactly one")
    console, screen, settings = Console(stderr=True), stdout(), policy_settings(options)

    def load_model() -> SourceModel:
        return load_source(source, source_options(options))

    with progress(console) as notify:
        if predictions is None:
            results = validate_all(paths, open_data(data), settings, load_model, notify)
        else:
            results = [validate_predictions(paths[0], predictions, open_data(data), settings, load_model)]
    screen.print(result_table(results))
    reports = [result.report for result in results if result.report]
    for report in reports:
        screen.print(verdict_text(report), highlight=False, markup=False, soft_wrap=True)
    _write(reports, options["report"], options["html"])
    _explain(results, console)
    _leave(results)


def _write(reports: list[Report], record: Path | None, page: Path | None) -> None:
    from udacimed_edge.reporting import write_html
    from udacimed_edge.validation.report import write_report

    if reports and record:
        write_report(reports[0], record)
    if reports and page:
        write_html(reports, page)


@cli.command("report")
@click.argument("paths", metavar="PATH...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--html", type=click.Path(path_type=Path), help="The page to write; default: report.html.")
@click.option("--markdown", type=click.Path(path_type=Path), help="The same figures as Markdown.")
@click.option("--images", is_flag=True, help="Show missed and changed radiographs: they leave with the page.")
@data_option
def report_command(
    paths: tuple[Path, ...], html: Path | None, markdown: Path | None, images: bool, data: str | None
) -> None:
    """Turn reports into one page for clinicians, auditors and engineers.

    PATH is a report.json, or a folder with any number of them below it.

    Example: udacimed-edge report out --html report.html --markdown report.md
    """
    from udacimed_edge.data import open_data
    from udacimed_edge.reporting import collect, write_html, write_markdown

    reports = collect(paths)
    shown = open_data(data).read("test") if images else None
    if html or not markdown:
        write_html(reports, html or Path(PAGE), shown)
        click.echo(html or PAGE)
    if markdown:
        write_markdown(reports, markdown)
        click.echo(markdown)


@cli.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
def compare(before: Path, after: Path) -> None:
    """Say what changed between two artifacts, for whom, and whether it matters under the policy.

    BEFORE and AFTER are folders that `convert` wrote, artifacts, or report.json files. The exit code is 6
    where the change matters.

    Example: udacimed-edge compare out/ort-fp32 out/ort-int8
    """
    from udacimed_edge.reporting import compare_paths
    from udacimed_edge.validation.compare import change_markdown

    change = compare_paths(before, after)
    click.echo(change_markdown(change))
    if change.reasons:
        sys.exit(GateRefusedError.exit_code)


@cli.command("targets")
@click.argument("name", required=False)
def targets_command(name: str | None) -> None:
    """List the devices that are known, or explain one.

    Example: udacimed-edge targets raspberry-pi-4
    """
    from udacimed_edge.display import devices_table, profile_text, stdout
    from udacimed_edge.targets.profile import find_profile, load_profiles

    if name is None:
        stdout().print(devices_table(load_profiles().values()))
    else:
        stdout().print(profile_text(find_profile(name)), markup=False, highlight=False, soft_wrap=True)


@cli.command()
@click.argument("artifact", type=click.Path(path_type=Path))
def runner(artifact: Path) -> None:
    """Put screen.pyz, the program a clinic runs, beside an artifact that passed on real radiographs.

    The device needs Python, numpy, pillow and the format's runtime; neither PyTorch nor this toolkit.

    Example: udacimed-edge runner out/ort-int8
    """
    from udacimed_edge.pipeline import add_runner

    program = add_runner(artifact)
    click.echo(f"{program}\nCopy its folder to the device; there: python screen.pyz IMAGE... --csv FILE")


@cli.command()
@click.argument("key", type=click.Path(path_type=Path))
def keygen(key: Path) -> None:
    """Make a minisign key pair to sign with: KEY (secret, keep it) and KEY.pub.

    Example: udacimed-edge keygen hospital.key
    """
    from udacimed_edge.targets.signing import generate_key

    public = key.with_name(f"{key.name}.pub")
    click.echo(f"{generate_key(key, public)}\n{key} is secret; give away {public} or the line above")


@cli.command()
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--key", type=click.Path(path_type=Path), required=True, help="The secret key `keygen` made.")
@click.option("--comment", default="", help="A line that is signed too, for example who signs.")
def sign(files: tuple[Path, ...], key: Path, comment: str) -> None:
    """Sign artifacts and reports, so that `minisign -V` shows that nobody changed them since.

    Example: udacimed-edge sign out/ort-int8/model.ort out/ort-int8/report.json --key hospital.key
    """
    from udacimed_edge.targets.signing import sign as sign_file

    for file in files:
        click.echo(sign_file(file, key, comment or f"file:{file.name}"))


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
