"""Trains a network on radiographs: from labels, from teachers, or on from where it stands."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from udacimed_edge.core.data import Split
from udacimed_edge.optimization.augmentation import Augmentation, augment

__all__ = [
    "STRESSED_COPIES",
    "Examples",
    "Recipe",
    "Task",
    "balanced_loss",
    "examples",
    "stressed",
    "train",
]

STRESSED_COPIES = 4

Network = TypeVar("Network", bound=nn.Module)

Classifier = Callable[[Tensor], Tensor]
"""Images, float32 of shape (n, 1, 64, 64), values 0..1, to logits of shape (n, 2)."""


@dataclass(frozen=True)
class Recipe:
    """What a training run is made of; the defaults are those of the shipped reference model.

    Attributes:
        epochs: How many.
        batch: Images in one step.
        learning_rate: Of AdamW at its peak: two epochs of warm-up, then a cosine down to 0.
        weight_decay: On weights with more than one dimension only.
        label_smoothing: Of the cross-entropy against labels.
        averaging: Decay of the exponential moving average of the weights, per step.
        gradient_clip: Largest gradient norm.
        label_share: Share of the labels in the loss where there are teachers; their mean has the rest.
    """

    epochs: int = 40
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


@dataclass(frozen=True)
class Task:
    """What is learned, and from what.

    Attributes:
        learn: Training examples.
        choose: Validation examples: the epoch with the lowest balanced loss on them is kept.
        recipe: The settings.
        seed: Of weights, order and augmentation.
        teachers: Their mean probability is learned too; none for labels alone.
    """

    learn: Examples
    choose: Examples
    recipe: Recipe = Recipe()
    seed: int = 0
    teachers: Sequence[Classifier] = ()


@torch.no_grad()
def balanced_loss(network: Classifier, split: Examples) -> float:
    """Cross-entropy with both classes weighted alike."""
    logits = torch.cat([_logits(network, part) for part in torch.split(split.images, 256)])
    return functional.cross_entropy(logits, split.labels, weight=split.class_weights).item()


def train(build: Callable[[], Network], task: Task, notify: Callable[[str], None]) -> Network:
    """Train one network; of its averaged weights, the epoch with the lowest balanced validation loss.

    Args:
        build: Makes the network after the seed is set; it takes images 0..1 (see `Classifier`).
        task: What is learned.
        notify: Told of each epoch.
    """
    recipe, learn = task.recipe, task.learn
    torch.manual_seed(task.seed)
    generator = torch.Generator().manual_seed(task.seed)
    network = build()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    best, best_loss = copy.deepcopy(average), math.inf
    batch = min(recipe.batch, len(learn.labels))
    steps = len(learn.labels) // batch
    optimizer, schedule = _optimizer(network, recipe, steps * recipe.epochs, steps * 2)
    for epoch in range(recipe.epochs):
        network.train()
        order = torch.randperm(len(learn.labels), generator=generator)
        for step, rows in enumerate(torch.split(order[: steps * batch], batch)):
            images = augment(learn.images[rows].clone(), Augmentation(), generator)
            loss = _loss(network, images, learn.labels[rows], task)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
            optimizer.step()
            schedule.step()
            done = epoch * steps + step
            _average(average, network, min(recipe.averaging, (1 + done) / (10 + done)))
        value = balanced_loss(average, task.choose)
        if value < best_loss:
            best, best_loss = copy.deepcopy(average), value
        notify(f"epoch {epoch + 1}/{recipe.epochs}, validation loss {value:.4f}, lowest {best_loss:.4f}")
    return best


def _logits(network: Classifier, images: Tensor) -> Tensor:
    """Float32 logits of shape (n, 2) for images 0..1, computed in bfloat16 where the processor has it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = network(images.contiguous(memory_format=torch.channels_last))
    return out.float()


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


def _loss(network: nn.Module, images: Tensor, labels: Tensor, task: Task) -> Tensor:
    logits = _logits(network, images)
    recipe = task.recipe
    against_labels = functional.cross_entropy(
        logits, labels, weight=task.learn.class_weights, label_smoothing=recipe.label_smoothing
    )
    if not task.teachers:
        return against_labels
    with torch.no_grad():
        taught = torch.stack([_logits(teacher, images).softmax(1) for teacher in task.teachers]).mean(0)
    against_teachers = functional.cross_entropy(logits, taught)
    return recipe.label_share * against_labels + (1 - recipe.label_share) * against_teachers


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)
