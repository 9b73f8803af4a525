"""The techniques: the exact ones leave every answer as it is, and no step changes the state before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from udacimed_edge.core.errors import InputError
from udacimed_edge.optimization.techniques import STEPS, State, Step
from udacimed_edge.source.network import build_resnet18
from udacimed_edge.source.spec import ModelSpec

STEP = {step.name: step for step in STEPS}
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS = torch.randint(0, 256, (2, 1, 64, 64), generator=torch.Generator().manual_seed(1)).float()
PIXELS[0, :, 0], PIXELS[0, :, :, -1] = 255, 0  # a border that padding cannot hide behind


pytestmark = pytest.mark.usefixtures("one_thread")


def card(mean: tuple[float, ...] = (0.5,) * 3, std: tuple[float, ...] = (0.25,) * 3) -> ModelSpec:
    """A card with that normalisation."""
    return ModelSpec(
        schema_version=1,
        name="baseline",
        architecture="resnet18",
        mean=mean,
        std=std,
        labels=("normal", "pneumonia"),
    )


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """ResNet-18 for three channels with random weights and batch statistics."""
    torch.manual_seed(0)
    network = build_resnet18(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@torch.no_grad()
def logits(state: State) -> torch.Tensor:
    """What the whole model answers."""
    answers: torch.Tensor = state.module()(PIXELS)
    return answers


def applied(name: str, state: State) -> State:
    """The state after one step."""
    after = STEP[name].apply(state)
    assert after is not None
    return after


@pytest.mark.parametrize(
    "step", [step for step in STEPS if step.effect == "exact"], ids=lambda step: step.name
)
def test_an_exact_step_changes_no_answer(step: Step, resnet: nn.Module) -> None:
    """Logits before and after are the same but for the order of float32 additions."""
    before = State(resnet, card())
    after = step.apply(before)
    assert after is not None
    torch.testing.assert_close(logits(after), logits(before), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_leaves_the_state_before_it_alone(step: Step, resnet: nn.Module) -> None:
    """Applying a step changes neither the network nor the answers it was given."""
    before = State(resnet, card(*IMAGENET) if step.name == "one mean" else card())
    expected = logits(before)
    step.apply(before)
    assert torch.equal(logits(before), expected)


level = st.floats(0.0, 1.0, allow_nan=False)
spread = st.floats(0.05, 1.0, allow_nan=False)


@settings(max_examples=8, deadline=None)
@given(mean=level, std=st.tuples(spread, spread, spread))
def test_the_gray_stem_is_exact_for_any_spread(mean: float, std: tuple[float, float, float]) -> None:
    """Three channels of one image fold into one, whatever their standard deviations, up to the border."""
    torch.manual_seed(0)
    stem = Stem()
    before = State(stem, card((mean,) * 3, std))
    after = applied("gray stem fold", before)
    folded: Any = after.network
    assert folded.conv1.in_channels == 1
    assert (len(after.card.mean), len(after.card.std)) == (1, 1)
    scale = float(logits(before).abs().max())
    torch.testing.assert_close(logits(after) / scale, logits(before) / scale, rtol=0, atol=1e-5)


class Stem(nn.Module):
    """A first convolution and its batch norm alone, all of their values as outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64)
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float32 of shape (n, 64, 32, 32)."""
        result: torch.Tensor = self.bn1(self.conv1(images))
        return result


def test_one_mean_differs_at_the_border_alone() -> None:
    """Averaging different means leaves every value whose window lies inside the image as it is."""
    torch.manual_seed(0)
    before = State(Stem(), card(*IMAGENET))
    moved = (logits(applied("one mean", before)) - logits(before)).abs()
    inside = moved[:, :, 2:-2, 2:-2]
    assert float(inside.max()) < 1e-4
    assert float(moved.max()) > 1e-3


def test_one_mean_has_nothing_to_do_where_there_is_one(resnet: nn.Module) -> None:
    """Channels of one mean need no step, so that none is shown."""
    assert STEP["one mean"].apply(State(resnet, card())) is None


def test_the_baseline_enlarges_and_keeps_what_relu_gets(resnet: nn.Module) -> None:
    """The baseline runs at 224x224 without in-place ReLU; removing that changes its answers."""
    baseline = applied("baseline", State(resnet, card()))
    assert baseline.side == 224
    assert not any(m.inplace for m in baseline.network.modules() if isinstance(m, nn.ReLU))
    native = applied("native 64x64", baseline)
    assert native.side == 64
    assert not torch.allclose(logits(native), logits(baseline), atol=1e-2)


def test_the_steps_reach_what_they_are_for(resnet: nn.Module) -> None:
    """Layout, in-place ReLU and folded batch norms are found in the network afterwards."""
    state = State(resnet, card())
    for step in STEPS[1:]:
        state = step.apply(state) or state
    modules: list[Any] = list(state.network.modules())
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in modules)
    assert all(m.inplace for m in modules if isinstance(m, nn.ReLU))
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in convolutions)
    assert (convolutions[0].in_channels, state.bytes_each) == (1, 2)


def test_fp16_storage_rounds_and_refuses_what_does_not_fit(resnet: nn.Module) -> None:
    """Weights become float16 values; one that would become infinite is named."""
    state = applied("fp16 storage", State(resnet, card()))
    assert all(torch.equal(t, t.half().float()) for t in state.network.parameters())
    large = applied("channels-last", state).network
    network: Any = large
    network.fc.weight.data[0, 0] = 1e6
    with pytest.raises(InputError, match=r"'fc.weight' does not fit into float16"):
        STEP["fp16 storage"].apply(replace(state, network=large))


def test_the_last_step_alone_is_not_stored() -> None:
    """The file keeps its batch norms, so that it loads as torchvision's ResNet-18."""
    stored: list[Callable[[State], State | None]] = [step.apply for step in STEPS if step.stored]
    assert len(stored) == len(STEPS) - 1
    assert not STEPS[-1].stored
