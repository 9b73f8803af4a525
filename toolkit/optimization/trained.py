"""What follows training: write the weights and their card, set the threshold, open the test split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from udacimed_edge.core.data import DataSet, Split
from udacimed_edge.core.files import sha256_file, write_atomic
from udacimed_edge.optimization.augmentation import Augmentation
from udacimed_edge.optimization.training import STRESSED_COPIES, Examples, examples
from udacimed_edge.runtime.contract import probability_of_pneumonia
from udacimed_edge.source.load import load_source
from udacimed_edge.source.spec import ModelSpec, read_spec, spec_path
from udacimed_edge.validation.metrics.metrics import compute_metrics, highest_threshold
from udacimed_edge.validation.metrics.records import Metrics
from udacimed_edge.validation.report import LIMITS

__all__ = [
    "REHEARSAL",
    "THRESHOLD_RULE",
    "TRAINED_LIMITS",
    "Gray",
    "figures",
    "markdown",
    "measured",
    "probabilities",
    "set_threshold",
    "training_record",
    "write_markdown",
    "write_model",
]

COPIES_SENSITIVITY = 0.985
"""Asked of validation and its augmented copies together: more than the policy, since copies are harder."""

THRESHOLD_RULE = (
    f"highest threshold with sensitivity >= {COPIES_SENSITIVITY} on the validation split and "
    f"{STRESSED_COPIES} augmented copies of it together, fixed before the test split was opened"
)

ZOOM = (
    "The height of a radiograph relative to its width differs by class in these data (0.82 in training "
    "normals, 0.67 in pneumonia), so the centre square is zoomed differently: a model may read the zoom "
    "instead of the lung. Zoom and stretch are changed at random in training; how much of the shortcut is "
    "left was not measured."
)

TRAINED_LIMITS = (*LIMITS, ZOOM)
"""What a card says of every model that `training` made from these data."""


REHEARSAL = "REHEARSAL: learned from or measured on synthetic images; no figure here is evidence."


class Gray(nn.Module):
    """A network for one gray channel behind its normalisation: images 0..1 in, normalised to -1..1.

    A card with mean 0.5 and std 0.5 says the same.
    """

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.network = build()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, 2)."""
        logits: Tensor = self.network(images * 2 - 1)
        return logits


def write_model(network: nn.Module, card: ModelSpec, out: Path) -> ModelSpec:
    """Write float16 weights and the card beside them.

    Returns:
        The card with the digest of the weights.

    Raises:
        OutputError: A file cannot be written.
    """
    from safetensors.torch import save

    weights = {
        key: (value.half() if value.dtype.is_floating_point else value).contiguous()
        for key, value in network.state_dict().items()
    }
    write_atomic(out, save(weights))
    finished = card.model_copy(update={"weights_sha256": sha256_file(out)})
    write_atomic(spec_path(out), (finished.model_dump_json(indent=1) + "\n").encode())
    return finished


@torch.no_grad()
def probabilities(path: Path, images: Tensor) -> NDArray[np.float64]:
    """What a written file answers: float64 of shape (n,), for images 0..1 of shape (n, 1, 64, 64)."""
    module = load_source(path).module
    return np.concatenate(
        [probability_of_pneumonia(module(part * 255).numpy()) for part in torch.split(images, 256)]
    )


def measured(path: Path, split: Split, threshold: float) -> Metrics:
    """How a written file does on a split."""
    return compute_metrics(split.labels, probabilities(path, examples(split).images), threshold)


def figures(metrics: Metrics) -> dict[str, Any]:
    """The figures a card shows."""
    return {
        "sensitivity": metrics.sensitivity.model_dump(),
        "specificity": metrics.specificity.model_dump(),
        "accuracy": metrics.accuracy.value,
        "auc": metrics.auc,
    }


def set_threshold(out: Path, card: ModelSpec, validation: Split, pooled: Examples) -> ModelSpec:
    """The card with the threshold the rule gives, and the figures on the plain validation split there.

    Args:
        out: The written model.
        card: Its card.
        validation: The validation split.
        pooled: The same and its augmented copies (`training.stressed`).

    Raises:
        InputError: No threshold does what the rule asks.
    """
    labels = pooled.labels.numpy().astype(np.uint8)
    threshold = highest_threshold(labels, probabilities(out, pooled.images), COPIES_SENSITIVITY)
    training = {**card.training, "validation": figures(measured(out, validation, threshold))}
    return card.model_copy(
        update={"threshold": threshold, "threshold_origin": THRESHOLD_RULE, "training": training}
    )


def training_record(data: DataSet, learned: int, seed: int) -> dict[str, Any]:
    """What a card says of the data that a model learned from.

    Args:
        data: Its training and validation splits.
        learned: Training images that were used; the others are copies of validation images.
        seed: Of the training.
    """
    train, validation = data.read("train"), data.read("validation")
    return {
        "data": {"origin": data.origin, "name": data.name, "sha256": data.digest},
        "split sizes": {
            "train": learned,
            "train images left out, copies of validation images": len(train.labels) - learned,
            "validation": len(validation.labels),
        },
        "split digests": {"train": train.digest, "validation": validation.digest},
        "seed": seed,
        "augmentation": asdict(Augmentation()),
        "checkpoint": "lowest class-balanced loss on validation and its augmented copies",
    }


def markdown(card: ModelSpec) -> str:
    """The card for people: first what it is for and how well it does, then how it was made."""
    parts = [
        f"# Model card: {card.name}",
        f"{card.architecture}, gray radiographs of 64x64 pixels, two classes: {', '.join(card.labels)}. "
        f"Pixels 0..255 are divided by 255, then normalised with mean {card.mean[0]} and std {card.std[0]}.",
        "## Limits",
        "\n".join(f"- {limit}" for limit in card.limits),
        "## Decision threshold",
        f"{card.threshold}: {card.threshold_origin}.",
        "## Test split, opened once",
        _rows(card.test),
        "## Training",
        _rows({key: value for key, value in card.training.items() if key != "tried"}),
        "## What was tried",
        "\n".join(f"- {line}" for line in card.training.get("tried", [])) or "Nothing else.",
        f"Weights: SHA-256 `{card.weights_sha256}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _rows(figures: dict[str, Any]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {key} | {_text(value)} |" for key, value in figures.items())]
    )


def _text(value: Any) -> str:
    """A figure for a table cell; a proportion with its exact interval."""
    if isinstance(value, dict) and "clopper_pearson" in value:
        interval = value["clopper_pearson"]
        return (
            f"{value['value']:.4f} ({value['successes']} of {value['total']}; "
            f"95 % interval {interval['low']:.3f} to {interval['high']:.3f})"
        )
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(inner)}" for key, inner in value.items())
    return f"{value:.4f}" if isinstance(value, float) and value < 1 else str(value)


def write_markdown(card: Path) -> Path:
    """Write NAME.md, the card for people, beside the card NAME.json.

    Raises:
        InputError: The card cannot be read.
        OutputError: The file cannot be written.
    """
    out = card.with_suffix(".md")
    write_atomic(out, markdown(read_spec(card)).encode())
    return out
