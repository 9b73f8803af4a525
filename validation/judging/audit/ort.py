"""Counts what an `.ort` file holds: the ORT-format flatbuffer, by onnxruntime's own schema."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from udacimed_edge.validation.judging.audit.base import Operation, count_elements
from udacimed_edge.validation.judging.audit.onnx_nodes import Node, Value, node_operations

__all__ = ["operations", "weight_dtypes"]


def weight_dtypes(path: Path) -> dict[str, int]:
    """Weight elements per type."""
    return count_elements(_tensors(path))


def operations(path: Path) -> Iterator[Operation]:
    """Each operator of the graph, as onnxruntime fused them."""
    graph, names = _graph(path)
    from ort_flatbuffers_py.fbs.TensorTypeAndShape import TensorTypeAndShape

    values = {}
    for argument in map(graph.NodeArgs, range(graph.NodeArgsLength())):
        if argument.Type() is None:  # an optional input that is left out
            continue
        table, tensor = argument.Type().Value(), TensorTypeAndShape()
        tensor.Init(table.Bytes, table.Pos)
        if tensor.Shape() is not None:
            dims = [tensor.Shape().Dim(i).Value() for i in range(tensor.Shape().DimLength())]
            sizes = [dim.DimValue() if dim.DimParam() is None else 1 for dim in dims]
            values[argument.Name().decode()] = Value(names[tensor.ElemType()], sizes)
    nodes = (
        Node(
            node.OpType().decode(),
            [node.Inputs(i).decode() for i in range(node.InputsLength())],
            [node.Outputs(i).decode() for i in range(node.OutputsLength())],
        )
        for node in map(graph.Nodes, range(graph.NodesLength()))
    )
    yield from node_operations(nodes, values, path)


def _tensors(path: Path) -> Iterator[tuple[str, Sequence[int]]]:
    """Initializers of the ORT-format flatbuffer."""
    graph, names = _graph(path)
    for tensor in map(graph.Initializers, range(graph.InitializersLength())):
        yield names[tensor.DataType()], [tensor.Dims(i) for i in range(tensor.DimsLength())]


def _graph(path: Path) -> tuple[Any, dict[int, str]]:
    """The graph of an ORT-format flatbuffer, read with onnxruntime's own schema, and its types by number."""
    import onnxruntime

    # Its modules import each other by their bare names, and their package would import all of PyTorch.
    schema_folder = str(Path(onnxruntime.__file__).parent / "tools" / "ort_format_model")
    if schema_folder not in sys.path:
        sys.path.append(schema_folder)
    from ort_flatbuffers_py.fbs.InferenceSession import InferenceSession
    from ort_flatbuffers_py.fbs.TensorDataType import TensorDataType

    names = {value: name.lower() for name, value in vars(TensorDataType).items() if name.isupper()}
    return InferenceSession.GetRootAs(path.read_bytes(), 0).Model().Graph(), names
