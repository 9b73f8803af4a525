"""Models in memory: what is taken, what is refused, and by which digest they are known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError
from udacimed_edge.source.load import SourceOptions
from udacimed_edge.source.module import load_module, state_digest

if TYPE_CHECKING:
    import torch

OPTIONS = SourceOptions((0.0,), (1 / 255,), ("normal", "pneumonia"), 0.5)


def test_a_module_and_its_program_are_one_model(small_network: torch.nn.Module) -> None:
    """A module, its copy and the program exported from it have one digest; other weights another."""
    import torch

    program = torch.export.export(small_network, (torch.zeros(1, 1, 64, 64),))
    digest = state_digest(small_network.state_dict())
    assert state_digest(copy.deepcopy(small_network).state_dict()) == digest
    loaded = load_module(program, OPTIONS)
    assert (loaded.digest, loaded.name) == (digest, "program")
    other = copy.deepcopy(small_network)
    other.get_parameter("head.bias").data[0] += 1e-6
    assert state_digest(other.state_dict()) != digest


def test_the_model_is_left_as_it_is(
    small_network: torch.nn.Module, small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> None:
    """A model in training mode is converted in eval mode and stays in training mode, with its statistics."""
    import torch

    model = copy.deepcopy(small_network).train()
    before = state_digest(model.state_dict())
    loaded = load_module(model, OPTIONS, name="mine / 1")
    assert model.training
    assert state_digest(model.state_dict()) == before == loaded.digest
    assert loaded.name == "mine / 1"
    assert loaded.dynamic_batch
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    logits = loaded.module(torch.from_numpy(images[:, None].astype(np.float32)))
    np.testing.assert_allclose(logits.softmax(1)[:, 1].numpy(), small_answers(images), atol=1e-5)


def _colour() -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_gray_image_is_repeated_for_three_channels() -> None:
    """A module for RGB takes the gray image in each channel."""
    import torch

    network = _colour().eval()
    loaded = load_module(network, OPTIONS)
    gray = torch.rand(2, 1, 64, 64).mul(255).round()
    assert torch.allclose(loaded.module(gray), network(gray.expand(-1, 3, -1, -1)), atol=1e-3)


def _no_weights() -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _five_channels() -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(nn.Conv2d(5, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _three_classes() -> torch.nn.Module:
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _branching() -> torch.nn.Module:
    from torch import nn

    class Branching(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = super().forward(x)
            return y if y.sum() > 0 else -y

    return Branching(*_three_classes())


UNSTATED = SourceOptions((0.5,), None, ("normal", "pneumonia"))


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (_colour, UNSTATED, "nothing says how the input of Sequential is normalised"),
        (_colour, UNSTATED, "missing: std"),
        (_no_weights, OPTIONS, "the model has no weights"),
        (_five_channels, OPTIONS, "Sequential takes no images of shape (n, 1 or 3, 64, 64)"),
        (_three_classes, OPTIONS, "Sequential returns"),
        (_branching, OPTIONS, "Branching cannot be used"),
    ],
)
def test_what_is_no_classifier_is_refused(
    build: Callable[[], torch.nn.Module], options: SourceOptions, message: str
) -> None:
    """Each module that cannot be used is refused by its own name, and no temporary file is spoken of."""
    with pytest.raises(InputError) as caught:
        load_module(build(), options)
    assert message in str(caught.value)
    assert "udacimed-model-" not in str(caught.value)
