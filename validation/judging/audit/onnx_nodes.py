"""The work of ONNX nodes, for the formats that consist of them: ORT and Triton."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.judging.audit.base import Operation, computed_in, convolution_macs

__all__ = ["Node", "Value", "node_operations"]


class Value(NamedTuple):
    """An ONNX value's type and shape, a dimension that is left open (the batch) as 1."""

    dtype: str
    shape: list[int]


class Node(NamedTuple):
    """An ONNX node: its operator, the names of its values."""

    kind: str
    inputs: list[str]
    outputs: list[str]


_WEIGHT = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "QLinearConv": 3}
"""Which input of a convolution holds its weight, whose first dimension is the output's channels."""

_PRODUCTS = {"Gemm", "MatMul", "FusedMatMul", "FusedGemm", "QGemm", "QLinearMatMul"}


def node_operations(nodes: Iterable[Node], values: Mapping[str, Value], path: Path) -> Iterator[Operation]:
    """Each node's operator, type and work.

    Args:
        nodes: The graph's nodes.
        values: What is known of its values, by name.
        path: The artifact, for errors.

    Raises:
        InputError: The shape of a value that the work depends on is not among `values`.
    """
    for node in nodes:
        try:
            first, output = values[node.inputs[0]], values[node.outputs[0]]
            count = 0
            if node.kind in _WEIGHT:
                weight = values[node.inputs[_WEIGHT[node.kind]]].shape
                count = convolution_macs(weight, output.shape, weight[0])
            elif node.kind in _PRODUCTS:
                count = math.prod(output.shape) * first.shape[-1]
        except KeyError as error:
            raise InputError(f"{path} does not say the shape of {error} ({node.kind})") from error
        yield Operation(node.kind, computed_in(first.dtype), count)
