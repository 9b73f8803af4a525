"""An ONNX graph as a module of torch: every node is computed in order, which torch.export can trace."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from udacimed_edge.source.onnx_operators import HOST_INPUTS, OPERATORS, OperatorError, tensor

__all__ = ["OnnxGraph"]


_KEEPING = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout")
"""Operators that change no number."""

_CHOOSING = ("Slice", "Gather", "Expand", "Split", "Transpose", "Neg")
_COMBINING = ("Concat", "Add", "Sub", "Mul")
"""Operators after which the outputs of a linear layer are no probabilities yet."""


@dataclass(frozen=True)
class _Node:
    """One operator with the names of its inputs ("" where one is left out) and outputs."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def needs(self) -> set[str]:
        """All names that must be known before, those of the branches of an `If` too."""
        branches = [v for v in self.attributes.values() if isinstance(v, _Branch)]
        inner = {name for branch in branches for node in branch.nodes for name in node.needs}
        made = {name for branch in branches for node in branch.nodes for name in node.outputs}
        own = {name for branch in branches for name in branch.constants}
        return (set(self.inputs) | inner | {n for b in branches for n in b.outputs}) - made - own - {""}


@dataclass(frozen=True)
class _Branch:
    """A graph inside a node: one arm of an `If`."""

    nodes: tuple[_Node, ...]
    outputs: tuple[str, ...]
    constants: dict[str, NDArray[Any]]


class OnnxGraph(torch.nn.Module):
    """A graph of one input and one output.

    What follows from constants alone is computed once, here. Of float constants those that remain become
    buffers; integers, and what an operator needs as numbers, stay numpy arrays.

    Args:
        graph: The graph, its local functions expanded, its external data loaded.
        opset: The version of the standard operators.
        input_name: The name of the image.

    Raises:
        OperatorError: An operator is not known.
    """

    def __init__(self, graph: onnx.GraphProto, opset: int, input_name: str) -> None:
        super().__init__()
        whole = _branch(graph, opset)
        self.input_name, self.output_name = input_name, whole.outputs[0]
        self.constants = dict(whole.constants)
        self.nodes = self._folded(whole.nodes)
        self._add_buffers()

    def _folded(self, nodes: Sequence[_Node]) -> list[_Node]:
        """The nodes that depend on the image; the results of all others become constants."""
        left = []
        for node in nodes:
            if node.operator != "If" and node.needs <= self.constants.keys():
                values = _compute(node, {name: self.constants[name] for name in node.needs})
                for name, value in zip(node.outputs, values, strict=False):
                    self.constants[name] = value.numpy() if isinstance(value, Tensor) else value
            else:
                left.append(self._with_plain_weight(node))
        needed = {self.output_name}
        used = []
        for node in reversed(left):
            if needed & set(node.outputs):
                used.append(node)
                needed |= node.needs
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        return used[::-1]

    def _with_plain_weight(self, node: _Node) -> _Node:
        """A product with a constant matrix as torch's linear layer has it, which every format knows."""
        if node.operator not in ("Gemm", "MatMul") or node.attributes.get("transB"):
            return node
        weight = self.constants.get(node.inputs[1])
        if weight is None or weight.ndim != 2:
            return node
        name = f"{node.inputs[1]}_transposed"
        self.constants[name] = np.ascontiguousarray(weight.T)
        inputs = (node.inputs[0], name, *node.inputs[2:])
        return _Node("Gemm", inputs, node.outputs, {**node.attributes, "transB": 1})

    def _add_buffers(self) -> None:
        """Register the float constants that operators take as tensors."""
        self.buffer_of: dict[str, str] = {}
        branches = [v for n in self.nodes for v in n.attributes.values() if isinstance(v, _Branch)]
        for node in [*self.nodes, *(inner for branch in branches for inner in branch.nodes)]:
            for position, name in enumerate(node.inputs):
                value = self.constants.get(name)
                is_host = position in HOST_INPUTS.get(node.operator, ())
                if (
                    value is not None
                    and value.dtype.kind == "f"
                    and not is_host
                    and name not in self.buffer_of
                ):
                    self.buffer_of[name] = f"weight_{len(self.buffer_of)}"
                    self.register_buffer(self.buffer_of[name], torch.from_numpy(np.array(value)))

    def without_ending(self) -> tuple[str | None, OnnxGraph | None]:
        """The operator that the answer comes from; the graph without it where it is a sigmoid or softmax."""
        made_by = {out: node for node in self.nodes for out in node.outputs}
        name, node = self.output_name, made_by.get(self.output_name)
        while node is not None and node.operator in _KEEPING:
            name = node.inputs[0]
            node = made_by.get(name)
        if node is None:
            return None, None
        if node.operator not in ("Sigmoid", "Softmax", "Softmax-11"):
            return ("Gemm" if self._is_linear(name, made_by) else node.operator), None
        plain = copy.copy(self)
        same = _Node("Identity", node.inputs, node.outputs, {})
        plain.nodes = [same if n is node else n for n in self.nodes]
        return node.operator.removesuffix("-11"), plain

    def _is_linear(self, name: str, made_by: dict[str, _Node]) -> bool:
        """Whether a value is put together from constants and the results of linear layers alone."""
        node = made_by.get(name)
        if node is None:
            return name in self.constants
        if node.operator in ("Gemm", "MatMul", "Conv", "ConstantOfShape"):
            return True
        inputs = node.inputs if node.operator in _COMBINING else node.inputs[:1]
        known = node.operator in (*_COMBINING, *_KEEPING, *_CHOOSING)
        return known and all(self._is_linear(each, made_by) for each in inputs)

    def forward(self, image: Tensor) -> Tensor:
        """Float32 of the graph's input shape to its output."""
        known: dict[str, Any] = {**self.constants, self.input_name: image}
        buffers = {name: getattr(self, buffer) for name, buffer in self.buffer_of.items()}
        _run(self.nodes, known, buffers)
        answer = known[self.output_name]
        return tensor(answer)


