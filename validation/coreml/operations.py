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

    edges = padding("max_pool", pad_type, pad)
    if ceil_mode:
        both = _both_sides("max_pool", edges)
        return functional.max_pool2d(x, how["kernel_sizes"], how["strides"], both, ceil_mode=True)
    padded = functional.pad(x, edges, value=-np.inf)
    return functional.max_pool2d(padded, how["kernel_sizes"], how["strides"])


def _avg_pool(*, x: Tensor, pad_type: str, pad: list[int], ceil_mode: bool, **how: Any) -> Tensor:
    import torch
    from torch.nn import functional

    edges, window = padding("avg_pool", pad_type, pad), (how["kernel_sizes"], how["strides"])
    counted = not how["exclude_padding_from_average"]
    if ceil_mode:
        return functional.avg_pool2d(x, *window, _both_sides("avg_pool", edges), True, counted)
    average = functional.avg_pool2d(functional.pad(x, edges), *window)
    if counted:
        return average
    return average / functional.avg_pool2d(functional.pad(torch.ones_like(x), edges), *window)


def _both_sides(operation: str, edges: list[int]) -> tuple[int, int]:
    """Padding of height and width, alike on both sides: only so does ceil_mode mean what it does in torch."""
    left, right, top, bottom = edges
    _refuse(operation, "ceil_mode and pads", (left, top), (right, bottom))
    return top, left


def _batch_norm(*, x: Tensor, mean: Tensor, variance: Tensor, epsilon: Tensor, **how: Any) -> Tensor:
    from torch.nn import functional

    weight, bias = how.get("gamma"), how.get("beta")
    return functional.batch_norm(x, mean, variance, weight, bias, eps=float(epsilon))


def _cast(*, x: Tensor, dtype: str) -> Tensor:
    _refuse("cast", "dtype", dtype, "fp16", "fp32")
    return x  # the rounding follows from the type of the variable it is stored in


def _concat(*, values: list[Tensor], axis: int, interleave: bool) -> Tensor:
    import torch

    if interleave:  # the first of each, then the second of each
        axis %= values[0].ndim
        return torch.stack(values, dim=axis + 1).flatten(axis, axis + 1)
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


def _gelu(*, x: Tensor, mode: str) -> Tensor:
    from torch.nn import functional

    _refuse("gelu", "mode", mode, "EXACT", "TANH_APPROXIMATION")
    return functional.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


def _layer_norm(*, x: Tensor, axes: list[int], epsilon: Tensor, **how: Any) -> Tensor:
    from torch.nn import functional

    last = list(range(x.ndim - len(axes), x.ndim))
    _refuse("layer_norm", "axes", [a % x.ndim for a in axes], last)
    shape = [x.shape[a] for a in last]
    return functional.layer_norm(x, shape, how.get("gamma"), how.get("beta"), float(epsilon))


def _instance_norm(*, x: Tensor, epsilon: Tensor, **how: Any) -> Tensor:
    from torch.nn import functional

    weight, bias = how.get("gamma"), how.get("beta")
    return functional.instance_norm(x, weight=weight, bias=bias, eps=float(epsilon))


