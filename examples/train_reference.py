"""Train the reference model: ResNet-18 on PneumoniaMNIST at its native 64x64, one gray channel.

    python examples/train_reference.py --data pneumoniamnist_64.npz --out model.safetensors

Two teachers learn from the labels with strong augmentation; the reference model then learns from their
mean and from the labels. The training split teaches, the validation split chooses the checkpoint and sets
the threshold, the test split is opened once, after everything is fixed. Everything follows from the seed.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from augmentation import Augmentation, augment
from model_card import write_markdown
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from udacimed_edge.card import ModelCard, card_path
from udacimed_edge.data import DataSet, Split, open_data
from udacimed_edge.files import sha256_file, write_atomic
from udacimed_edge.runtime.contract import probability_of_pneumonia
from udacimed_edge.source import build_resnet18, load_source
from udacimed_edge.validation.metrics import Metrics, compute_metrics, highest_threshold
from udacimed_edge.validation.report import LIMITS

THRESHOLD_SENSITIVITY = 0.985
STRESSED_COPIES = 4
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
class Recipe:
    """What a training run is made of; the defaults are those of the shipped model.

    Attributes:
        epochs: Of the reference model.
        teacher_epochs: Of each teacher.
        teachers: How many.
        batch: Images in one step.
        learning_rate: Of AdamW at its peak: two epochs of warm-up, then a cosine down to 0.
        weight_decay: On weights with more than one dimension only.
        label_smoothing: Of the cross-entropy against labels.
        averaging: Decay of the exponential moving average of the weights, per step.
        gradient_clip: Largest gradient norm.
        label_share: Share of the labels in the reference model's loss; the teachers' mean has the rest.
    """

    epochs: int = 40
    teacher_epochs: int = 30
    teachers: int = 2
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    averaging: float = 0.995
    gradient_clip: float = 5.0
    label_share: float = 0.3


@dataclass(frozen=True)
class Examples:
    """Images, float32 of shape (n, 1, 64, 64), values 0..1, and labels, int64 of shape (n,)."""

    images: Tensor
    labels: Tensor

    @property
    def class_weights(self) -> Tensor:
        """Weights that give both classes the same say."""
        return len(self.labels) / (2.0 * torch.bincount(self.labels, minlength=2))


def examples(split: Split, leave_out: NDArray[np.uint8] | None = None) -> Examples:
    """A split as tensors, without the images that also stand in `leave_out`, uint8 (m, 64, 64)."""
    seen = {image.tobytes() for image in leave_out} if leave_out is not None else set()
    keep = np.array([image.tobytes() not in seen for image in split.images])
    images = torch.from_numpy(split.images[keep][:, None].astype(np.float32) / 255)
    return Examples(images, torch.from_numpy(split.labels[keep].astype(np.int64)))


def stressed(split: Examples, seed: int) -> Examples:
    """The split and augmented copies of it: what a model meets that was trained somewhere else."""
    generator = torch.Generator().manual_seed(seed)
    settings = Augmentation(share=1.0, tone=1.0, spectrum=0.0, erase=0.0)
    copies = [augment(split.images.clone(), settings, generator) for _ in range(STRESSED_COPIES)]
    return Examples(torch.cat([split.images, *copies]), split.labels.repeat(STRESSED_COPIES + 1))


def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Float32 logits of shape (n, 2) for images 0..1, computed in bfloat16 where the processor has it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out: Tensor = network((images * 2 - 1).contiguous(memory_format=torch.channels_last))
    return out.float()


@torch.no_grad()
def balanced_loss(network: nn.Module, split: Examples) -> float:
    """Cross-entropy with both classes weighted alike."""
    logits = torch.cat([logits_of(network, part) for part in split.images.split(256)])
    return functional.cross_entropy(logits, split.labels, weight=split.class_weights).item()


def train(
    recipe: Recipe,
    epochs: int,
    seed: int,
    data: tuple[Examples, Examples],
    teachers: Sequence[nn.Module],
    name: str,
) -> nn.Module:
    """Train one network; of its averaged weights, the epoch with the lowest balanced validation loss.

    Args:
        recipe: The settings.
        epochs: How many.
        seed: Of weights, order and augmentation.
        data: Training examples, and validation examples that choose the epoch.
        teachers: Networks whose mean probability is learned too; none for a teacher.
        name: What progress lines call it.
    """
    learn, validate = data
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = build_resnet18(1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    best, best_loss = copy.deepcopy(average), math.inf
    steps = len(learn.labels) // recipe.batch
    optimizer, schedule = _optimizer(network, recipe, steps * epochs, steps * 2)
    for epoch in range(epochs):
        network.train()
        order = torch.randperm(len(learn.labels), generator=generator)
        for step, rows in enumerate(order[: steps * recipe.batch].split(recipe.batch)):
            images = augment(learn.images[rows].clone(), Augmentation(), generator)
            loss = _loss(network, images, learn.labels[rows], learn.class_weights, teachers, recipe)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
            optimizer.step()
            schedule.step()
            _average(
                average,
                network,
                min(recipe.averaging, (1 + epoch * steps + step) / (10 + epoch * steps + step)),
            )
        value = balanced_loss(average, validate)
        if value < best_loss:
            best, best_loss = copy.deepcopy(average), value
        click.echo(f"{name}: epoch {epoch + 1}/{epochs}, validation loss {value:.4f}, lowest {best_loss:.4f}")
    return best


def _optimizer(
    network: nn.Module, recipe: Recipe, total: int, warm_up: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )

    def rate(step: int) -> float:
        return min(1.0, step / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def _loss(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    weights: Tensor,
    teachers: Sequence[nn.Module],
    recipe: Recipe,
) -> Tensor:
    logits = logits_of(network, images)
    against_labels = functional.cross_entropy(
        logits, labels, weight=weights, label_smoothing=recipe.label_smoothing
    )
    if not teachers:
        return against_labels
    with torch.no_grad():
        taught = torch.stack([logits_of(teacher, images).softmax(1) for teacher in teachers]).mean(0)
    against_teachers = functional.cross_entropy(logits, taught)
    return recipe.label_share * against_labels + (1 - recipe.label_share) * against_teachers


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


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
        [probability_of_pneumonia(module(part * 255).numpy()) for part in images.split(256)]
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


def blank_card(data: DataSet, recipe: Recipe, seed: int, learned: int, tried: list[str]) -> ModelCard:
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
            "recipe": asdict(recipe),
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
    recipe = Recipe() if epochs is None else Recipe(epochs=epochs, teacher_epochs=epochs)
    data = open_data(choice)
    validation = data.read("validation")
    learn = examples(data.read("train"), leave_out=validation.images)
    pooled = stressed(examples(validation), seed=1000)
    teachers = [
        train(recipe, recipe.teacher_epochs, seed + 1 + i, (learn, pooled), (), f"teacher {i + 1}")
        for i in range(recipe.teachers)
    ]
    network = train(recipe, recipe.epochs, seed, (learn, pooled), teachers, "reference")
    tried = json.loads(notes.read_text()) if notes else []
    card = write_model(network, blank_card(data, recipe, seed, len(learn.labels), tried), out)
    card = write_model(network, set_threshold(out, card, validation, pooled), out)
    click.echo(f"threshold {card.threshold}: {THRESHOLD_RULE}; now the test split is opened")
    indexes = [int(word) for word in soft.read_text().split()] if soft else []
    card = write_model(network, card.model_copy(update={"test": test_figures(out, data, card, indexes)}), out)
    click.echo(f"{out}, {card_path(out)}, {write_markdown(card_path(out))}")
    click.echo(json.dumps(card.test, indent=1))


if __name__ == "__main__":
    main()