def _run(nodes: Sequence[_Node], known: dict[str, Any], buffers: dict[str, Tensor]) -> None:
    for node in nodes:
        if node.operator == "If":
            condition = np.asarray(known[node.inputs[0]]).reshape(-1)[0]
            branch = node.attributes["then_branch" if bool(condition) else "else_branch"]
            inside = {**known, **branch.constants}
            _run(branch.nodes, inside, buffers)
            values: Sequence[Any] = [inside[name] for name in branch.outputs]
        else:
            hosts = HOST_INPUTS.get(node.operator, set())
            given = {
                name: buffers[name] if name in buffers and position not in hosts else known[name]
                for position, name in enumerate(node.inputs)
                if name
            }
            values = _compute(node, given)
        known.update(zip(node.outputs, values, strict=False))


def _compute(node: _Node, given: dict[str, Any]) -> Sequence[Any]:
    """The outputs of one node.

    Raises:
        OperatorError: The operator cannot do what is asked; named with its node.
    """
    operator = OPERATORS[node.operator]
    extra = {"count": len(node.outputs)} if node.operator == "Split" else {}
    try:
        result = operator(*[given[n] if n else None for n in node.inputs], **node.attributes, **extra)
    except OperatorError as error:
        raise OperatorError(f"{error} (the node of '{node.outputs[0]}')") from error
    return [_as_value(r) for r in (result if isinstance(result, tuple) else (result,))]


def _as_value(result: Any) -> Any:
    """What numpy makes of one element, a plain number, as an array again."""
    if isinstance(result, (Tensor, np.ndarray)):
        return result
    return np.asarray(result) if isinstance(result, (np.generic, int, float)) else np.asarray(result, object)


def _branch(graph: onnx.GraphProto, opset: int) -> _Branch:
    """A graph's nodes and constants.

    Raises:
        OperatorError: An operator is not known.
    """
    constants = {t.name: _array(t) for t in graph.initializer}
    nodes = []
    for proto in graph.node:
        attributes = {a.name: _attribute(a, opset) for a in proto.attribute}
        if proto.op_type == "Constant":
            constants[proto.output[0]] = _constant(attributes)
            continue
        name = proto.op_type
        if name in ("Softmax", "LogSoftmax") and opset < 13:
            name += "-11"
        if proto.domain not in ("", "ai.onnx") or (name != "If" and name not in OPERATORS):
            full = f"{proto.domain}.{name}".lstrip(".")
            raise OperatorError(f"the operator {full} is not supported")
        nodes.append(_Node(name, tuple(proto.input), tuple(proto.output), attributes))
    return _Branch(tuple(nodes), tuple(o.name for o in graph.output), constants)


def _array(proto: onnx.TensorProto) -> NDArray[Any]:
    """A tensor's content; every kind of float as float32."""
    array = numpy_helper.to_array(proto)
    floats = (onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)
    return array.astype(np.float32) if proto.data_type in floats else array


def _attribute(attribute: onnx.AttributeProto, opset: int) -> Any:
    if attribute.type == onnx.AttributeProto.GRAPH:
        return _branch(attribute.g, opset)
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _array(attribute.t)
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _constant(attributes: dict[str, Any]) -> NDArray[Any]:
    (name, value), *_ = attributes.items()
    if name == "value":
        return np.asarray(value)
    if name in ("value_float", "value_floats"):
        return np.asarray(value, dtype=np.float32)
    if name in ("value_int", "value_ints"):
        return np.asarray(value, dtype=np.int64)
    raise OperatorError(f"a constant of kind {name} is not supported")
