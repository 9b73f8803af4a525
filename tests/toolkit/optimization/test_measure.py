"""What a call costs: operations, memory for activations, time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from udacimed_edge.optimization.measure import flops, latency_ms, peak_activation_bytes
from udacimed_edge.source.network import build_resnet18, build_student

IMAGE = torch.zeros(1, 1, 64, 64)


def test_a_multiply_accumulate_is_two_operations() -> None:
    """A 3x3 convolution to 8 channels over 64x64 positions takes 2 x 9 x 8 x 64 x 64 operations."""
    assert flops(nn.Conv2d(1, 8, 3, padding=1), IMAGE) == 2 * 9 * 8 * 64 * 64


@pytest.mark.parametrize(("side", "billion"), [(64, 0.148), (224, 1.814)])
def test_resnet18_costs_what_is_known_of_it(side: int, billion: float) -> None:
    """ResNet-18 takes 1.8 billion multiply-accumulates at 224x224, and 0.15 at 64x64."""
    network = build_resnet18(3).eval()
    assert flops(network, torch.zeros(1, 3, side, side)) / 2e9 == pytest.approx(billion, abs=0.001)


@pytest.mark.parametrize("build", [lambda: build_resnet18(1), build_student], ids=["resnet18", "student"])
def test_fvcore_counts_the_same(build: object) -> None:
    """Another library's counter agrees; its flop is a multiply-accumulate."""
    counting = pytest.importorskip("fvcore.nn", reason="the cross-check needs fvcore (the dev extra)")
    assert callable(build)
    network = build().eval()
    analysis = counting.FlopCountAnalysis(network, IMAGE).unsupported_ops_warnings(False)
    counted = analysis.by_operator()
    assert counted["conv"] + counted["linear"] == flops(network, IMAGE) / 2


PLANE = 64 * 64 * 4
"""Bytes of one float32 channel."""


@pytest.mark.parametrize(("inplace", "planes"), [(False, 1 + 8 + 8), (True, 1 + 8)])
def test_peak_memory_counts_what_lives_at_once(inplace: bool, planes: int) -> None:
    """A ReLU beside its input takes another 8 channels, one in place takes none."""
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(inplace=inplace))
    assert peak_activation_bytes(network, IMAGE) == planes * PLANE


def test_peak_memory_forgets_what_was_freed() -> None:
    """A chain of layers never holds more than two neighbours and the input, however long it is."""
    layers = [nn.Conv2d(1, 8, 1), *(nn.Conv2d(8, 8, 1) for _ in range(6))]
    assert peak_activation_bytes(nn.Sequential(*layers), IMAGE) == (1 + 8 + 8) * PLANE


def test_views_and_weights_are_not_counted() -> None:
    """Flattening shares its input's memory, and returning a weight takes none."""
    assert peak_activation_bytes(nn.Flatten(), IMAGE) == PLANE

    class Weight(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1000))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.weight.view(10, 100)

    assert peak_activation_bytes(Weight(), IMAGE) == PLANE


def test_latency_is_measured() -> None:
    """The median is above 0 and at most the 95th percentile."""
    median, p95 = latency_ms(nn.Conv2d(1, 1, 3), IMAGE)
    assert 0 < median <= p95
