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
import torch
from model_card import write_markdown
from numpy.typing import NDArray
from torch import Tensor, nn

from udacimed_edge.augmentation import Augmentation
from udacimed_edge.card import ModelCard, card_path
from udacimed_edge.data import DataSet, Split, open_data
from udacimed_edge.files import sha256_file, write_atomic
from udacimed_edge.runtime.contract import probability_of_pneumonia
from udacimed_edge.source import build_resnet18, load_source
from udacimed_edge.training import STRESSED_COPIES, Examples, Recipe, Task, examples, stressed, train
from udacimed_edge.validation.metrics import Metrics, compute_metrics, highest_threshold
from udacimed_edge.validation.report import LIMITS

THRESHOLD_SENSITIVITY = 0.985
THRESHOLD_RULE = (
    f"highest threshold with sensitivity >= {THRESHOLD_SENSITIVITY} on the validation split and "
    f"{STRESSED_COPIES} augmented copies of it together, fixed before the test split was opened"
)

ZOOM = (
    "The height of a radiograph relative to its width differs by class in these data (0.82 in training "
    "normals, 0.67 in pneumonia), so the centre square is zoomed differently: a model may read the zoom "
    "instead of the lung. Zoom and stretch are changed at random in training; how much of the shortcut is "
    "left was not measured."
)


@dataclass(frozen=True)
class Plan:
    """How the shipped model was made.

    Attributes:
        teachers: How many networks teach the reference model.
        teacher: How each of them learns, from the labels alone.
        student: How the reference model learns, from the labels and from them.
    """

    teachers: int = 2
    teacher: Recipe = field(default_factory=lambda: Recipe(epochs=30))
    student: Recipe = field(default_factory=lambda: Recipe(epochs=40))


class Gray(nn.Module):
    """ResNet-18 for one gray channel, images 0..1 in, normalised to -1..1."""

    def __init__(self) -> None:
        super().__init__()
        self.network = build_resnet18(1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, 2)."""
        logits: Tensor = self.network(images * 2 - 1)
        return logits


def write_model(network: nn.Module, card: ModelCard, out: Path) -> ModelCard:
    """Write float16 weights and the card beside them."""
    from safetensors.torch import save

    weights = {
        key: (value.half() if value.dtype.is_floating_point else value).contiguous()
        for key, value in network.state_dict().items()
    }
    write_atomic(out, save(weights))
    finished = card.model_copy(update={"weights_sha256": sha256_file(out)})
    write_atomic(card_path(out), (finished.model_dump_json(indent=1) + "\n").encode())
    return finished


@torch.no_grad()
def probabilities(path: Path, images: Tensor) -> NDArray[np.float64]:
    """What the written file answers: the probability of pneumonia for images 0..1."""
    module = load_source(path).module
    return np.concatenate(
        [probability_of_pneumonia(module(part * 255).numpy()) for part in torch.split(images, 256)]
    )


def figures(metrics: Metrics) -> dict[str, Any]:
    """The figures a card shows."""
    return {
        "sensitivity": metrics.sensitivity.model_dump(),
        "specificity": metrics.specificity.model_dump(),
        "accuracy": metrics.accuracy.value,
        "auc": metrics.auc,
    }


def test_figures(path: Path, data: DataSet, card: ModelCard, soft: Sequence[int]) -> dict[str, Any]:
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


def blank_card(data: DataSet, plan: Plan, seed: int, learned: int, tried: list[str]) -> ModelCard:
    """The card of a model whose threshold is not set and whose test split is not opened."""
    train_split, validation_split = data.read("train"), data.read("validation")
    return ModelCard(
        schema_version=1,
        name="reference",
        architecture="resnet18",
        mean=(0.5,),
        std=(0.5,),
        labels=("normal", "pneumonia"),
        limits=[*LIMITS, ZOOM],
        training={
            "data": {"origin": data.origin, "name": data.name, "sha256": data.digest},
            "split sizes": {
                "train": learned,
                "train images left out, copies of validation images": len(train_split.labels) - learned,
                "validation": len(validation_split.labels),
            },
            "split digests": {"train": train_split.digest, "validation": validation_split.digest},
            "seed": seed,
            "recipe": asdict(plan),
            "augmentation": asdict(Augmentation()),
            "checkpoint": "lowest class-balanced loss on validation and its augmented copies",
            "tried": tried,
        },
    )


def set_threshold(out: Path, card: ModelCard, validation: Split, pooled: Examples) -> ModelCard:
    """The card with the threshold the rule gives, and the figures on the plain validation split there."""
    labels = pooled.labels.numpy().astype(np.uint8)
    threshold = highest_threshold(labels, probabilities(out, pooled.images), THRESHOLD_SENSITIVITY)
    plain = compute_metrics(validation.labels, probabilities(out, examples(validation).images), threshold)
    training = {**card.training, "validation": figures(plain)}
    return card.model_copy(
        update={"threshold": threshold, "threshold_origin": THRESHOLD_RULE, "training": training}
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
    plan = Plan() if epochs is None else Plan(2, Recipe(epochs=epochs), Recipe(epochs=epochs))
    data = open_data(choice)
    validation = data.read("validation")
    learn = examples(data.read("train"), leave_out=validation.images)
    pooled = stressed(examples(validation), seed=1000)

    def progress(name: str) -> Callable[[str], None]:
        return lambda line: click.echo(f"{name}: {line}")

    teachers = [
        train(Gray, Task(learn, pooled, plan.teacher, seed + 1 + i), progress(f"teacher {i + 1}"))
        for i in range(plan.teachers)
    ]
    task = Task(learn, pooled, plan.student, seed, teachers)
    network = train(Gray, task, progress("reference"))
    tried = json.loads(notes.read_text()) if notes else []
    card = write_model(network.network, blank_card(data, plan, seed, len(learn.labels), tried), out)
    card = write_model(network.network, set_threshold(out, card, validation, pooled), out)
    click.echo(f"threshold {card.threshold}: {THRESHOLD_RULE}; now the test split is opened")
    indexes = [int(word) for word in soft.read_text().split()] if soft else []
    card = write_model(
        network.network, card.model_copy(update={"test": test_figures(out, data, card, indexes)}), out
    )
    click.echo(f"{out}, {card_path(out)}, {write_markdown(card_path(out))}")
    click.echo(json.dumps(card.test, indent=1))


if __name__ == "__main__":
    main()
