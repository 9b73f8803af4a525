"""Counts what a `.tflite` file holds: the flatbuffer, by LiteRT's own schema."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

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
    """Each operator of every subgraph."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator, Model, TensorType

    kinds = {value: name for name, value in vars(BuiltinOperator).items() if name.isupper()}
    types = {value: name.lower() for name, value in vars(TensorType).items() if name.isupper()}
    model = Model.GetRootAs(path.read_bytes())
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            kind = kinds[model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()]
            tensors = [graph.Tensors(operator.Inputs(i)) for i in range(min(2, operator.InputsLength()))]
            shapes = [[int(tensor.Shape(i)) for i in range(tensor.ShapeLength())] for tensor in tensors]
            output = graph.Tensors(operator.Outputs(0))
            made = [int(output.Shape(i)) for i in range(output.ShapeLength())]
            dtype = types[tensors[0].Type()]
            yield Operation(kind, computed_in(dtype), _macs(kind, shapes, made))


def _macs(kind: str, inputs: list[list[int]], output: list[int]) -> int:
    """Weights lie as (outputs, height, width, inputs), depthwise ones as (1, height, width, outputs)."""
    if kind in {"CONV_2D", "DEPTHWISE_CONV_2D"}:
        return convolution_macs(inputs[1], output, output[-1])
    if kind in {"FULLY_CONNECTED", "BATCH_MATMUL"}:
        return math.prod(output) * inputs[0][-1]
    return 0


def _tensors(path: Path) -> Iterator[tuple[str, Sequence[int]]]:
    """Tensors that have bytes in the flatbuffer."""
    from ai_edge_litert.schema_py_generated import Model, TensorType

    names = {value: name.lower() for name, value in vars(TensorType).items() if name.isupper()}
    model = Model.GetRootAs(path.read_bytes())
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            if model.Buffers(tensor.Buffer()).DataLength():
                yield names[tensor.Type()], [tensor.Shape(i) for i in range(tensor.ShapeLength())]
