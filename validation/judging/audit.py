"""Which number types an artifact really holds and computes in, counted in its own tensors and operators."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.runtime.triton import MODEL

__all__ = ["ComputeCost", "count_macs", "weight_dtypes"]

_PRECISIONS = {
    "float32": "fp32",
    "float": "fp32",
    "f32": "fp32",
    "float16": "fp16",
    "f16": "fp16",
    "i8": "int8",
}
"""How the libraries call a type, and how a precision is called here; other types keep their name."""

_NOT_WEIGHTS = {"int32", "int64", "i32", "i64"}
"""Indices, paddings and shapes."""

Tensors = Iterable[tuple[str, Sequence[int]]]


def weight_dtypes(path: Path) -> dict[str, int]:
    """Weight elements per type, over all tensors that are more than a vector.

    Biases and scales, one number per channel, stay wider in every INT8 format and are left out.

    Args:
        path: The artifact.

    Returns:
        Number of elements by type: "fp32", "fp16", "int8" and others as the format names them.
    """
    if path.suffix == ".mlpackage":
        from udacimed_edge.validation.coreml import executor as mil

        return mil.weight_dtypes(path)
    readers: dict[str, Callable[[Path], Tensors]] = {
        ".ort": _ort_tensors,
        ".tflite": _litert_tensors,
        ".xml": _openvino_tensors,
        ".triton": _triton_tensors,
    }
    counts: Counter[str] = Counter()
    for dtype, shape in readers[path.suffix](path):
        elements = math.prod(shape)
        if dtype not in _NOT_WEIGHTS and elements > max(shape, default=1):
            counts[_PRECISIONS.get(dtype, dtype)] += elements
    return dict(counts)


def _ort_tensors(path: Path) -> Tensors:
    """Initializers of the ORT-format flatbuffer."""
    graph, names = _ort_graph(path)
    for tensor in map(graph.Initializers, range(graph.InitializersLength())):
        yield names[tensor.DataType()], [tensor.Dims(i) for i in range(tensor.DimsLength())]


def _ort_graph(path: Path) -> tuple[Any, dict[int, str]]:
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


def _litert_tensors(path: Path) -> Tensors:
    """Tensors that have bytes in the flatbuffer."""
    from ai_edge_litert.schema_py_generated import Model, TensorType

    names = {value: name.lower() for name, value in vars(TensorType).items() if name.isupper()}
    model = Model.GetRootAs(path.read_bytes())
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            if model.Buffers(tensor.Buffer()).DataLength():
                yield names[tensor.Type()], [tensor.Shape(i) for i in range(tensor.ShapeLength())]


def _openvino_tensors(path: Path) -> Tensors:
    """Constants of the IR, as they are stored."""
    import openvino

    for operation in openvino.Core().read_model(path).get_ordered_ops():
        if operation.get_type_name() == "Constant":
            yield operation.get_element_type().get_type_name(), list(operation.get_output_shape(0))


def _triton_tensors(path: Path) -> Tensors:
    """Initializers of the ONNX model in a Triton repository."""
    import onnx

    for tensor in onnx.load(path / MODEL).graph.initializer:
        yield onnx.TensorProto.DataType.Name(tensor.data_type).lower(), tensor.dims


# ComputeCost: operators and multiply-accumulates


@dataclass(frozen=True)
class ComputeCost:
    """What computing one image takes, by the type it is computed in: "int8", "fp16", "fp32" and others.

    INT8 sums in 32 bits in every format; what is meant is the type of the factors. "int16" is an activation
    of 16 bits times a weight of 8. Core ML multiplies in float16 or float32 whatever the weights are stored
    in: there the type is that of the stored weights.

    Attributes:
        operators: Number of operators.
        macs: Multiply-accumulates of convolutions and matrix products; those of a convolution are its
            output's elements times input channels of a group times the kernel's area.
    """

    operators: dict[str, int]
    macs: dict[str, int]


class Operation(NamedTuple):
    """One operator: its name in the format, the type it computes in, its multiply-accumulates."""

    kind: str
    dtype: str
    macs: int = 0


def count_macs(path: Path) -> ComputeCost:
    """Count an artifact's operators and multiply-accumulates.

    Args:
        path: The artifact.

    Raises:
        InputError: It holds an operator whose work is not known here, or does not say its shapes.
    """
    readers: dict[str, Callable[[Path], Iterator[Operation]]] = {
        ".ort": _ort_operations,
        ".tflite": _litert_operations,
        ".xml": _openvino_operations,
        ".mlpackage": _coreml_operations,
        ".triton": _triton_operations,
    }
    known = set(_NO_PRODUCTS.split())
    operators: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    unknown = set()
    for kind, dtype, count in readers[path.suffix](path):
        if not count and kind.lower().replace("_", "") not in known:
            unknown.add(kind)
        operators[dtype] += 1
        macs[dtype] += count
    if unknown:
        raise InputError(
            f"{path} computes with operators whose work is not known here: {', '.join(sorted(unknown))}",
            "it cannot be shown in which type it computes, so it is not judged",
        )
    return ComputeCost(dict(operators), dict(+macs))


_NO_PRODUCTS = """
abs add argmax averagepool averagepool2d avgpool batchnorm batchnormalization broadcast cast ceil clamp
classify clip concat concatenation convert convertlike dequantize dequantizelinear div divide dropout elu
equal erf exp expand expanddims fakequantize flatten floor gather gelu globalaveragepool globalmaxpool
greater greaterequal hardsigmoid hardswish hsigmoid hswish identity layernorm layernormalization leakyrelu
less log logistic max maximum maxpool maxpool2d mean min minimum mul multiply mvn neg nhwcmaxpool pack pad
padv2 pow power prelu qlinearadd qlinearaveragepool qlinearconcat qlinearglobalaveragepool
qlinearleakyrelu qlinearmul qlinearreducemean qlinearsigmoid qlinearsoftmax quantize quantizelinear
quickgelu realdiv reduceall reducemax reducemean reducesum relu relu0to1 relu6 reshape round rsqrt select
shape shapeof sigmoid silu slice softmax split splitv sqrt square squareddifference squeeze stack
stridedslice sub subtract sum swish tanh tile transpose unsqueeze where
"""
"""Operators of all formats without a matrix product, in small letters: what vision networks consist of.
Any other is refused, since it might do most of the work."""


def _convolution(weight: Sequence[int], output: Sequence[int], channels: int) -> int:
    """Multiply-accumulates of a convolution with that weight and that number of output channels."""
    return math.prod(output) // channels * math.prod(weight)


# ONNX and ONNX Runtime


class _Value(NamedTuple):
    """An ONNX value's type and shape, a dimension that is left open (the batch) as 1."""

    dtype: str
    shape: list[int]


