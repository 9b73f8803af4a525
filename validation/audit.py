"""Which number types an artifact's weights really have, counted in its own tensors."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

__all__ = ["weight_dtypes"]

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
        from udacimed_edge.validation import mil

        return mil.weight_dtypes(path)
    readers: dict[str, Callable[[Path], Tensors]] = {
        ".ort": _ort_tensors,
        ".tflite": _litert_tensors,
        ".xml": _openvino_tensors,
    }
    counts: Counter[str] = Counter()
    for dtype, shape in readers[path.suffix](path):
        elements = math.prod(shape)
        if dtype not in _NOT_WEIGHTS and elements > max(shape, default=1):
            counts[_PRECISIONS.get(dtype, dtype)] += elements
    return dict(counts)


def _ort_tensors(path: Path) -> Tensors:
    """Initializers of the ORT-format flatbuffer, read with onnxruntime's own schema."""
    import onnxruntime

    # Its modules import each other by their bare names, and their package would import all of PyTorch.
    schema_folder = str(Path(onnxruntime.__file__).parent / "tools" / "ort_format_model")
    if schema_folder not in sys.path:
        sys.path.append(schema_folder)
    from ort_flatbuffers_py.fbs.InferenceSession import InferenceSession
    from ort_flatbuffers_py.fbs.TensorDataType import TensorDataType

    names = {value: name.lower() for name, value in vars(TensorDataType).items() if name.isupper()}
    graph = InferenceSession.GetRootAs(path.read_bytes(), 0).Model().Graph()
    for tensor in map(graph.Initializers, range(graph.InitializersLength())):
        yield names[tensor.DataType()], [tensor.Dims(i) for i in range(tensor.DimsLength())]


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
