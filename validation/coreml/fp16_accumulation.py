"""Core ML's sums in float16, emulated: what if a device adds as coarsely as it stores?

    python -m udacimed_edge.validation.coreml.fp16_accumulation ARTIFACT IMAGES.npy ANSWERS.npy

Apple does not publish in which type and order its Neural Engine and GPUs add. The MIL executor adds in
float32. Here every convolution and linear layer adds as the worst of them might: the products of `BLOCK`
inputs at a time, in the order of channel, kernel row, kernel column, are added in float32 and rounded to
float16, and so is the running sum after each block. Pooling, means and residual sums are as in the
executor. It shows how much room the artifact has, not what one device answers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from udacimed_edge.runtime.answers import answer
from udacimed_edge.validation.coreml import executor as mil
from udacimed_edge.validation.coreml.operations import OPERATIONS, padding

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BLOCK", "HALF_OPERATIONS", "product"]

BLOCK = 32
"""Products that are added before the first rounding: a guess, as Apple's figure is not published."""


def product(left: Tensor, right: Tensor) -> Tensor:
    """A matrix product whose sums are float16.

    Args:
        left: float32 of shape (..., m, k).
        right: float32 of shape (..., k, n).

    Returns:
        float32 of shape (..., m, n), each value one of float16.
    """
    import torch

    total = torch.zeros((), dtype=torch.float16)
    for columns, rows in zip(torch.split(left, BLOCK, -1), torch.split(right, BLOCK, -2), strict=True):
        total = total + (columns @ rows).half()
    return total.float()


def _convolve(
    *, x: Tensor, weight: Tensor, bias: Tensor | None = None, pad_type: str, pad: list[int], **how: Any
) -> Tensor:
    import torch
    from torch.nn import functional

    padded, groups = functional.pad(x, padding("conv", pad_type, pad)), how["groups"]
    columns = functional.unfold(padded, weight.shape[2:], how["dilations"], 0, how["strides"])
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1)
    sums = product(kernels, columns.reshape(groups, kernels.shape[2], -1))
    abstract, kernel = padded.to("meta"), weight.to("meta")  # torch's own rule for the shape
    shape = functional.conv2d(abstract, kernel, None, how["strides"], 0, how["dilations"], groups).shape
    return sums.reshape(shape) + (torch.zeros(1) if bias is None else bias)[:, None, None]


HALF_OPERATIONS: dict[str, Callable[..., Any]] = {
    **OPERATIONS,
    "conv": _convolve,
    "linear": lambda x, weight, bias: product(x, weight.T) + bias,
}
"""The executor's operations, two of them with float16 sums."""


if __name__ == "__main__":
    artifact, images, out = map(Path, sys.argv[1:])
    answer(mil.open_artifact(artifact, operations=HALF_OPERATIONS), images, out)
