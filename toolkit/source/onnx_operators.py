"""What each ONNX operator computes, over torch; attributes are named as in the ONNX operator reference.

A value is either a tensor or, where ONNX computes with shapes, a numpy array of integers that are known
when the graph is traced (some may stand for the free batch). An operator that gets numpy arrays alone
answers with one, so that no shape becomes the content of a tensor, which torch.export could not follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HOST_INPUTS", "OPERATORS", "OperatorError", "tensor"]


class OperatorError(ValueError):
    """A node asks for what is not supported; without the file's name, which is not known here."""


Host = NDArray[Any]
Value = Any  # Tensor | Host

_LARGEST = 1 << 26
"""Elements of a tensor that an operator makes out of nothing: a file must not fill the memory."""


def tensor(value: Value) -> Tensor:
    """A value as a tensor."""
    import torch

    if isinstance(value, torch.Tensor):
        return value
    if value.dtype == object:
        raise OperatorError("a size that depends on the batch is used as a number")
    return torch.as_tensor(value)


def _host(*values: Value) -> bool:
    return all(value is None or isinstance(value, np.ndarray) for value in values)


def _numbers(value: Value) -> list[Any]:
    """A shape, axes or the like as Python's numbers."""
    if not isinstance(value, (np.ndarray, list, tuple)):
        raise OperatorError("a shape depends on the content of the image")
    return np.asarray(value).reshape(-1).tolist()


def _number(value: Value) -> Any:
    return _numbers(value)[0]


def _refuse(what: str, refused: bool) -> None:
    if refused:
        raise OperatorError(f"the operator {what} is not supported")


# arithmetic


def _pair(on_host: Callable[..., Any], on_tensors: Callable[..., Any]) -> Callable[..., Value]:
    def compute(a: Value, b: Value) -> Value:
        if _host(a, b):
            return np.asarray(on_host(a, b))
        return on_tensors(tensor(a), tensor(b))

    return compute


def _divide_hosts(a: Host, b: Host) -> Any:
    return a // b if a.dtype.kind in "iuO" and b.dtype.kind in "iuO" else a / b


def _divide(a: Tensor, b: Tensor) -> Tensor:
    import torch

    whole = not (a.is_floating_point() or b.is_floating_point())
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


def _each(name: str, **fixed: Any) -> Callable[..., Tensor]:
    """A function of torch that takes one tensor."""

    def compute(x: Value) -> Tensor:
        import torch

        result: Tensor = getattr(torch, name)(tensor(x), **fixed)
        return result

    return compute


def _activation(name: str, **renamed: str) -> Callable[..., Tensor]:
    """A function of torch.nn.functional; `renamed` gives its names for ONNX's attributes."""

    def compute(x: Value, **attributes: Any) -> Tensor:
        from torch.nn import functional

        result: Tensor = getattr(functional, name)(
            tensor(x), **{renamed[key]: value for key, value in attributes.items()}
        )
        return result

    return compute


def _clip(x: Value, low: Value = None, high: Value = None) -> Tensor:
    bounds = [None if b is None or b.size == 0 else float(_number(b)) for b in (low, high)]
    return tensor(x) if bounds == [None, None] else tensor(x).clamp(*bounds)


