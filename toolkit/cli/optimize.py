"""The command optimize."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from udacimed_edge.cli.command import EdgeCommand, OutputPath, command_text
from udacimed_edge.cli.options import data_option, model_options, source_options
from udacimed_edge.core.errors import GateRefusedError

if TYPE_CHECKING:
    from rich.console import Console

    from udacimed_edge.core.data import DataSet
    from udacimed_edge.source.load import SourceOptions

__all__ = ["optimize"]


@click.command(cls=EdgeCommand)
@click.argument("model", metavar="[BASELINE]", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=OutputPath("file"), required=True, help="The .safetensors to write.")
@data_option
@click.option(
    "--fine-tune", type=click.IntRange(1), metavar="EPOCHS", help="Train after each step that is not exact."
)
@click.option("--student", is_flag=True, help="Train the small student network instead; see above.")
@click.option("--epochs", type=click.IntRange(1), help="Of the student; 90 without it.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the training.")
@model_options
def optimize(
    model: Path | None,
    out: Path,
    data: str | None,
    fine_tune: int | None,
    student: bool,
    epochs: int | None,
    seed: int,
    **options: Any,
) -> None:
    """Turn a baseline into an optimized model, or train a small student.

    BASELINE holds the weights of torchvision's ResNet-18 with three input channels (.pth, .safetensors),
    which is run as such models are: the image enlarged to 224x224 and repeated in each channel. Each
    technique is applied and measured on the validation split; beside OUT lie its card (.json), the table
    (.optimize.json) and a figure (.optimize.svg).

    With --student a network with a fifth of the work learns from BASELINE, which may then be any model
    (default: the built-in reference), and from the labels. The test split is opened once, after everything
    is fixed; what the policy refuses is in rejected/ beside OUT, with exit code 6.

    Example: udacimed-edge optimize baseline.pth --out model.safetensors --fine-tune 20 --mean 0.5
    --std 0.5 --labels normal,pneumonia --data pneumoniamnist_64.npz
    """
    from rich.console import Console

    from udacimed_edge.core.data import open_data

    _require_sense(model, out, student, fine_tune, epochs)
    stated, console = source_options(options), Console(stderr=True)
    if student:
        _student(model, stated, open_data(data), (out, epochs or 90, seed), console)
    elif model is not None:
        _optimize(model, stated, open_data(data), (out, fine_tune or 0, seed), console)


def _require_sense(
    model: Path | None, out: Path, student: bool, fine_tune: int | None, epochs: int | None
) -> None:
    """Refuse what does not go together.

    Raises:
        click.UsageError: It does not.
    """
    if out.suffix != ".safetensors":
        raise click.UsageError(f"--out {out}: weights are written as .safetensors")
    if model is not None and out.resolve() == model.resolve():
        raise click.UsageError(f"--out {out} is the model it starts from; name another file")
    if student and fine_tune:
        raise click.UsageError("--fine-tune is for a baseline; a student takes --epochs")
    if not student and epochs:
        raise click.UsageError("--epochs is for --student; a baseline takes --fine-tune")
    if not student and model is None:
        raise click.UsageError("name a BASELINE, or --student")


def _optimize(
    path: Path, stated: SourceOptions, data: DataSet, asked: tuple[Path, int, int], console: Console
) -> None:
    from udacimed_edge.cli.display import stdout
    from udacimed_edge.cli.optimize_tables import figure, table
    from udacimed_edge.core.files import write_atomic
    from udacimed_edge.optimization.steps import OptimizationPlan, optimize, read_baseline

    def notify(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    out, fine_tune, _ = asked
    record = optimize(read_baseline(path, stated), data, OptimizationPlan(*asked), notify)
    write_atomic(out.with_suffix(".optimize.json"), (record.model_dump_json(indent=1) + "\n").encode())
    write_atomic(out.with_suffix(".optimize.svg"), figure(record))
    stdout().print(table(record))
    if not fine_tune:
        notify("Not fine-tuned: what the steps marked so cost was not won back; see --fine-tune EPOCHS")
    notify(f"{out}, {out.with_suffix('.optimize.json')}, {out.with_suffix('.optimize.svg')}")
    notify(f"Next: {command_text(['convert', out, '--target', 'all'])}")


def _student(
    model: Path | None, stated: SourceOptions, data: DataSet, asked: tuple[Path, int, int], console: Console
) -> None:
    from udacimed_edge.optimization.distill import DistillationPlan, distill
    from udacimed_edge.optimization.trained import REHEARSAL
    from udacimed_edge.source.load import load_source

    def notify(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    done = distill(load_source(model, stated), data, DistillationPlan(*asked), notify)
    if data.origin == "synthetic":
        click.echo(REHEARSAL)
    for name in ("sensitivity", "specificity", "auc"):
        figure = done.card.test[name]
        value = figure["value"] if isinstance(figure, dict) else figure
        click.echo(f"{name} {value:.4f} ({done.card.test['against the teacher'][name]})")
    for clause in done.clauses:
        click.echo(f"{'held  ' if clause.passed else 'BROKEN'} {clause}")
    click.echo(f"{'kept' if done.passed else 'refused'}: {done.path}")
    if not done.passed:
        sys.exit(GateRefusedError.exit_code)
