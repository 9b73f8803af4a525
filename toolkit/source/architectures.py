"""The networks whose weights are read without their graph, by the names that `--architecture` takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from udacimed_edge.core.extras import import_torchvision
from udacimed_edge.source.network import build_resnet18, build_student

if TYPE_CHECKING:  # it takes seconds to import: only the functions that need it do so
    import torch

__all__ = [
    "ALIASES",
    "ARCHITECTURES",
    "build",
    "channels_of",
    "fitting",
    "in_torchvision_names",
    "mismatch",
    "outputs_of",
]

State = dict[str, "torch.Tensor"]


def _torchvision(name: str) -> Callable[[int, int], torch.nn.Module]:
    """A network of torchvision with other input channels and outputs."""

    def make(channels: int, outputs: int) -> torch.nn.Module:
        import torch

        if name == "resnet18" and outputs == 2:
            return build_resnet18(channels)
        extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network: torch.nn.Module = getattr(import_torchvision().models, name)(
            weights=None, num_classes=outputs, **extra
        )
        if channels != 3:
            stem, old = next(
                (name, part) for name, part in network.named_modules() if isinstance(part, torch.nn.Conv2d)
            )
            parent, _, own = stem.rpartition(".")
            new = torch.nn.Conv2d(
                channels,
                old.out_channels,
                old.kernel_size,  # type: ignore[arg-type]
                old.stride,  # type: ignore[arg-type]
                old.padding,  # type: ignore[arg-type]
                bias=old.bias is not None,
            )
            setattr(network.get_submodule(parent), own, new)
        return network

    return make


def _medmnist(name: str) -> Callable[[int, int], torch.nn.Module]:
    """MedMNIST's own ResNet for 28 pixels: a stem of 3x3 without stride, and no first pooling."""

    def make(channels: int, outputs: int) -> torch.nn.Module:
        import torch

        network: Any = _torchvision(name)(3, outputs)
        network.conv1 = torch.nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
        network.maxpool = torch.nn.Identity()
        result: torch.nn.Module = network
        return result

    return make


ARCHITECTURES: dict[str, Callable[[int, int], torch.nn.Module]] = {
    **{
        f"torchvision-{name}": _torchvision(name)
        for name in (
            "resnet18",
            "resnet34",
            "resnet50",
            "mobilenet_v2",
            "mobilenet_v3_small",
            "mobilenet_v3_large",
            "efficientnet_b0",
            "densenet121",
            "shufflenet_v2_x0_5",
            "shufflenet_v2_x1_0",
            "squeezenet1_1",
            "regnet_y_400mf",
            "convnext_tiny",
        )
    },
    "medmnist-resnet18": _medmnist("resnet18"),
    "medmnist-resnet50": _medmnist("resnet50"),
    "student": lambda channels, outputs: build_student(),
}
"""(input channels, outputs) to a network with random weights."""

ALIASES = {"resnet18": "torchvision-resnet18"}
"""Other names, as model cards have them."""


def in_torchvision_names(state: State) -> State:
    """The tensors as torchvision names them: MedMNIST's `linear` and `shortcut` are `fc` and `downsample`.

    A last layer that stands behind a dropout, `fc.1`, is the last layer.
    """
    renamed = {}
    for name, tensor in state.items():
        name = re.sub(r"^(layer\d\.\d+)\.shortcut\.", r"\1.downsample.", name)
        name = re.sub(r"^linear\.(weight|bias)$", r"fc.\1", name)
        if "fc.weight" not in state and "fc.0.weight" not in state and "fc.2.weight" not in state:
            name = re.sub(r"^fc\.1\.(weight|bias)$", r"fc.\1", name)
        renamed[name] = tensor
    return renamed


def build(name: str, state: State) -> tuple[torch.nn.Module, int]:
    """A network with random weights and its input channels: those that the tensors have.

    Args:
        name: One of ARCHITECTURES.
        state: The tensors, in torchvision's names.
    """
    channels, outputs = channels_of(state), outputs_of(state)
    return ARCHITECTURES[name](channels, outputs), channels


def channels_of(state: State) -> int:
    """Input channels of the first convolution; 3 where there is none."""
    return next((int(state[name].shape[1]) for name in sorted(state) if state[name].ndim == 4), 3)


def outputs_of(state: State) -> int:
    """Rows of the last layer; 2 where no layer is called as a last one is."""
    heads = sorted(name for name in state if re.fullmatch(r"(fc|classifier(\.\d)?)\.weight", name))
    heads = [name for name in heads if state[name].ndim in (2, 4)]
    return len(state[heads[-1]]) if heads else 2


def mismatch(network: torch.nn.Module, state: State) -> tuple[list[str], list[str]]:
    """The tensors that a network misses and those it has no place for, sorted."""
    own = network.state_dict()
    expected = {name for name in own if not name.endswith("num_batches_tracked")}
    return sorted(expected - state.keys()), sorted(state.keys() - own.keys())


def fitting(state: State) -> list[str]:
    """The networks that these tensors fit by name and shape. More may: pooling and strides are no tensors."""
    import torch

    found = []
    for name in ARCHITECTURES:
        try:
            with torch.device("meta"):
                network, _ = build(name, state)
        except Exception:
            continue
        own = network.state_dict()
        if mismatch(network, state) == ([], []) and all(own[n].shape == t.shape for n, t in state.items()):
            found.append(name)
    return found