def _hard_sigmoid(x: Value, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    from torch.nn import functional

    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
        return functional.hardsigmoid(tensor(x))
    return (tensor(x) * alpha + beta).clamp(0, 1)


def _selu(x: Value, *, alpha: float = 1.67326319, gamma: float = 1.05070102) -> Value:
    x = tensor(x)
    return gamma * (x.clamp(min=0) + alpha * (x.clamp(max=0).exp() - 1))


def _prelu(x: Value, slope: Value) -> Value:
    x, slope = tensor(x), tensor(slope)
    return x.clamp(min=0) + slope * x.clamp(max=0)


def _gelu(x: Value, *, approximate: str = "none") -> Tensor:
    from torch.nn import functional

    return functional.gelu(tensor(x), approximate=approximate)


def _pow(x: Value, exponent: Value) -> Tensor:
    if isinstance(exponent, np.ndarray) and exponent.size == 1:
        return tensor(x) ** float(_number(exponent))
    return tensor(x) ** tensor(exponent)


def _cast(x: Value, *, to: int, saturate: int = 1, round_mode: str = "up") -> Value:
    import onnx
    import torch

    kind = onnx.TensorProto.DataType.Name(to)
    if isinstance(x, np.ndarray):
        if x.dtype == object:
            return x
        whole = kind.startswith(("INT", "UINT"))
        return x.astype(np.int64 if whole else bool if kind == "BOOL" else np.float32)
    if kind in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"):
        return x if x.dtype == torch.float32 else x.float()
    _refuse(f"Cast to {kind}", kind not in ("INT32", "INT64", "BOOL"))
    return x.to(torch.bool if kind == "BOOL" else torch.int64)


def _where(condition: Value, a: Value, b: Value) -> Value:
    import torch

    if _host(condition, a, b):
        return np.where(condition.astype(bool), a, b)
    return torch.where(tensor(condition).bool(), tensor(a), tensor(b))


def _fold(on_host: Callable[..., Any], name: str) -> Callable[..., Value]:
    """An operator of any number of inputs."""

    def compute(*values: Value) -> Value:
        import torch

        if _host(*values):
            result = values[0]
            for value in values[1:]:
                result = np.asarray(on_host(result, value))
            return result
        result = tensor(values[0])
        for value in values[1:]:
            result = getattr(torch, name)(result, tensor(value))
        return result

    return compute


# convolution, pooling, resizing


def _explicit_pads(
    size: list[int], window: list[int], strides: list[int], dilations: list[int], auto_pad: str, pads: Any
) -> list[int]:
    """ONNX's padding as (begin of each dimension, end of each dimension)."""
    if auto_pad in ("NOTSET", "") or auto_pad == "VALID":
        return list(pads) if pads and auto_pad != "VALID" else [0] * 2 * len(window)
    begins, ends = [], []
    for length, kernel, stride, dilation in zip(size, window, strides, dilations, strict=True):
        total = max((math.ceil(length / stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
        begins.append(total - total // 2 if auto_pad == "SAME_LOWER" else total // 2)
        ends.append(total - begins[-1])
    return [*begins, *ends]


def _torch_order(pads: list[int]) -> list[int]:
    """(begins, ends) of each dimension as torch's pad takes them: the last dimension first."""
    half = len(pads) // 2
    return [p for i in reversed(range(half)) for p in (pads[i], pads[i + half])]


def _spatial(
    x: Tensor, window: list[int], how: dict[str, Any]
) -> tuple[list[int], list[int], list[int], list[int] | None]:
    """Strides, dilations, pads, and the pads once for both sides, or None where the sides differ."""
    strides = list(how.get("strides") or [1] * len(window))
    dilations = list(how.get("dilations") or [1] * len(window))
    pads = _explicit_pads(
        list(x.shape[2:]), window, strides, dilations, how.get("auto_pad", "NOTSET"), how.get("pads")
    )
    half = len(pads) // 2
    return strides, dilations, pads, pads[:half] if pads[:half] == pads[half:] else None


def _conv(x: Value, weight: Value, bias: Value = None, *, group: int = 1, **how: Any) -> Tensor:
    from torch.nn import functional

    x, weight = tensor(x), tensor(weight)
    strides, dilations, pads, both = _spatial(x, list(weight.shape[2:]), how)
    if both is None:
        x, both = functional.pad(x, _torch_order(pads)), [0] * len(strides)
    convolve = {3: functional.conv1d, 4: functional.conv2d}.get(weight.ndim)
    _refuse(f"Conv over {weight.ndim - 2} dimensions", convolve is None)
    assert convolve is not None
    return convolve(x, weight, None if bias is None else tensor(bias), strides, both, dilations, group)


def _conv_transpose(x: Value, weight: Value, bias: Value = None, *, group: int = 1, **how: Any) -> Tensor:
    from torch.nn import functional

    x, weight = tensor(x), tensor(weight)
    strides, dilations, _, both = _spatial(x, list(weight.shape[2:]), how)
    unusual = both is None or "output_shape" in how or how.get("auto_pad", "NOTSET") != "NOTSET"
    _refuse("ConvTranspose with such a padding", unusual or weight.ndim != 4)
    assert both is not None
    extra = list(how.get("output_padding") or [0, 0])
    bias = None if bias is None else tensor(bias)
    return functional.conv_transpose2d(x, weight, bias, strides, both, extra, group, dilations)


def _max_pool(x: Value, *, kernel_shape: list[int], ceil_mode: int = 0, **how: Any) -> Tensor:
    from torch.nn import functional

    x = tensor(x)
    _refuse("MaxPool by columns", bool(how.get("storage_order")))
    strides, dilations, pads, both = _spatial(x, kernel_shape, how)
    if both is None or any(2 * p > k for p, k in zip(both, kernel_shape, strict=True)):
        x, both = functional.pad(x, _torch_order(pads), value=-math.inf), [0] * len(kernel_shape)
    return functional.max_pool2d(x, kernel_shape, strides, both, dilations, bool(ceil_mode))


def _average_pool(
    x: Value, *, kernel_shape: list[int], ceil_mode: int = 0, count_include_pad: int = 0, **how: Any
) -> Tensor:
    import torch
    from torch.nn import functional

    x = tensor(x)
    strides, dilations, pads, both = _spatial(x, kernel_shape, how)
    _refuse("AveragePool with dilations", any(d != 1 for d in dilations))
    if both is not None:
        return functional.avg_pool2d(x, kernel_shape, strides, both, bool(ceil_mode), bool(count_include_pad))
    _refuse("AveragePool with such a padding and ceil_mode", bool(ceil_mode))
    average = functional.avg_pool2d(functional.pad(x, _torch_order(pads)), kernel_shape, strides)
    if count_include_pad:
        return average
    inside = functional.pad(torch.ones(1, 1, *x.shape[2:]), _torch_order(pads))
    return average / functional.avg_pool2d(inside, kernel_shape, strides)


def _global(x: Value, *, largest: bool = False) -> Value:
    x = tensor(x)
    axes = tuple(range(2, x.ndim))
    return x.amax(axes, keepdim=True) if largest else x.mean(axes, keepdim=True)


def _pad(x: Value, pads: Value, value: Value = None, axes: Value = None, *, mode: str = "constant") -> Tensor:
    from torch.nn import functional

    x, amounts = tensor(x), _numbers(pads)
    touched = [int(a) % x.ndim for a in _numbers(axes)] if axes is not None else list(range(x.ndim))
    every = [0] * 2 * x.ndim
    for i, axis in enumerate(touched):
        every[axis], every[axis + x.ndim] = amounts[i], amounts[i + len(touched)]
    edges = _torch_order(every)
    if mode == "constant":
        while len(edges) > 2 and edges[-2:] == [0, 0]:
            edges = edges[:-2]
        fill = 0.0 if value is None or value.size == 0 else float(_number(value))
        return functional.pad(x, edges, value=fill)
    _refuse(f"Pad with mode {mode}", mode not in ("reflect", "edge") or any(edges[4:]))
    return functional.pad(x, edges[:4], mode="reflect" if mode == "reflect" else "replicate")


def _resize(
    x: Value,
    roi: Value = None,
    scales: Value = None,
    sizes: Value = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    antialias: int = 0,
    cubic_coeff_a: float = -0.75,
    axes: list[int] | None = None,
    **how: Any,
) -> Tensor:
    """Resize height and width, in those of ONNX's many ways that torch has too."""
    from torch.nn import functional

    x = tensor(x)
    touched = [a % x.ndim for a in axes] if axes is not None else list(range(x.ndim))
    target = list(x.shape)
    if sizes is not None and sizes.size:
        asked = _numbers(sizes)
        factors = [asked[touched.index(a)] / target[a] if a in touched else 1.0 for a in (2, 3)]
        size = [asked[touched.index(a)] if a in touched else target[a] for a in (2, 3)]
    else:
        asked = _numbers(scales)
        factors = [float(asked[touched.index(a)]) if a in touched else 1.0 for a in (2, 3)]
        size = [math.floor(target[a] * factor + 1e-6) for a, factor in zip((2, 3), factors, strict=True)]
        _refuse(
            "Resize by a scale that gives no whole size",
            any(abs(target[a] * f - s) > 1e-3 for a, f, s in zip((2, 3), factors, size, strict=True)),
        )
    _refuse("Resize of a batch or of channels", x.ndim != 4)
    _refuse(
        "Resize with keep_aspect_ratio_policy", how.get("keep_aspect_ratio_policy", "stretch") != "stretch"
    )
    _refuse("Resize with exclude_outside", bool(how.get("exclude_outside")) and not antialias)
    way = coordinate_transformation_mode
    if mode == "nearest":
        exact = all(float(f).is_integer() for f in factors) and way in ("half_pixel", "pytorch_half_pixel")
        _refuse(
            f"Resize (nearest, {way}, {nearest_mode})",
            not exact and (way, nearest_mode) != ("asymmetric", "floor"),
        )
        return functional.interpolate(x, size=size, mode="nearest")
    corners = way == "align_corners"
    _refuse(f"Resize ({mode}, {way})", way not in ("half_pixel", "pytorch_half_pixel", "align_corners"))
    _refuse("Resize with such a cubic", mode == "cubic" and not math.isclose(cubic_coeff_a, -0.75))
    name = {"linear": "bilinear", "cubic": "bicubic"}[mode]
    return functional.interpolate(x, size=size, mode=name, align_corners=corners, antialias=bool(antialias))


def _depth_to_space(x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    x = tensor(x)
    n, c, h, w = x.shape
    b = blocksize
    if mode == "CRD":
        parts = x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // b**2, h * b, w * b)


def _space_to_depth(x: Value, *, blocksize: int) -> Value:
    x = tensor(x)
    n, c, h, w = x.shape
    b = blocksize
    return (
        x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)
    )


# normalisation


def _batch_norm(
    x: Value, scale: Value, bias: Value, mean: Value, variance: Value, *, epsilon: float = 1e-5, **how: Any
) -> Tensor:
    from torch.nn import functional

    x, weight, shift = tensor(x), tensor(scale), tensor(bias)
    return functional.batch_norm(x, tensor(mean), tensor(variance), weight, shift, eps=epsilon)


def _instance_norm(x: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5) -> Tensor:
    from torch.nn import functional

    return functional.instance_norm(tensor(x), weight=tensor(scale), bias=tensor(bias), eps=epsilon)


def _group_norm(
    x: Value, scale: Value, bias: Value, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    from torch.nn import functional

    x, scale, bias = tensor(x), tensor(scale), tensor(bias)
    each = x.shape[1] // scale.shape[0]  # opset 18 has one scale a group, 21 one a channel
    weights = (scale, bias) if each == 1 else (scale.repeat_interleave(each), bias.repeat_interleave(each))
    return functional.group_norm(x, num_groups, *weights, eps=epsilon)


def _layer_norm(
    x: Value, scale: Value, bias: Value = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    from torch.nn import functional

    x, scale = tensor(x), tensor(scale)
    shape = x.shape[axis % x.ndim :]
    bias = None if bias is None else tensor(bias).expand(shape)
    return functional.layer_norm(x, shape, scale.expand(shape), bias, eps=epsilon)


def _rms_norm(x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Value:
    x = tensor(x)
    axes = tuple(range(axis % x.ndim, x.ndim))
    return x * (x.square().mean(axes, keepdim=True) + epsilon).rsqrt() * tensor(scale)


def _lrn(x: Value, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    from torch.nn import functional

    return functional.local_response_norm(tensor(x), size, alpha, beta, bias)


def _softmax_2d(x: Value, *, axis: int = 1, log: bool = False) -> Value:
    """Before opset 13: over all dimensions from the axis on."""
    x = tensor(x)
    flat = x.flatten(axis % x.ndim)
    return (flat.log_softmax(-1) if log else flat.softmax(-1)).reshape(x.shape)


# matrices


def _gemm(a: Value, b: Value, c: Value = None, *, alpha: float = 1, beta: float = 1, **turned: int) -> Tensor:
    from torch.nn import functional

    a, b = tensor(a), tensor(b)
    a, b = a.mT if turned.get("transA") else a, b if turned.get("transB") else b.mT
    if alpha == 1 and beta == 1 and (c is None or (c.ndim == 1 and c.shape[0] == b.shape[0])):
        return functional.linear(a, b, None if c is None else tensor(c))
    product = functional.linear(a, b) * alpha
    return product if c is None else product + beta * tensor(c)


def _attention(q: Value, k: Value, v: Value, mask: Value = None, *past: Value, **how: Any) -> Tensor:
    from torch.nn import functional

    q, k, v = tensor(q), tensor(k), tensor(v)
    unusual = any(p is not None for p in past) or how.get("softcap") or how.get("qk_matmul_output_mode")
    _refuse("Attention with a past, a soft cap or further outputs", bool(unusual))
    flat = q.ndim == 3
    if flat:
        heads = [how["q_num_heads"], how["kv_num_heads"], how["kv_num_heads"]]
        q, k, v = (
            t.reshape(t.shape[0], t.shape[1], n, -1).transpose(1, 2)
            for t, n in zip((q, k, v), heads, strict=True)
        )
    _refuse("Attention with grouped heads", q.shape[1] != k.shape[1])
    answer = functional.scaled_dot_product_attention(
        q,
        k,
        v,
        None if mask is None else tensor(mask),
        0.0,
        bool(how.get("is_causal")),
        scale=how.get("scale"),
    )
    return answer.transpose(1, 2).flatten(2) if flat else answer


# shapes


def _shape(x: Value, *, start: int = 0, end: int | None = None) -> Host:
    sizes = list(x.shape)[start:end]
    whole = all(isinstance(size, int) for size in sizes)
    return np.array(sizes, dtype=np.int64 if whole else object)


def _reshape(x: Value, shape: Value, *, allowzero: int = 0) -> Value:
    asked = _numbers(shape)
    sizes = [x.shape[i] if s == 0 and not allowzero else s for i, s in enumerate(asked)]
    if isinstance(x, np.ndarray):
        return x.reshape(sizes)
    if -1 in sizes and any(not isinstance(d, int) for d in x.shape):
        sizes = _resolved(list(x.shape), sizes)
    return x.reshape(sizes)


def _resolved(shape: list[Any], sizes: list[Any]) -> list[Any]:
    """A -1 as a number where the free batch is kept in front: then it depends on the other sizes alone."""
    if sizes[0] is shape[0] or (not isinstance(sizes[0], int) and sizes[0] == shape[0]):
        rest = math.prod(s for s in sizes[1:] if s != -1)
        return [math.prod(shape[1:]) // rest if s == -1 else s for s in sizes]
    if sizes[0] == -1 and math.prod(sizes[1:]) == math.prod(shape[1:]):
        return [shape[0], *sizes[1:]]
    return sizes


def _flatten(x: Value, *, axis: int = 1) -> Value:
    axis = axis % x.ndim if axis < 0 else axis
    if axis == 1 and not isinstance(x, np.ndarray):
        return x.flatten(1)
    front = math.prod(x.shape[:axis])
    return x.reshape(front, math.prod(x.shape[axis:]))


def _squeeze(x: Value, axes: Value = None) -> Value:
    if axes is None:
        return x.squeeze()
    where = tuple(int(a) for a in _numbers(axes))
    return x.squeeze(where)


def _unsqueeze(x: Value, axes: Value) -> Value:
    rank = x.ndim + len(_numbers(axes))
    for axis in sorted(int(a) % rank for a in _numbers(axes)):
        x = np.expand_dims(x, axis) if isinstance(x, np.ndarray) else x.unsqueeze(axis)
    return x


def _transpose(x: Value, *, perm: list[int] | None = None) -> Value:
    order = perm if perm is not None else list(reversed(range(x.ndim)))
    return x.transpose(order) if isinstance(x, np.ndarray) else x.permute(order)


def _concat(*values: Value, axis: int) -> Value:
    import torch

    if _host(*values):
        return np.concatenate(values, axis)
    return torch.cat([tensor(v) for v in values], dim=axis)


def _split(
    x: Value, split: Value = None, *, axis: int = 0, num_outputs: int = 0, count: int
) -> tuple[Value, ...]:
    if split is None:
        each = math.ceil(x.shape[axis] / (num_outputs or count))
        sizes = [each] * ((num_outputs or count) - 1)
        sizes.append(x.shape[axis] - sum(sizes))
    else:
        sizes = [int(s) for s in _numbers(split)]
    if isinstance(x, np.ndarray):
        return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))
    return tuple(x.split(sizes, dim=axis))


def _slice(x: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    begin, stop = _numbers(starts), _numbers(ends)
    along = _numbers(axes) if axes is not None else range(len(begin))
    step = _numbers(steps) if steps is not None else [1] * len(begin)
    for b, e, a, s in zip(begin, stop, along, step, strict=True):
        axis = int(a) % x.ndim
        if isinstance(x, np.ndarray):
            x = x[(*[slice(None)] * axis, slice(b, e, s))]
        elif s == -1 and b in (-1, x.shape[axis] - 1) and e < -x.shape[axis]:
            x = x.flip(axis)
        else:
            _refuse(f"Slice with step {s}", s < 1)
            size = x.shape[axis]
            e = size if isinstance(size, int) and isinstance(e, int) and e > size else e
            x = x[(*[slice(None)] * axis, slice(b, e, s))]
    return x


def _gather(x: Value, indices: Value, *, axis: int = 0) -> Value:
    if _host(x, indices):
        return np.take(x, indices.astype(np.int64), axis)
    x, axis = tensor(x), axis % x.ndim
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        return x.select(axis, int(indices))
    chosen = tensor(indices)
    chosen = (
        chosen.where(chosen >= 0, chosen + x.shape[axis])
        if not isinstance(indices, np.ndarray)
        else (tensor(np.where(indices < 0, indices + x.shape[axis], indices).astype(np.int64)))
    )
    picked = x.index_select(axis, chosen.reshape(-1))
    return picked.reshape(*x.shape[:axis], *chosen.shape, *x.shape[axis + 1 :])


def _expand(x: Value, shape: Value) -> Value:
    sizes = _numbers(shape)
    if isinstance(x, np.ndarray):
        _small(sizes)
        return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(sizes)))
    have = [1] * (len(sizes) - x.ndim) + list(x.shape)
    want = [1] * (len(have) - len(sizes)) + sizes
    return x.expand([h if isinstance(w, int) and w == 1 else w for h, w in zip(have, want, strict=True)])


def _tile(x: Value, repeats: Value) -> Value:
    times = _numbers(repeats)
    return np.tile(x, times) if isinstance(x, np.ndarray) else x.repeat(times)


def _small(sizes: list[Any]) -> None:
    if math.prod(s for s in sizes if isinstance(s, int)) > _LARGEST:
        raise OperatorError(f"it asks for a tensor of shape {tuple(sizes)}, more than any classifier needs")


def _constant_of_shape(shape: Value, *, value: Any = None) -> Value:
    import torch

    fill = np.zeros(1, np.float32) if value is None else value
    sizes = _numbers(shape)
    _small(sizes)
    if fill.dtype.kind in "iub" and all(isinstance(s, int) for s in sizes):
        return np.full(sizes, fill.reshape(-1)[0])
    dtype = torch.float32 if fill.dtype.kind == "f" else torch.int64
    return torch.full(sizes, fill.reshape(-1)[0].item(), dtype=dtype)


def _range(start: Value, limit: Value, delta: Value) -> Value:
    import torch

    bounds = [_number(v) for v in (start, limit, delta)]
    if all(isinstance(b, (int, float)) for b in bounds):
        _small([int(abs((bounds[1] - bounds[0]) / bounds[2])) + 1])
        return np.arange(*bounds)
    return torch.arange(*bounds)


def _reduce(on_host: Callable[..., Any], name: str) -> Callable[..., Value]:
    def compute(x: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
        along = [] if axes is None else [int(a) for a in _numbers(axes)]
        if not along and noop_with_empty_axes:
            return x
        if isinstance(x, np.ndarray) and x.dtype.kind in "iuO":
            return np.asarray(on_host(x, axis=tuple(along) or None, keepdims=bool(keepdims)))
        x = tensor(x)
        return getattr(x, name)(along or list(range(x.ndim)), keepdim=bool(keepdims))

    return compute


def _reduce_prod(x: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
    along = range(x.ndim) if axes is None else [int(a) % x.ndim for a in _numbers(axes)]
    if isinstance(x, np.ndarray):
        return np.asarray(np.prod(x, axis=tuple(along), keepdims=bool(keepdims)))
    for axis in sorted(along, reverse=True):
        x = x.prod(axis, keepdim=bool(keepdims))
    return x


def _reduce_l2(x: Value, axes: Value = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Value:
    x = tensor(x)
    along = list(range(x.ndim)) if axes is None else [int(a) for a in _numbers(axes)]
    return x.square().sum(along, keepdim=bool(keepdims)).sqrt()


def _einsum(*values: Value, equation: str) -> Tensor:
    import torch

    return torch.einsum(equation.replace(" ", ""), *[tensor(v) for v in values])


def _identity(x: Value, *ignored: Value, **how: Any) -> Value:
    return x


def _along(name: str) -> Callable[..., Tensor]:
    return lambda x, *, axis=-1: getattr(tensor(x), name)(axis)


HOST_INPUTS = {
    "Clip": {1, 2},
    "Pad": {1, 2, 3},
    "Pow": {1},
    "Range": {0, 1, 2},
    "Resize": {1, 2, 3},
}
"""The inputs that must be numbers although ONNX has them as (float) tensors, by position."""

OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": _each("abs"),
    "Add": _pair(np.add, lambda a, b: a + b),
    "And": _pair(np.logical_and, lambda a, b: a & b),
    "Attention": _attention,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Ceil": _each("ceil"),
    "Celu": _activation("celu", alpha="alpha"),
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": _each("cos"),
    "DepthToSpace": _depth_to_space,
    "Div": _pair(_divide_hosts, _divide),
    "Dropout": _identity,
    "Einsum": _einsum,
    "Elu": _activation("elu", alpha="alpha"),
    "Equal": _pair(lambda a, b: a == b, lambda a, b: a == b),
    "Erf": _each("erf"),
    "Exp": _each("exp"),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _each("floor"),
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global,
    "GlobalMaxPool": lambda x: _global(x, largest=True),
    "Greater": _pair(lambda a, b: a > b, lambda a, b: a > b),
    "GreaterOrEqual": _pair(lambda a, b: a >= b, lambda a, b: a >= b),
    "GroupNormalization": _group_norm,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _activation("hardswish"),
    "Identity": _identity,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda x, *, alpha=0.01: _activation("leaky_relu", alpha="negative_slope")(x, alpha=alpha),
    "Less": _pair(lambda a, b: a < b, lambda a, b: a < b),
    "LessOrEqual": _pair(lambda a, b: a <= b, lambda a, b: a <= b),
    "Log": _each("log"),
    "LogSoftmax": _along("log_softmax"),
    "LogSoftmax-11": lambda x, *, axis=1: _softmax_2d(x, axis=axis, log=True),
    "MatMul": lambda a, b: tensor(a) @ tensor(b),
    "Max": _fold(np.maximum, "maximum"),
    "MaxPool": _max_pool,
    "Mean": lambda *values: sum(tensor(v) for v in values) / len(values),
    "Min": _fold(np.minimum, "minimum"),
    "Mish": _activation("mish"),
    "Mod": _pair(lambda a, b: a % b, lambda a, b: a % b),
    "Mul": _pair(lambda a, b: a * b, lambda a, b: a * b),
    "Neg": lambda x: -x,
    "Not": lambda x: np.logical_not(x) if isinstance(x, np.ndarray) else ~x,
    "Or": _pair(np.logical_or, lambda a, b: a | b),
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _pow,
    "RMSNormalization": _rms_norm,
    "Range": _range,
    "Reciprocal": _each("reciprocal"),
    "ReduceL2": _reduce_l2,
    "ReduceMax": _reduce(np.max, "amax"),
    "ReduceMean": _reduce(np.mean, "mean"),
    "ReduceMin": _reduce(np.min, "amin"),
    "ReduceProd": _reduce_prod,
    "ReduceSum": _reduce(np.sum, "sum"),
    "Relu": _each("relu"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": _each("round"),
    "Selu": _selu,
    "Shape": _shape,
    "Sigmoid": _each("sigmoid"),
    "Sin": _each("sin"),
    "Size": lambda x: np.asarray(math.prod(x.shape)),
    "Slice": _slice,
    "Softmax": _along("softmax"),
    "Softmax-11": _softmax_2d,
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Sqrt": _each("sqrt"),
    "Squeeze": _squeeze,
    "Sub": _pair(lambda a, b: a - b, lambda a, b: a - b),
    "Sum": _fold(np.add, "add"),
    "Swish": lambda x, *, alpha=1.0: tensor(x) * (tensor(x) * alpha).sigmoid(),
    "Tanh": _each("tanh"),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
"""Every operator that is read, by its name; "-11" marks the meaning before opset 13."""
