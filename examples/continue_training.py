"""Train the second reference model and the second student: on from the weights of version 0.1.0.

    python examples/continue_training.py student --data pneumoniamnist_64.npz --seed 0 --runs runs

The weights of 0.1.0 read a mirrored or enlarged radiograph as another finding. Training goes on from them
with half of the images mirrored and normals enlarged further than pneumonias, and always towards the answer
that both models of 0.1.0 give to the image as it came (their mean over it and four augmented copies).
The training split teaches and the validation split chooses the epoch; the test split stays closed here.
A stopped run goes on where it was: start the same command again. Everything follows from the seed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
import torch
from torch import Tensor

from udacimed_edge.core.data import open_data
from udacimed_edge.core.files import write_atomic
from udacimed_edge.optimization.augmentation import Augmentation
from udacimed_edge.optimization.trained import Gray
from udacimed_edge.optimization.training import (
    STRESSED_COPIES,
    Classifier,
    Examples,
    Recipe,
    Task,
    examples,
    mean_answer,
    stressed,
    train,
)
from udacimed_edge.source.load import BUILT_IN, build_resnet18, load_source
from udacimed_edge.source.network import build_student

AUGMENTATION = Augmentation(mirror=0.5, normal_largest=1.5)

RECIPES = {
    "student": Recipe(epochs=40, learning_rate=2e-3, warm_up=1, augmentation=AUGMENTATION),
    "reference": Recipe(epochs=12, learning_rate=1e-3, warm_up=1, augmentation=AUGMENTATION),
}
BUILD = {"student": build_student, "reference": lambda: build_resnet18(1)}


def teacher(name: str) -> Classifier:
    """A built-in model as training calls it."""
    module = load_source(BUILT_IN[name]).module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def logits(images: Tensor) -> Tensor:
        answer: Tensor = module(images * 255)
        return answer

    return logits


def taught(learn: Examples) -> Tensor:
    """What both models of 0.1.0 answer, on the mean over each image and its augmented copies: (n, 2)."""
    views = stressed(learn, seed=2000)
    answers = mean_answer([teacher("reference"), teacher("student")], views.images)
    return answers.view(STRESSED_COPIES + 1, len(learn.labels), 2).mean(0)


def start(family: str) -> Gray:
    """The network with the weights of 0.1.0."""
    from safetensors.torch import load_file

    network = Gray(BUILD[family])
    network.network.load_state_dict(load_file(BUILT_IN[family]))
    return network


@click.command()
@click.argument("family", type=click.Choice(list(RECIPES)))
@click.option("--data", "choice", required=True, help="A MedMNIST .npz file, or 'medmnist'.")
@click.option("--seed", default=0, show_default=True)
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="Folder for runs and weights.")
@click.option("--epochs", type=int, help="Fewer epochs, for a trial of the script.")
@click.option("--equal-zoom", is_flag=True, help="Enlarge normals no further than pneumonias: a trial.")
def main(family: str, choice: str, seed: int, runs: Path, epochs: int | None, equal_zoom: bool) -> None:
    """Train one seed and write FAMILY-seed-SEED.pt, and the figures of each epoch beside it."""
    recipe = RECIPES[family]
    if equal_zoom:
        recipe = Recipe(**{**recipe.__dict__, "augmentation": Augmentation(mirror=0.5)})
    if epochs is not None:
        recipe = Recipe(**{**recipe.__dict__, "epochs": epochs})
    data = open_data(choice)
    validation = examples(data.read("validation"))
    learn = examples(data.read("train"), leave_out=data.read("validation").images)
    name = f"{family}-seed-{seed}{'-equal-zoom' if equal_zoom else ''}"
    answers = runs / "taught.pt"
    if not answers.exists():
        runs.mkdir(parents=True, exist_ok=True)
        torch.save(taught(learn), answers)
    task = Task(learn, stressed(validation, seed=1000, mirror=0.5), recipe, seed, taught=torch.load(answers))
    lines: list[str] = []

    def notify(line: str) -> None:
        lines.append(line)
        click.echo(f"{name}: {line}")

    network = train(lambda: start(family), task, notify, runs / f"{name}.run").network
    torch.save(network.state_dict(), runs / f"{name}.pt")
    write_atomic(
        runs / f"{name}.json",
        json.dumps({"recipe": asdict(recipe), "seed": seed, "epochs": lines}, indent=1).encode(),
    )


if __name__ == "__main__":
    main()
