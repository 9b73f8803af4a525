"""What the counting of every format shares: the names of types, elements of weights, a convolution's work."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Operation", "computed_in", "convolution_macs", "count_elements"]

_PRECISIONS = {
    "float32": "fp32",
    "float": "fp32",
    "f32": "fp32",
    "float16": "fp16",
    "f16": "fp16",
    "i8": "int8",
}
"""How the libraries call a type, and how a precision is called here; other types keep their name."""

_COMPUTED = {**_PRECISIONS, "uint8": "int8", "uint16": "int16", "u8": "int8"}
"""How a factor's type is called; whether it has a sign makes no difference to the work."""

_NOT_WEIGHTS = {"int32", "int64", "i32", "i64"}
"""Indices, paddings and shapes."""


class Operation(NamedTuple):
    """One operator: its name in the format, the type it computes in, its multiply-accumulates."""

    kind: str
    dtype: str
    macs: int = 0


def count_elements(tensors: Iterable[tuple[str, Sequence[int]]]) -> dict[str, int]:
    """Elements per type, over all tensors that are more than a vector.

    Args:
        tensors: Of each stored tensor its type, as the format's library calls it, and its shape.
    """
    counts: Counter[str] = Counter()
    for dtype, shape in tensors:
        elements = math.prod(shape)
        if dtype not in _NOT_WEIGHTS and elements > max(shape, default=1):
            counts[_PRECISIONS.get(dtype, dtype)] += elements
    return dict(counts)


def computed_in(dtype: str) -> str:
    """How a factor's type is called here, from what the format's library calls it."""
    return _COMPUTED.get(dtype, dtype)


def convolution_macs(weight: Sequence[int], output: Sequence[int], channels: int) -> int:
    """Multiply-accumulates of a convolution with that weight and that number of output channels."""
    return math.prod(output) // channels * math.prod(weight)