def _prelu(*, x: Tensor, alpha: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.prelu(x, alpha)


def _pad(*, x: Tensor, pad: list[int], mode: str, constant_val: Tensor) -> Tensor:
    from torch.nn import functional

    _refuse("pad", "mode", mode, "constant", "reflect", "replicate")
    pairs = [pad[i : i + 2] for i in range(0, len(pad), 2)]
    edges = [size for pair in reversed(pairs) for size in pair]
    if mode == "constant":
        return functional.pad(x, edges, value=float(constant_val))
    _refuse("pad", "edges", any(edges[4:]), False)
    return functional.pad(x, edges[:4], mode=mode)


def _split(*, x: Tensor, axis: int, **how: Any) -> tuple[Tensor, ...]:
    import torch

    sizes: list[int] = how.get("split_sizes") or [x.shape[axis] // how["num_splits"]] * how["num_splits"]
    return torch.split(x, sizes, dim=axis)


def _slice_by_index(*, x: Tensor, begin: list[int], end: list[int], **how: Any) -> Tensor:
    nothing = [False] * x.ndim
    strides = how.get("stride") or [1] * x.ndim
    open_begin, open_end = how.get("begin_mask") or nothing, how.get("end_mask") or nothing
    squeezed = how.get("squeeze_mask") or nothing
    for axis in reversed(range(x.ndim)):
        _refuse("slice_by_index", "stride", strides[axis] > 0, True)
        if squeezed[axis]:
            x = x.select(axis, begin[axis])
            continue
        first = None if open_begin[axis] else begin[axis]
        last = None if open_end[axis] else end[axis]
        x = x[(*[slice(None)] * axis, slice(first, last, strides[axis]))]
    return x


def _upsample_bilinear(*, x: Tensor, align_corners: bool, **how: Any) -> Tensor:
    from torch.nn import functional

    size = _scaled(x, how)
    _refuse(
        "upsample_bilinear",
        "half_pixel_centers",
        how.get("half_pixel_centers", not align_corners),
        not align_corners,
    )
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def _upsample_nearest(*, x: Tensor, **how: Any) -> Tensor:
    from torch.nn import functional

    return functional.interpolate(x, size=_scaled(x, how), mode="nearest")


def _scaled(x: Tensor, how: dict[str, Any]) -> list[int]:
    """Height and width after an upsampling; MIL rounds down, and its factors are float32."""
    factors = float(how["scale_factor_height"]), float(how["scale_factor_width"])
    return [int(size * factor + 1e-3) for size, factor in zip(x.shape[2:], factors, strict=True)]


def _expand_dims(*, x: Tensor, axes: list[int]) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


def _stack(*, values: list[Tensor], axis: int) -> Tensor:
    import torch

    return torch.stack(values, dim=axis)


def _einsum(*, values: list[Tensor], equation: str) -> Tensor:
    import torch

    return torch.einsum(equation, *values)


def _fill(*, shape: list[int], value: Tensor) -> Tensor:
    import torch

    return torch.full(shape, float(value))


def _hard_sigmoid(*, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return (x * alpha + beta).clamp(0, 1)


def _elu(*, x: Tensor, alpha: Tensor) -> Tensor:
    return x.clamp(min=0) + alpha * (x.clamp(max=0).exp() - 1)


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
    "abs": lambda x: x.abs(),
    "add": lambda x, y: x + y,
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "cast": _cast,
    "classify": lambda probabilities, classes: probabilities,
    "clip": lambda x, alpha, beta: x.clamp(alpha, beta),
    "concat": _concat,
    "conv": _convolve,
    "einsum": _einsum,
    "elu": _elu,
    "erf": lambda x: x.erf(),
    "exp": lambda x: x.exp(),
    "expand_dims": _expand_dims,
    "fill": _fill,
    "gather": _gather,
    "gelu": _gelu,
    "identity": lambda x: x,
    "instance_norm": _instance_norm,
    "inverse": lambda x, epsilon: 1 / (x + epsilon),
    "layer_norm": _layer_norm,
    "leaky_relu": lambda x, alpha: x.clamp(min=0) + alpha * x.clamp(max=0),
    "linear": _linear,
    "log": lambda x, epsilon: (x + epsilon).log(),
    "matmul": _matmul,
    "max_pool": _max_pool,
    "maximum": lambda x, y: x.maximum(y),
    "minimum": lambda x, y: x.minimum(y),
    "mul": lambda x, y: x * y,
    "pad": _pad,
    "pow": lambda x, y: x**y,
    "prelu": _prelu,
    "real_div": lambda x, y: x / y,
    "reduce_max": lambda x, axes, keep_dims: x.amax(dim=axes, keepdim=keep_dims),
    "reduce_mean": lambda x, axes, keep_dims: x.mean(dim=axes, keepdim=keep_dims),
    "reduce_min": lambda x, axes, keep_dims: x.amin(dim=axes, keepdim=keep_dims),
    "reduce_sum": lambda x, axes, keep_dims: x.sum(dim=axes, keepdim=keep_dims),
    "relu": lambda x: x.relu(),
    "relu6": lambda x: x.clamp(0, 6),
    "reshape": _reshape,
    "rsqrt": lambda x, epsilon: (x + epsilon).rsqrt(),
    "sigmoid": lambda x: x.sigmoid(),
    "sigmoid_hard": _hard_sigmoid,
    "silu": lambda x: x * x.sigmoid(),
    "slice_by_index": _slice_by_index,
    "softmax": lambda x, axis: x.softmax(dim=axis),
    "softplus": lambda x: x.exp().log1p().where(x < 20, x),
    "softsign": lambda x: x / (1 + x.abs()),
    "split": _split,
    "sqrt": lambda x: x.sqrt(),
    "square": lambda x: x.square(),
    "squeeze": lambda x, axes: x.squeeze(axes),
    "stack": _stack,
    "sub": lambda x, y: x - y,
    "tanh": lambda x: x.tanh(),
    "thresholded_relu": lambda x, alpha: x.where(x >= alpha, 0.0),
    "tile": lambda x, reps: x.repeat(reps),
    "transpose": lambda x, perm: x.permute(perm),
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": _upsample_nearest,
}
"""Every operation that is executed: what convolutional networks and small transformers consist of, not all
of MIL."""
