"""Options that several commands share, and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from udacimed_edge.cli.command import Named
from udacimed_edge.validation.policy import bounds

if TYPE_CHECKING:
    from udacimed_edge.source.load import SourceOptions
    from udacimed_edge.validation.policy.policy import PolicySettings

__all__ = [
    "Numbers",
    "built_in_option",
    "chosen_model",
    "data_option",
    "devices",
    "isa_option",
    "model_options",
    "policy_options",
    "policy_settings",
    "precisions",
    "source_options",
    "targets",
]


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers separated by commas."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Read them.

        Raises:
            click.BadParameter: One of them is not a number.
        """
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is not a list of numbers such as 0.5 or 0.485,0.456,0.406", param, ctx)


def targets() -> list[str]:
    """What `--target` takes: formats, "all", and devices."""
    from udacimed_edge.runtime.formats import FORMATS

    return [*FORMATS, "all", *devices()]


def devices() -> list[str]:
    """The devices that are known."""
    from udacimed_edge.targets.devices.profile import load_profiles

    return list(load_profiles())


def precisions() -> list[str]:
    """The precisions that `--precision` takes."""
    from udacimed_edge.core.artifact import PRECISIONS

    return list(PRECISIONS)


def built_in_models() -> list[str]:
    """The built-in models that `--model` takes."""
    from udacimed_edge.source.load import BUILT_IN

    return list(BUILT_IN)


def outputs() -> list[str]:
    """The kinds of output that `--output` takes."""
    from udacimed_edge.source.outputs import OUTPUTS

    return list(OUTPUTS)


def architectures() -> list[str]:
    """The networks that `--architecture` takes."""
    from udacimed_edge.source.architectures import ALIASES, ARCHITECTURES

    return [*ARCHITECTURES, *ALIASES]


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """What a model's file cannot say."""
    for decorate in (
        click.option(
            "--check",
            metavar="FILE.npz",
            type=click.Path(path_type=Path),
            help="A few images (images: uint8, n x 64 x 64) and the model's own answers (outputs), which the "
            "model as it was read must give too.",
        ),
        click.option(
            "--output",
            type=Named("output", outputs),
            help="What the model answers: logits, softmax or log-softmax (two numbers); logit or sigmoid "
            "(one, of the second label); sigmoids (two, of which pneumonia's counts).",
        ),
        click.option(
            "--architecture",
            type=Named("architecture", architectures),
            help="The network that weights alone belong to, for example torchvision-resnet18.",
        ),
        click.option("--threshold", type=float, help="Decision threshold on the probability of pneumonia."),
        click.option(
            "--labels", metavar="A,B", help="The model's outputs in order: normal,pneumonia or the reverse."
        ),
        click.option(
            "--std", type=Numbers(), help="Standard deviation it expects, of pixels divided by 255."
        ),
        click.option(
            "--mean", type=Numbers(), help="Mean it expects, of pixels divided by 255, for example 0.5."
        ),
    ):
        command = decorate(command)
    return command


def policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """The bounds of the policy."""
    bound = click.FloatRange(0, 1)
    options = (
        ("--min-sensitivity", bounds.MIN_SENSITIVITY, "Share of pneumonia found."),
        ("--min-specificity", bounds.MIN_SPECIFICITY, "Share of normal images called normal."),
        ("--max-specificity-drop", bounds.MAX_SPECIFICITY_DROP, "Specificity lost against the source."),
        ("--max-auc-drop", bounds.MAX_AUC_DROP, "AUC lost against the source."),
        ("--min-agreement", bounds.MIN_AGREEMENT, "Decisions equal to the source's."),
    )
    for name, default, text in reversed(options):
        command = click.option(name, type=bound, default=default, show_default=True, help=text)(command)
    return command


built_in_option = click.option(
    "--model",
    "built_in",
    type=Named("model", built_in_models),
    help="A built-in model: reference (the default); student, small; student-2, not fooled by a mirror.",
)

isa_option = click.option(
    "--isa",
    type=click.Choice(["auto", "none", "here", "all"]),
    default="auto",
    show_default=True,
    help="Judge as other processors compute: none; here: those that need no emulator; all: emulated ones "
    "too, minutes each; auto: here for int8.",
)

data_option = click.option(
    "--data",
    metavar="DATA",
    help="A MedMNIST .npz file, 'medmnist' (the official download) or 'synthetic' (a rehearsal).",
)


def policy_settings(options: dict[str, Any]) -> PolicySettings:
    """The bounds that were given, or their defaults."""
    from udacimed_edge.validation.policy.policy import PolicySettings

    return PolicySettings(**{name: options[name] for name in PolicySettings.model_fields})


def chosen_model(path: Path | None, built_in: str | None) -> Path | None:
    """The model's file; None for the reference model.

    Raises:
        click.UsageError: Both a file and a built-in model are named.
    """
    from udacimed_edge.source.load import BUILT_IN

    if built_in is None:
        return path
    if path is not None:
        raise click.UsageError(f"name either a file ({path}) or --model {built_in}")
    return BUILT_IN[built_in]


def source_options(options: dict[str, Any]) -> SourceOptions:
    """What was said about the model."""
    from udacimed_edge.source.load import SourceOptions

    labels = tuple(options["labels"].split(",")) if options["labels"] else None
    names = ("mean", "std", "threshold", "architecture", "output", "check")
    return SourceOptions(labels=labels, **{name: options[name] for name in names})
