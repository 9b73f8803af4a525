"""The techniques that take a baseline to the optimized model, one function each.

The baseline is a torchvision ResNet-18 that enlarges 64x64 to 224x224 before its first layer, sees the
gray image in three channels and keeps a copy of what each ReLU gets.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.source.load import with_preprocessing
from udacimed_edge.source.network import Layout, Network
from udacimed_edge.source.spec import ModelSpec

__all__ = ["BASELINE_SIDE", "STEPS", "Effect", "State", "Step", "as_it_came"]

BASELINE_SIDE = 224
"""What the baseline enlarges its input to: the size torchvision's ResNet-18 was made for."""

Effect = Literal["baseline", "exact", "to fine-tune", "rounds", "fine-tuned"]


@dataclass(frozen=True)
class State:
    """The model between two steps; a step makes a new one.

    Attributes:
        network: Torchvision's ResNet-18, or what folding made of it.
        card: Normalisation, one number per input channel, labels and threshold.
        side: What the input is enlarged to, in pixels; 64 for not at all.
        bytes_each: Of a weight as it is stored.
    """

    network: nn.Module
    card: ModelSpec
    side: int = SIDE
    bytes_each: int = 4

    def module(self) -> nn.Module:
        """The whole model: raw pixels of shape (n, 1, 64, 64), values 0..255, to logits of shape (n, 2)."""
        enlarge = nn.Upsample(size=(self.side, self.side), mode="bilinear")
        network = self.network if self.side == SIDE else nn.Sequential(enlarge, self.network)
        return with_preprocessing(
            Network(network, Layout(len(self.card.mean))), self.card, Path(self.card.name)
        )


@dataclass(frozen=True)
class Step:
    """One technique.

    Attributes:
        name: As the table shows it.
        effect: What it does to the answers: nothing, rounding, or what only fine-tuning wins back.
        apply: Makes the next state; None where the technique has nothing to do.
        stored: Whether the written file holds its result; otherwise whoever runs the file does it.
    """

    name: str
    effect: Effect
    apply: Callable[[State], State | None]
    stored: bool = True


def as_it_came(state: State) -> State:
    """The baseline, enlarging its input and without in-place ReLU."""
    return replace(state, network=_with_relu(state.network, inplace=False), side=BASELINE_SIDE)


def _remove_interpolation(state: State) -> State:
    return replace(state, side=SIDE)


def _channels_last(state: State) -> State:
    network: Any = copy.deepcopy(state.network)
    return replace(state, network=network.to(memory_format=torch.channels_last))


def _inplace_relu(state: State) -> State:
    return replace(state, network=_with_relu(state.network, inplace=True))


def _with_relu(network: nn.Module, inplace: bool) -> nn.Module:
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = inplace
    return network


def _one_mean(state: State) -> State | None:
    """One mean for all channels; where they have one already there is nothing to do.

    The first convolution pads with zeros, that is with the gray level `mean` of each channel. Channels of
    different means are padded with different gray levels, which no single channel can do: with their
    average the image's border answers differently. Inside, the batch norm takes up the difference.
    """
    mean = state.card.mean
    if len(set(mean)) == 1:
        return None
    network: Any = copy.deepcopy(state.network)
    average = sum(mean) / len(mean)
    shift = torch.tensor([(m - average) / s for m, s in zip(mean, state.card.std, strict=True)])
    weight = network.conv1.weight.detach()
    network.bn1.running_mean += (weight.sum((2, 3)) * shift).sum(1)
    return replace(state, network=network, card=state.card.model_copy(update={"mean": (average,) * 3}))


def _fold_gray(state: State) -> State:
    """Sum the three input channels, which see one image, into one; their means are the same by now.

    A channel's input is (gray - mean) / std: its weights times first std / its std fit the first one's.
    """
    network: Any = copy.deepcopy(state.network)
    std = torch.tensor(state.card.std, dtype=torch.float64)
    scale = (std[0] / std).reshape(1, 3, 1, 1)
    weight = (network.conv1.weight.detach().double() * scale).sum(1, keepdim=True).float()
    network.conv1 = nn.Conv2d(1, weight.shape[0], 7, stride=2, padding=3, bias=False).eval()
    network.conv1.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
    one = {"mean": state.card.mean[:1], "std": state.card.std[:1]}
    return replace(state, network=network, card=state.card.model_copy(update=one))


def _store_half(state: State) -> State:
    """What is left of the weights after they went through a float16 file.

    Raises:
        InputError: One of them is too large for it.
    """
    network = copy.deepcopy(state.network).half().float()
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise InputError(f"{state.card.name}: the tensor '{name}' does not fit into float16 (65504)")
    return replace(state, network=network, bytes_each=2)


def _fold_batch_norm(state: State) -> State:
    from torch.fx.experimental.optimization import fuse

    return replace(state, network=fuse(state.network))


STEPS = (
    Step("baseline", "baseline", as_it_came),
    Step("native 64x64", "to fine-tune", _remove_interpolation),
    Step("channels-last", "exact", _channels_last),
    Step("in-place ReLU", "exact", _inplace_relu),
    Step("one mean", "to fine-tune", _one_mean),
    Step("gray stem fold", "exact", _fold_gray),
    Step("fp16 storage", "rounds", _store_half),
    Step("batch norm fold", "exact", _fold_batch_norm, stored=False),
)
"""Every technique in its order. Batch norms are folded last and not stored: every converter folds them
into the convolutions, and the file stays a ResNet-18 that torchvision loads and that can be trained on."""
