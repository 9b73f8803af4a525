"""The operations that the MIL executor computes, over torch.

Parameters are named as in coremltools' MIL reference, whose documentation defines them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from udacimed_edge.core.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATIONS", "padding"]


def _convolve(
    *, x: Tensor, weight: Tensor, bias: Tensor | None = None, pad_type: str, pad: list[int], **how: Any
) -> Tensor:
    from torch.nn import functional

    padded = functional.pad(x, padding("conv", pad_type, pad))
    return functional.conv2d(padded, weight, bias, how["strides"], 0, how["dilations"], how["groups"])


def _max_pool(*, x: Tensor, pad_type: str, pad: list[int], ceil_mode: bool, **how: Any) -> Tensor:
    from torch.nn import functional

    _refuse("max_pool", "ceil_mode", ceil_mode, False)
    padded = functional.pad(x, padding("max_pool", pad_type, pad), value=-np.inf)
    return functional.max_pool2d(padded, how["kernel_sizes"], how["strides"])


def _avg_pool(*, x: Tensor, pad_type: str, pad: list[int], ceil_mode: bool, **how: Any) -> Tensor:
    import torch
    from torch.nn import functional

    _refuse("avg_pool", "ceil_mode", ceil_mode, False)
    edges, window = padding("avg_pool", pad_type, pad), (how["kernel_sizes"], how["strides"])
    average = functional.avg_pool2d(functional.pad(x, edges), *window)
    if not how["exclude_padding_from_average"]:
        return average
    return average / functional.avg_pool2d(functional.pad(torch.ones_like(x), edges), *window)


def _batch_norm(*, x: Tensor, mean: Tensor, variance: Tensor, epsilon: Tensor, **how: Any) -> Tensor:
    from torch.nn import functional

    weight, bias = how.get("gamma"), how.get("beta")
    return functional.batch_norm(x, mean, variance, weight, bias, eps=float(epsilon))


def _cast(*, x: Tensor, dtype: str) -> Tensor:
    _refuse("cast", "dtype", dtype, "fp16", "fp32")
    return x  # the rounding follows from the type of the variable it is stored in


def _concat(*, values: list[Tensor], axis: int, interleave: bool) -> Tensor:
    import torch

    _refuse("concat", "interleave", interleave, False)
    return torch.cat(values, dim=axis)


def _gather(*, x: Tensor, indices: list[int], axis: int, batch_dims: int, **how: Any) -> Tensor:
    import torch

    _refuse("gather", "batch_dims", batch_dims, 0)
    return x.index_select(axis, torch.tensor(indices))


def _reshape(*, x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)])


def _matmul(*, x: Tensor, y: Tensor, transpose_x: bool, transpose_y: bool) -> Tensor:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def _linear(*, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight.T + bias


def padding(operation: str, pad_type: str, pad: list[int]) -> list[int]:
    """MIL's (top, bottom, left, right) in torch's order, which begins with the last dimension."""
    if pad_type == "valid":
        return [0, 0, 0, 0]
    _refuse(operation, "pad_type", pad_type, "custom")
    _refuse(operation, "pad's length", len(pad), 4)
    return [pad[2], pad[3], pad[0], pad[1]]


def _refuse(operation: str, name: str, value: object, *supported: object) -> None:
    """Raise UnsupportedError unless `value` is one of those supported."""
    if value not in supported:
        raise UnsupportedError(f"Core ML operation '{operation}' with {name} {value!r} is not executed here")


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "cast": _cast,
    "classify": lambda probabilities, classes: probabilities,
    "clip": lambda x, alpha, beta: x.clamp(alpha, beta),
    "concat": _concat,
    "conv": _convolve,
    "gather": _gather,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _max_pool,
    "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y,
    "reduce_mean": lambda x, axes, keep_dims: x.mean(dim=axes, keepdim=keep_dims),
    "relu": lambda x: x.relu(),
    "reshape": _reshape,
    "sigmoid": lambda x: x.sigmoid(),
    "silu": lambda x: x * x.sigmoid(),
    "softmax": lambda x, axis: x.softmax(dim=axis),
    "squeeze": lambda x, axes: x.squeeze(axes),
    "sub": lambda x, y: x - y,
    "transpose": lambda x, perm: x.permute(perm),
}
"""Every operation that is executed: what ResNet and its nearest relatives consist of, not all of MIL."""
