"""Reads an ONNX model: its file is vetted, its graph becomes a module of torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from udacimed_edge.core.errors import InputError
from udacimed_edge.source.bounds import (
    require_bounded_file,
    require_bounded_functions,
    require_bounded_onnx,
)
from udacimed_edge.source.network import Network, input_layout, reading

if TYPE_CHECKING:  # it takes a second to import: only the functions that need it do so
    import onnx

__all__ = ["external_files", "load_onnx"]

_OPSETS = range(11, 25)
_ONNX_DOMAINS = ("", "ai.onnx")
_FLOATS = ("FLOAT", "FLOAT16", "DOUBLE")
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")


def load_onnx(path: Path) -> Network:
    """Read an ONNX model and rebuild it from PyTorch's functions.

    Raises:
        InputError: Damaged, of another opset, quantized, with operators that are not known, or with another
            input or more than one output.
    """
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    model = _onnx_proto(path)
    _require_standard_operators(model, path)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    shapes = [
        [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]
        for value in inputs
    ]
    layout = input_layout(shapes, path)
    if len(outputs := [value.name for value in model.graph.output]) != 1:
        raise InputError(
            f"{path} has {len(outputs)} outputs ({', '.join(outputs)}), expected one",
            "export the classifier's answer alone",
        )
    with reading(path, "export it again with torch.onnx.export(model.eval(), ..., opset_version=17)"):
        dtype = onnx.TensorProto.DataType.Name(inputs[0].type.tensor_type.elem_type)
        if dtype not in (*_FLOATS, "UINT8"):
            raise InputError(f"{path} takes {dtype} numbers, expected FLOAT, FLOAT16, DOUBLE or UINT8")
        load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
        if dtype == "UINT8":
            _require_cast(model.graph, inputs[0].name, path)
        from udacimed_edge.source.onnx_graph import OnnxGraph

        module = OnnxGraph(model.graph, _opset(model), inputs[0].name)
    ending, logits = module.without_ending()
    return Network(module.eval(), layout, raw_pixels=dtype == "UINT8", ending=ending, logits=logits)


def _require_cast(graph: onnx.GraphProto, name: str, path: Path) -> None:
    """Bytes are read as floats here, which is the same where a graph makes floats of them first.

    Raises:
        InputError: It computes with them before.
    """
    for node in graph.node:
        if name in node.input and node.op_type in (
            "Transpose",
            "Identity",
            "Reshape",
            "Unsqueeze",
            "Squeeze",
        ):
            _require_cast(graph, node.output[0], path)
        elif name in node.input and node.op_type not in ("Cast", "Shape"):
            raise InputError(
                f"{path} computes {node.op_type} on bytes before it makes floats of them",
                "export it with a float input",
            )


def _onnx_proto(path: Path) -> onnx.ModelProto:
    """The model without its external data, its local functions expanded."""
    import onnx
    import onnx.inliner

    with reading(path, "download or export it again"):
        require_bounded_onnx(path)
        model = onnx.load(str(path), load_external_data=False)
        require_bounded_functions(model, path)
        return onnx.inliner.inline_local_functions(model) if model.functions else model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for attribute in (a for node in graph.node for a in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            yield from _tensors(inner)


def external_files(path: Path) -> list[Path]:
    """The files beside an ONNX model that hold its weights.

    Raises:
        InputError: One is missing, or lies outside the model's own folder.
    """
    tensors = list(_tensors(_onnx_proto(path).graph))
    found: dict[str, Path] = {}
    for location in {e.value for t in tensors for e in t.external_data if e.key == "location"}:
        file = path.parent / location
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise InputError(f"{path} reads '{location}', outside its own folder", "do not trust this file")
        if not file.is_file():
            raise InputError(f"{path} keeps weights in '{location}', which is missing", "put it beside it")
        require_bounded_file(file)
        found[location] = file
    return list(found.values())


def _require_standard_operators(model: onnx.ModelProto, path: Path) -> None:
    for node in model.graph.node:
        if node.op_type in _QUANTIZED or node.op_type.startswith("QLinear"):
            raise InputError(
                f"{path} is already quantized ({node.op_type}): give the float model",
                "the toolkit quantizes it itself, format by format, and measures what that costs",
            )
        if node.domain not in _ONNX_DOMAINS:
            raise InputError(
                f"{path} uses the custom operator {node.domain}.{node.op_type}",
                "export it with standard ONNX operators only",
            )
    if (opset := _opset(model)) not in _OPSETS:
        raise InputError(
            f"{path} is of opset {opset}; {_OPSETS[0]} to {_OPSETS[-1]} are supported",
            "export it again with opset_version=17",
        )


def _opset(model: onnx.ModelProto) -> int:
    """The version of the standard operators; 0 where the model states none."""
    return next((opset.version for opset in model.opset_import if opset.domain in _ONNX_DOMAINS), 0)
