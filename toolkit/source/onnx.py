"""Reads an ONNX model through onnx2torch, brought to the operators which that knows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.extras import import_torchvision
from udacimed_edge.source.bounds import (
    require_bounded_file,
    require_bounded_functions,
    require_bounded_onnx,
)
from udacimed_edge.source.network import Network, channels_and_batch, reading

if TYPE_CHECKING:  # these take seconds to import: only the functions that need them do so
    import onnx
    import torch

__all__ = ["external_files", "load_onnx"]

_OPSETS = range(11, 22)
_ONNX_DOMAINS = ("", "ai.onnx")
_ONNX2TORCH_OPSET = 17  # it lacks the ReduceMean of opset 18 and the Flatten and Reshape of 21


def load_onnx(path: Path) -> Network:
    """Read an ONNX model and rebuild it from PyTorch's modules.

    Raises:
        InputError: Damaged, of another opset, with operators that onnx2torch lacks, or with another input.
    """
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    model = _onnx_proto(path)
    _require_standard_operators(model, path)
    weights = {tensor.name for tensor in model.graph.initializer}
    tensors = [value.type.tensor_type for value in model.graph.input if value.name not in weights]
    shapes = [[d.dim_value if d.HasField("dim_value") else None for d in t.shape.dim] for t in tensors]
    channels, dynamic_batch = channels_and_batch(shapes, path)
    with reading(path, "export it again with torch.onnx.export(model.eval(), ..., opset_version=17)"):
        dtype = onnx.TensorProto.DataType.Name(tensors[0].elem_type)
        if dtype not in ("FLOAT", "FLOAT16"):
            raise InputError(f"{path} takes {dtype} numbers, expected FLOAT or FLOAT16")
        load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
        module = _onnx2torch().convert(_for_onnx2torch(model))
        _freeze_reshapes(module)
    return Network(module.eval(), channels, dynamic_batch)


def _onnx2torch() -> ModuleType:
    import_torchvision()  # onnx2torch imports it
    return import_module("onnx2torch")


def _onnx_proto(path: Path) -> onnx.ModelProto:
    """The model without its external data, its local functions expanded."""
    import onnx
    import onnx.inliner

    with reading(path, "download or export it again"):
        require_bounded_onnx(path)
        model = onnx.load(str(path), load_external_data=False)
        require_bounded_functions(model, path)
        return onnx.inliner.inline_local_functions(model) if model.functions else model


def external_files(path: Path) -> list[Path]:
    """The files beside an ONNX model that hold its weights.

    Raises:
        InputError: One is missing, or lies outside the model's own folder.
    """
    graph = _onnx_proto(path).graph
    tensors = [*graph.initializer, *(a.t for n in graph.node for a in n.attribute if a.HasField("t"))]
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


def _for_onnx2torch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for inference in float32, in the operators that onnx2torch knows."""
    from onnx import TensorProto, numpy_helper, version_converter

    _constants_to_initializers(model.graph)
    _raise_to_float32(model.graph)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            del node.output[1:]  # the statistics that training mode returns
            _drop_attribute(node, "training_mode")
    if _opset(model) > _ONNX2TORCH_OPSET:
        model = version_converter.convert_version(model, _ONNX2TORCH_OPSET)
    integers = [t for t in model.graph.initializer if t.data_type == TensorProto.INT64]
    without_zero = {t.name for t in integers if numpy_helper.to_array(t).all()}
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in without_zero:
            _drop_attribute(node, "allowzero")  # it says how to read a 0; onnx2torch refuses it unseen
    return model


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Only as initializers are constants seen as weights by onnx2torch, and as shapes by us."""
    for node in [n for n in graph.node if n.op_type == "Constant"]:
        for attribute in [a for a in node.attribute if a.name == "value"]:
            attribute.t.name = node.output[0]
            graph.initializer.append(attribute.t)
            graph.node.remove(node)


def _drop_attribute(node: onnx.NodeProto, name: str) -> None:
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)


def _raise_to_float32(graph: onnx.GraphProto) -> None:
    """Make every float16 of a graph a float32; exact, since each float16 is one."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    attributes = [attribute for node in graph.node for attribute in node.attribute]
    for tensor in [*graph.initializer, *(a.t for a in attributes if a.HasField("t"))]:
        if tensor.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for attribute in attributes:  # of Cast
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
    del graph.value_info[:]  # what it said is inferred anew


def _freeze_reshapes(module: torch.fx.GraphModule) -> None:
    """Give each reshape its constant shape as numbers: torch.export cannot follow the content of a tensor."""
    reshape = _onnx2torch().node_converters.reshape.OnnxReshape
    constants = dict(module.named_buffers())
    for node in list(module.graph.nodes):
        if node.op == "call_module" and isinstance(module.get_submodule(node.target), reshape):
            data, shape = node.args
            if shape.op == "get_attr":
                with module.graph.inserting_before(node):
                    frozen = module.graph.call_function(_reshape, (data, constants[shape.target].tolist()))
                node.replace_all_uses_with(frozen)
                module.graph.erase_node(node)
    module.recompile()


def _reshape(data: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """ONNX's Reshape: a 0 keeps the dimension, a -1 takes what is left."""
    return data.reshape([data.shape[i] if size == 0 else size for i, size in enumerate(shape)])
