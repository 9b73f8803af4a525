"""Train the reference model: ResNet-18 on PneumoniaMNIST at its native 64x64, one gray channel.

    python examples/train_reference.py --data pneumoniamnist_64.npz --out model.safetensors

Two teachers learn from the labels with strong augmentation; the reference model then learns from their
mean and from the labels. The training split teaches, the validation split chooses the checkpoint and sets
the threshold, the test split is opened once, after everything is fixed. Everything follows from the seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.data import DataSet, open_data
from udacimed_edge.optimization.trained import (
    THRESHOLD_RULE,
    TRAINED_LIMITS,
    Gray,
    figures,
    probabilities,
    set_threshold,
    training_record,
    write_markdown,
    write_model,
)
from udacimed_edge.optimization.training import Recipe, Task, examples, stressed, train
from udacimed_edge.source.load import build_resnet18
from udacimed_edge.source.spec import ModelSpec, spec_path
from udacimed_edge.validation.metrics.metrics import compute_metrics


@dataclass(frozen=True)
class TrainingPlan:
    """How the shipped model was made.

    Attributes:
        teachers: How many networks teach the reference model.
        teacher: How each of them learns, from the labels alone.
        student: How the reference model learns, from the labels and from them.
    """

    teachers: int = 2
    teacher: Recipe = field(default_factory=lambda: Recipe(epochs=30))
    student: Recipe = field(default_factory=lambda: Recipe(epochs=40))


def test_figures(path: Path, data: DataSet, card: ModelSpec, soft: Sequence[int]) -> dict[str, Any]:
    """Open the test split, once; `soft` lists normals that are enlarged 28-pixel images."""
    test, threshold = data.read("test"), card.threshold
    assert threshold is not None  # set before the test split is opened
    scores = probabilities(path, examples(test).images)
    normals = test.labels == 0
    is_soft = np.isin(np.arange(len(normals)), soft)

    def share(mask: NDArray[np.bool_]) -> dict[str, int]:
        return {"called normal": int((scores[mask] < threshold).sum()), "of": int(mask.sum())}

    return {
        **figures(compute_metrics(test.labels, scores, threshold)),
        "specificity on true 64-pixel normals": share(normals & ~is_soft),
        "specificity on soft normals": share(normals & is_soft),
        "split digest": test.digest,
    }


def blank_card(data: DataSet, plan: TrainingPlan, seed: int, learned: int, tried: list[str]) -> ModelSpec:
    """The card of a model whose threshold is not set and whose test split is not opened."""
    return ModelSpec(
        schema_version=1,
        name="reference",
        architecture="resnet18",
        mean=(0.5,),
        std=(0.5,),
        labels=("normal", "pneumonia"),
        limits=list(TRAINED_LIMITS),
        training={
            **training_record(data, learned, seed),
            "recipe": asdict(plan),
            "tried": tried,
        },
    )


@click.command()
@click.option("--data", "choice", required=True, help="A MedMNIST .npz file, or 'medmnist'.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .safetensors to write.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--soft", type=click.Path(path_type=Path, exists=True), help="Test indexes of soft images, a text file."
)
@click.option(
    "--notes", type=click.Path(path_type=Path, exists=True), help="What else was tried: a JSON list of lines."
)
@click.option("--epochs", type=int, help="Fewer epochs, for a trial of the script.")
def main(
    choice: str, out: Path, seed: int, soft: Path | None, notes: Path | None, epochs: int | None
) -> None:
    """Train, choose, set the threshold, write; then open the test split and complete the card."""
    plan = TrainingPlan() if epochs is None else TrainingPlan(2, Recipe(epochs=epochs), Recipe(epochs=epochs))
    data = open_data(choice)
    validation = data.read("validation")
    learn = examples(data.read("train"), leave_out=validation.images)
    pooled = stressed(examples(validation), seed=1000)

    def build() -> Gray:
        return Gray(lambda: build_resnet18(1))

    def progress(name: str) -> Callable[[str], None]:
        return lambda line: click.echo(f"{name}: {line}")

    teachers = [
        train(build, Task(learn, pooled, plan.teacher, seed + 1 + i), progress(f"teacher {i + 1}"))
        for i in range(plan.teachers)
    ]
    task = Task(learn, pooled, plan.student, seed, teachers)
    network = train(build, task, progress("reference"))
    tried = json.loads(notes.read_text()) if notes else []
    card = write_model(network.network, blank_card(data, plan, seed, len(learn.labels), tried), out)
    card = write_model(network.network, set_threshold(out, card, validation, pooled), out)
    click.echo(f"threshold {card.threshold}: {THRESHOLD_RULE}; now the test split is opened")
    indexes = [int(word) for word in soft.read_text().split()] if soft else []
    card = write_model(
        network.network, card.model_copy(update={"test": test_figures(out, data, card, indexes)}), out
    )
    click.echo(f"{out}, {spec_path(out)}, {write_markdown(spec_path(out))}")
    click.echo(json.dumps(card.test, indent=1))


if __name__ == "__main__":
    main()
