"""Sums in float16: as coarse as they claim, and otherwise the executor's own operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from udacimed_edge.validation.coreml.fp16_accumulation import BLOCK, HALF_OPERATIONS, product
from udacimed_edge.validation.coreml.operations import OPERATIONS


def test_the_running_sum_is_float16() -> None:
    """Where float16's values are 2 apart, a block's sum of 1 is lost; within a block it is not."""
    left, right = torch.zeros(1, 2 * BLOCK), torch.ones(2 * BLOCK, 1)
    left[0, 0], left[0, BLOCK] = 2048, 1
    assert (left @ right).item() == 2049
    assert product(left, right).item() == 2048
    left[0, 1] = 1
    left[0, BLOCK] = 2
    assert product(left, right).item() == 2050  # 2049 became 2048 at the end of its block


def test_a_sum_beyond_float16_is_infinite() -> None:
    """What a device would lose to overflow is not hidden."""
    assert product(torch.full((1, 4 * BLOCK), 256.0), torch.full((4 * BLOCK, 1), 8.0)).isinf().all()


@pytest.mark.parametrize(
    "how",
    [
        {"strides": [1, 1], "dilations": [1, 1], "groups": 1},
        {"strides": [2, 1], "dilations": [1, 1], "groups": 2},
        {"strides": [1, 2], "dilations": [2, 1], "groups": 4},
    ],
)
@pytest.mark.parametrize("bias", [None, torch.arange(8.0)])
def test_what_float16_holds_exactly_is_the_executor_s(how: dict[str, Any], bias: torch.Tensor | None) -> None:
    """On small whole numbers a convolution is the executor's own, in every form."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(-3, 4, (1, 4, 9, 8), generator=draw).float()
    weight = torch.randint(-3, 4, (8, 4 // how["groups"], 3, 2), generator=draw).float()
    form = {"x": x, "weight": weight, "bias": bias, "pad_type": "custom", "pad": [1, 0, 2, 1], **how}
    assert torch.equal(HALF_OPERATIONS["conv"](**form), OPERATIONS["conv"](**form))


def test_a_linear_layer_is_the_executor_s() -> None:
    """On small whole numbers a linear layer is the executor's own."""
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randint(-3, 4, size, generator=draw).float() for size in ((1, 50), (2, 50), (2,))
    )
    form = {"x": x, "weight": weight, "bias": bias}
    assert torch.equal(HALF_OPERATIONS["linear"](**form), OPERATIONS["linear"](**form))
