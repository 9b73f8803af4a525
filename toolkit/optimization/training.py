"""Trains a network on radiographs: from labels, from teachers, or on from where it stands."""

from __future__ import annotations

import copy
import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import write_atomic
from udacimed_edge.optimization.augmentation import Augmentation, augment

__all__ = [
    "STRESSED_COPIES",
    "Examples",
    "Recipe",
    "Task",
    "balanced_loss",
    "examples",
    "mean_answer",
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
        learning_rate: Of AdamW at its peak: warm-up, then a cosine down to 0.
        warm_up: Epochs of it.
        weight_decay: On weights with more than one dimension only.
        label_smoothing: Of the cross-entropy against labels.
        averaging: Decay of the exponential moving average of the weights, per step.
        gradient_clip: Largest gradient norm.
        label_share: Share of the labels in the loss where there are teachers; their mean has the rest.
        augmentation: What training does to the images.
    """

    epochs: int = 40
    batch: int = 64
    learning_rate: float = 1e-3
    warm_up: int = 2
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    averaging: float = 0.995
    gradient_clip: float = 5.0
    label_share: float = 0.3
    augmentation: Augmentation = field(default_factory=Augmentation)


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


def stressed(split: Examples, seed: int, mirror: float = 0.0) -> Examples:
    """The split and augmented copies of it: what a model meets that was trained somewhere else.

    Args:
        split: The images, kept as they are in front of the copies.
        seed: Of the augmentation.
        mirror: Share of the copies turned left to right.
    """
    generator = torch.Generator().manual_seed(seed)
    settings = Augmentation(share=1.0, tone=1.0, spectrum=0.0, erase=0.0, mirror=mirror)
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
        teachers: Their mean probability is learned too, for each image as augmented; none for labels alone.
        taught: Or instead of teachers their probabilities for the images as they are, float32 of shape
            (n, 2): the network then learns to answer alike however an image was turned or zoomed.
    """

    learn: Examples
    choose: Examples
    recipe: Recipe = Recipe()
    seed: int = 0
    teachers: Sequence[Classifier] = ()
    taught: Tensor | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over everything but the teachers: a run is continued for the same task alone."""
        digest = hashlib.sha256(f"{self.recipe} {self.seed} {len(self.teachers)}".encode())
        for part in (self.learn, self.choose):
            digest.update(part.images.numpy().tobytes() + part.labels.numpy().tobytes())
        if self.taught is not None:
            digest.update(self.taught.numpy().tobytes())
        return digest.hexdigest()


@torch.no_grad()
def balanced_loss(network: Classifier, split: Examples) -> float:
    """Cross-entropy with both classes weighted alike."""
    logits = torch.cat([_logits(network, part) for part in torch.split(split.images, 256)])
    return functional.cross_entropy(logits, split.labels, weight=split.class_weights).item()


@torch.no_grad()
def mean_answer(teachers: Sequence[Classifier], images: Tensor) -> Tensor:
    """Mean probabilities of the teachers, float32 of shape (n, 2)."""
    parts = torch.split(images, 256)
    return torch.cat(
        [torch.stack([_logits(teacher, part).softmax(1) for teacher in teachers]).mean(0) for part in parts]
    )


def train(
    build: Callable[[], Network], task: Task, notify: Callable[[str], None], keep: Path | None = None
) -> Network:
    """Train one network; of its averaged weights, the epoch with the lowest balanced validation loss.

    Args:
        build: Makes the network after the seed is set; it takes images 0..1 (see `Classifier`).
        task: What is learned.
        notify: Told of each epoch.
        keep: A file that holds the run after each epoch. Where it is there already, the run goes on from
            it, with the same result as if it had never stopped (on as many threads of the same processor).

    Raises:
        InputError: `keep` is not a run of this very task.
        OutputError: `keep` cannot be written.
    """
    torch.manual_seed(task.seed)
    run = _Run(build(), task)
    if keep is not None and keep.exists():
        run.restore(keep)
        notify(f"going on after epoch {run.epochs}, {keep}")
    while run.epochs < task.recipe.epochs:
        value = run.epoch()
        if keep is not None:
            run.save(keep)
        told = f"validation loss {value:.4f}, lowest {run.best_loss:.4f}"
        notify(f"epoch {run.epochs}/{task.recipe.epochs}, {told}")
    return run.best


class _Run(Generic[Network]):
    """A training run as it stands after some epochs.

    Attributes:
        epochs: How many are done.
        best: The averaged weights of the epoch with the lowest loss on `Task.choose` so far.
        best_loss: That loss.
    """

    def __init__(self, network: Network, task: Task) -> None:
        recipe = task.recipe
        self.task, self.network, self.epochs = task, network, 0
        self.generator = torch.Generator().manual_seed(task.seed)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(network).eval()
        self.best, self.best_loss = copy.deepcopy(self.average), math.inf
        self.batch = min(recipe.batch, len(task.learn.labels))
        self.steps = len(task.learn.labels) // self.batch
        self.optimizer, self.schedule = _optimizer(
            network, recipe, self.steps * recipe.epochs, self.steps * recipe.warm_up
        )

    def epoch(self) -> float:
        """Learn every image once; the loss on `Task.choose` afterwards."""
        self.network.train()
        order = torch.randperm(len(self.task.learn.labels), generator=self.generator)
        for step, rows in enumerate(torch.split(order[: self.steps * self.batch], self.batch)):
            self._step(rows, self.epochs * self.steps + step)
        value = balanced_loss(self.average, self.task.choose)
        if value < self.best_loss:
            self.best, self.best_loss = copy.deepcopy(self.average), value
        self.epochs += 1
        return value

    def _step(self, rows: Tensor, done: int) -> None:
        learn, recipe = self.task.learn, self.task.recipe
        labels = learn.labels[rows]
        images = augment(learn.images[rows].clone(), recipe.augmentation, self.generator, labels)
        loss = _loss(self.network, images, rows, self.task)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), recipe.gradient_clip)
        self.optimizer.step()
        self.schedule.step()
        _average(self.average, self.network, min(recipe.averaging, (1 + done) / (10 + done)))

    def save(self, path: Path) -> None:
        """Write all that the next epoch depends on; whole or not at all.

        Raises:
            OutputError: The file cannot be written.
        """
        state = {
            "task": self.task.digest,
            "epochs": self.epochs,
            "best_loss": self.best_loss,
            "random": self.generator.get_state(),
            "global random": torch.get_rng_state(),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(path, buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Stand where the run stood that wrote the file.

        Raises:
            InputError: The file is damaged, or another task's.
        """
        try:
            state = torch.load(path, weights_only=True)
            task = state["task"]
        except Exception as error:  # torch and pickle raise nearly every built-in one for a damaged file
            raise InputError(
                f"{path} is not a training run that can go on", "delete it to start anew"
            ) from error
        if task != self.task.digest:
            raise InputError(
                f"{path} is a run of another task: other images, recipe or seed",
                "name another file, or delete it to start anew",
            )
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.epochs, self.best_loss = state["epochs"], state["best_loss"]
        self.generator.set_state(state["random"])
        torch.set_rng_state(state["global random"])

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "best": self.best,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }


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


def _loss(network: nn.Module, images: Tensor, rows: Tensor, task: Task) -> Tensor:
    """Loss of augmented images, those of `task.learn` at `rows`."""
    logits = _logits(network, images)
    recipe = task.recipe
    against_labels = functional.cross_entropy(
        logits,
        task.learn.labels[rows],
        weight=task.learn.class_weights,
        label_smoothing=recipe.label_smoothing,
    )
    if task.taught is not None:
        taught = task.taught[rows]
    elif task.teachers:
        taught = mean_answer(task.teachers, images)
    else:
        return against_labels
    against_teachers = functional.cross_entropy(logits, taught)
    return recipe.label_share * against_labels + (1 - recipe.label_share) * against_teachers


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)
