"""Counts what an OpenVINO IR holds, as its files say: before any plugin has fused anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.validation.judging.audit.base import (
    Operation,
    computed_in,
    convolution_macs,
    count_elements,
)

__all__ = ["operations", "weight_dtypes"]


def weight_dtypes(path: Path) -> dict[str, int]:
    """Weight elements per type."""
    return count_elements(_tensors(path))


def operations(path: Path) -> Iterator[Operation]:
    """Each operator that computes on the image; a product is integer where both factors are."""
    import openvino

    model = openvino.Core().read_model(path)
    model.reshape([1, 1, SIDE, SIDE])
    constant: set[str] = set()
    for node in model.get_ordered_ops():
        kind, sources = node.get_type_name(), [source.get_node() for source in node.input_values()]
        if kind == "Constant" or (sources and {s.get_friendly_name() for s in sources} <= constant):
            constant.add(node.get_friendly_name())  # the scaling of weights is no work for an image
            continue
        if kind in {"Parameter", "Result"}:
            continue
        output = list(node.get_output_shape(0))
        dtype, count = node.get_input_element_type(0).get_type_name(), 0
        if kind in {"Convolution", "GroupConvolution"}:
            count = convolution_macs(node.get_input_shape(1), output, output[1])
        elif kind == "MatMul":
            depth = -2 if node.get_attributes()["transpose_a"] else -1
            count = math.prod(output) * node.get_input_shape(0)[depth]
        if count and (bits := max(map(_bits, sources, _PASSES_ON))) < 32:
            dtype = f"int{bits}"
        yield Operation(kind, computed_in(dtype), count)


_PASSES_ON = (
    {"MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"},
    {"Convert", "Multiply", "Reshape", "Subtract", "Transpose"},
)
"""What integers pass through on their way to a product: activations unchanged, weights on being scaled."""


def _bits(node: Any, passes_on: set[str]) -> int:
    """Bits of an operand: those of the FakeQuantize it comes from, or of stored integers; 32 for float."""
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        return 8 if node.get_attributes()["levels"] <= 1 << 8 else 16
    if kind == "Constant":
        return 8 if node.get_element_type().get_type_name() in {"i8", "u8"} else 32
    return _bits(node.input_value(0).get_node(), passes_on) if kind in passes_on else 32


def _tensors(path: Path) -> Iterator[tuple[str, Sequence[int]]]:
    """Constants of the IR, as they are stored."""
    import openvino

    for operation in openvino.Core().read_model(path).get_ordered_ops():
        if operation.get_type_name() == "Constant":
            yield operation.get_element_type().get_type_name(), list(operation.get_output_shape(0))