class _Node(NamedTuple):
    """An ONNX node: its operator, the names of its values."""

    kind: str
    inputs: list[str]
    outputs: list[str]


_ONNX_WEIGHT = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "QLinearConv": 3}
"""Which input of a convolution holds its weight, whose first dimension is the output's channels."""

_ONNX_PRODUCTS = {"Gemm", "MatMul", "FusedMatMul", "FusedGemm", "QGemm", "QLinearMatMul"}


def _onnx_operations(nodes: Iterable[_Node], values: Mapping[str, _Value], path: Path) -> Iterator[Operation]:
    for node in nodes:
        try:
            first, output = values[node.inputs[0]], values[node.outputs[0]]
            count = 0
            if node.kind in _ONNX_WEIGHT:
                weight = values[node.inputs[_ONNX_WEIGHT[node.kind]]].shape
                count = _convolution(weight, output.shape, weight[0])
            elif node.kind in _ONNX_PRODUCTS:
                count = math.prod(output.shape) * first.shape[-1]
        except KeyError as error:
            raise InputError(f"{path} does not say the shape of {error} ({node.kind})") from error
        yield Operation(node.kind, _COMPUTED.get(first.dtype, first.dtype), count)


_COMPUTED = {**_PRECISIONS, "uint8": "int8", "uint16": "int16", "u8": "int8"}
"""How a factor's type is called; whether it has a sign makes no difference to the work."""


