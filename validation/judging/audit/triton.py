"""Counts what a Triton repository holds: its ONNX model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from udacimed_edge.runtime.triton import MODEL
from udacimed_edge.validation.judging.audit.base import Operation, count_elements
from udacimed_edge.validation.judging.audit.onnx_nodes import Node, Value, node_operations

__all__ = ["operations", "weight_dtypes"]


def weight_dtypes(path: Path) -> dict[str, int]:
    """Weight elements per type."""
    return count_elements(_tensors(path))


def operations(path: Path) -> Iterator[Operation]:
    """Each node of the model, its shapes inferred."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(path / MODEL)).graph
    name = onnx.TensorProto.DataType.Name
    values = {tensor.name: Value(name(tensor.data_type).lower(), tensor.dims) for tensor in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        sizes = [dim.dim_value or 1 for dim in kind.shape.dim]
        values[info.name] = Value(name(kind.elem_type).lower(), sizes)
    nodes = (Node(node.op_type, list(node.input), list(node.output)) for node in graph.node)
    yield from node_operations(nodes, values, path)


def _tensors(path: Path) -> Iterator[tuple[str, Sequence[int]]]:
    """Initializers of the ONNX model in a Triton repository."""
    import onnx

    for tensor in onnx.load(path / MODEL).graph.initializer:
        yield onnx.TensorProto.DataType.Name(tensor.data_type).lower(), tensor.dims
