"""What a loader returns, and what every loader needs."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from udacimed_edge.core.errors import EdgeError, InputError
from udacimed_edge.core.extras import import_torchvision
from udacimed_edge.runtime.contract import SIDE

if TYPE_CHECKING:  # it takes seconds to import: only the functions that need it do so
    import torch

__all__ = [
    "STUDENT_WIDTHS",
    "Layout",
    "Network",
    "build_resnet18",
    "build_student",
    "input_layout",
    "reading",
]

STUDENT_WIDTHS = (32, 64, 128, 256)
"""Channels of the student's four stages, half of ResNet-18's."""

_STUDENT_BLOCKS = (2, 2, 2, 1)


@dataclass(frozen=True)
class Layout:
    """An image input: (n, channels, 64, 64), or (n, 64, 64, channels) where the channels come last."""

    channels: int
    dynamic_batch: bool = True
    channels_last: bool = False


@dataclass(frozen=True)
class Network:
    """What a loader returns: float32 images, normalised, to the network's own answer.

    Attributes:
        module: In eval mode.
        layout: Of its input.
        raw_pixels: Whether it takes pixels 0..255 by its own account (bytes) and normalises them itself.
        ending: The operator that the answer comes from, for example "Sigmoid"; None where it is not known.
        logits: The same without its last sigmoid or softmax; None where it ends in neither.
        notes: What a report says about how it was read, one sentence each.
    """

    module: torch.nn.Module
    layout: Layout
    raw_pixels: bool = False
    ending: str | None = None
    logits: torch.nn.Module | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def reading(path: Path, hint: str) -> Iterator[None]:
    """Turn whatever a foreign loader raises into an error that names the file.

    The loaders raise nearly every built-in exception for a damaged file, besides their own.

    Raises:
        InputError: The body raised something that is not an error of ours.
    """
    try:
        yield
    except EdgeError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be used: {_reason(error)}", hint) from error


def _reason(error: Exception) -> str:
    """An exception's text in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    if isinstance(error, pickle.UnpicklingError):  # PyTorch's text advises to switch the protection off
        code = re.search(r"GLOBAL (\S+)", text)
        return (
            f"it asks to run code while loading ({code[1]}), which is refused"
            if code
            else "it is not a PyTorch file of plain tensors, or it is damaged"
        )
    return text[:300] or type(error).__name__


def input_layout(inputs: Sequence[Sequence[int | None]], path: Path) -> Layout:
    """How a graph takes its image.

    Args:
        inputs: The shape of each input; None where a dimension is free.
        path: The model's file.

    Raises:
        InputError: Not one input of shape (n or 1, 1 or 3, 64, 64) or (n or 1, 64, 64, 1 or 3).
    """
    expected = f"expected one of shape (n, 1 or 3, {SIDE}, {SIDE})"
    if len(inputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs, {expected}")
    shape = tuple("free" if d is None else d for d in inputs[0])
    batch, *sizes = inputs[0] if len(inputs[0]) == 4 else (0, 0, 0, 0)
    channels_last = sizes[0] not in (1, 3) and sizes[2] in (1, 3)
    channels, *sides = [sizes[2], *sizes[:2]] if channels_last else sizes
    if channels not in (1, 3) or any(side not in (SIDE, None) for side in sides):
        raise InputError(f"{path} has an input of shape ({', '.join(map(str, shape))}), {expected}")
    if batch not in (1, None):
        raise InputError(f"{path} takes only {batch} images at once", "export it with batch size 1 or free")
    return Layout(channels, batch is None, channels_last)


def build_resnet18(in_channels: int) -> torch.nn.Module:
    """Torchvision's ResNet-18 for two classes, with random weights.

    Args:
        in_channels: Input channels of the first convolution; otherwise the network is torchvision's own.

    Returns:
        float32 of shape (n, in_channels, h, w) to logits of shape (n, 2).
    """
    import torch

    network: torch.nn.Module = import_torchvision().models.resnet18(weights=None, num_classes=2)
    if in_channels != 3:
        network.conv1 = torch.nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    return network


def build_student() -> torch.nn.Module:
    """Half-width ResNet-18 for one gray channel and two classes, with random weights.

    Its first convolution is 5x5, and the last stage has one block instead of two: 31 million
    multiply-accumulates for an image of 64x64 and 1.6 million parameters, a fifth and a seventh of
    ResNet-18's. Its tensors are named like ResNet-18's.

    Returns:
        float32 of shape (n, 1, h, w) to logits of shape (n, 2).
    """
    from torch import nn

    width = STUDENT_WIDTHS[0]
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(1, width, 5, stride=2, padding=2, bias=False),
        "bn1": nn.BatchNorm2d(width),
        "relu": nn.ReLU(inplace=True),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    for stage, (out, blocks) in enumerate(zip(STUDENT_WIDTHS, _STUDENT_BLOCKS, strict=True), 1):
        layers[f"layer{stage}"] = _stage(width, out, blocks, stride=1 if stage == 1 else 2)
        width = out
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(width, 2)}
    return nn.Sequential(OrderedDict(layers))


def _stage(channels: int, out: int, blocks: int, stride: int) -> torch.nn.Module:
    """Torchvision's residual blocks, the first with a projection where channels or size change."""
    from torch import nn

    block = import_torchvision().models.resnet.BasicBlock
    shortcut = None
    if stride != 1 or channels != out:
        shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
    return nn.Sequential(
        block(channels, out, stride, shortcut), *(block(out, out) for _ in range(blocks - 1))
    )