def _ort_operations(path: Path) -> Iterator[Operation]:
    graph, names = _ort_graph(path)
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
            values[argument.Name().decode()] = _Value(names[tensor.ElemType()], sizes)
    nodes = (
        _Node(
            node.OpType().decode(),
            [node.Inputs(i).decode() for i in range(node.InputsLength())],
            [node.Outputs(i).decode() for i in range(node.OutputsLength())],
        )
        for node in map(graph.Nodes, range(graph.NodesLength()))
    )
    yield from _onnx_operations(nodes, values, path)


def _triton_operations(path: Path) -> Iterator[Operation]:
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(path / MODEL)).graph
    name = onnx.TensorProto.DataType.Name
    values = {
        tensor.name: _Value(name(tensor.data_type).lower(), tensor.dims) for tensor in graph.initializer
    }
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        sizes = [dim.dim_value or 1 for dim in kind.shape.dim]
        values[info.name] = _Value(name(kind.elem_type).lower(), sizes)
    nodes = (_Node(node.op_type, list(node.input), list(node.output)) for node in graph.node)
    yield from _onnx_operations(nodes, values, path)


# LiteRT


def _litert_operations(path: Path) -> Iterator[Operation]:
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
            yield Operation(kind, _COMPUTED.get(dtype, dtype), _litert_macs(kind, shapes, made))


def _litert_macs(kind: str, inputs: list[list[int]], output: list[int]) -> int:
    """Weights lie as (outputs, height, width, inputs), depthwise ones as (1, height, width, outputs)."""
    if kind in {"CONV_2D", "DEPTHWISE_CONV_2D"}:
        return _convolution(inputs[1], output, output[-1])
    if kind in {"FULLY_CONNECTED", "BATCH_MATMUL"}:
        return math.prod(output) * inputs[0][-1]
    return 0


# OpenVINO


def _openvino_operations(path: Path) -> Iterator[Operation]:
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
            count = _convolution(node.get_input_shape(1), output, output[1])
        elif kind == "MatMul":
            depth = -2 if node.get_attributes()["transpose_a"] else -1
            count = math.prod(output) * node.get_input_shape(0)[depth]
        if count and (bits := max(map(_openvino_bits, sources, _PASSES_ON))) < 32:
            dtype = f"int{bits}"
        yield Operation(kind, _COMPUTED.get(dtype, dtype), count)


_PASSES_ON = (
    {"MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"},
    {"Convert", "Multiply", "Reshape", "Subtract", "Transpose"},
)
"""What integers pass through on their way to a product: activations unchanged, weights on being scaled."""


def _openvino_bits(node: Any, passes_on: set[str]) -> int:
    """Bits of an operand: those of the FakeQuantize it comes from, or of stored integers; 32 for float."""
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        return 8 if node.get_attributes()["levels"] <= 1 << 8 else 16
    if kind == "Constant":
        return 8 if node.get_element_type().get_type_name() in {"i8", "u8"} else 32
    return _openvino_bits(node.input_value(0).get_node(), passes_on) if kind in passes_on else 32


# Core ML


def _coreml_operations(path: Path) -> Iterator[Operation]:
    from udacimed_edge.validation.coreml import executor as mil

    for kind, dtype, inputs, output in mil.operations(path):
        if kind == "classify":  # labels, and no number is computed
            continue
        count = 0
        if kind == "conv":
            count = _convolution(inputs[1], output, output[1])
        elif kind in {"linear", "matmul"}:
            count = math.prod(output) * inputs[0][-1]
        yield Operation(kind, dtype, count)
