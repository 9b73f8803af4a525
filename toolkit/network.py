"""What a loader returns, and what every loader needs."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from udacimed_edge.errors import EdgeError, InputError
from udacimed_edge.runtime.contract import SIDE

if TYPE_CHECKING:  # it takes seconds to import: only the functions that need it do so
    import torch

__all__ = ["Network", "build_resnet18", "channels_and_batch", "import_torchvision", "reading"]


@dataclass(frozen=True)
class Network:
    """What a loader returns: float32 of shape (n, channels, 64, 64), normalised, to logits (n, 2)."""

    module: torch.nn.Module
    channels: int
    dynamic_batch: bool = True


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


def channels_and_batch(inputs: Sequence[Sequence[int | None]], path: Path) -> tuple[int, bool]:
    """Input channels, and whether the batch size is free.

    Args:
        inputs: The shape of each input; None where a dimension is free.
        path: The model's file.

    Raises:
        InputError: Not one input of shape (n or 1, 1 or 3, 64, 64).
    """
    expected = f"expected one of shape (n, 1 or 3, {SIDE}, {SIDE})"
    if len(inputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs, {expected}")
    shape = tuple("free" if d is None else d for d in inputs[0])
    batch, channels, *sides = inputs[0] if len(inputs[0]) == 4 else (0, 0, 0, 0)
    if channels not in (1, 3) or any(side not in (SIDE, None) for side in sides):
        raise InputError(f"{path} has an input of shape ({', '.join(map(str, shape))}), {expected}")
    if batch not in (1, None):
        raise InputError(f"{path} takes only {batch} images at once", "export it with batch size 1 or free")
    return channels, batch is None


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled operators do not fit the installed torch.

    PyPI's torchvision wants CUDA libraries; beside a CPU build of torch its import ends with "operator
    torchvision::nms does not exist". Declaring the two operators it names cures that; no classifier
    calls them.
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare_operators()
        return import_module("torchvision")


@cache  # the declarations last as long as the object that made them
def _declare_operators() -> object:
    library = import_module("torch.library").Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


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
