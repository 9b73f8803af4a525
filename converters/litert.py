"""LiteRT (TensorFlow Lite's successor): exported program to `.tflite`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from udacimed_edge.converters.base import Quantization
from udacimed_edge.runtime.contract import KEY, Contract

if TYPE_CHECKING:
    from ai_edge_quantizer.recipe_manager import RecipeManager

__all__ = ["convert"]

_MEASURED = 16
"""Calibration images on which each layer is measured; the library loads the model anew for each."""

_EVERY = ".*"
"""The layers whose names match: all of them."""


def convert(program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
    """Write a LiteRT flatbuffer for one image at a time.

    Args:
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits.
        contract: Stored as the flatbuffer's metadata; its precision is "fp32" or "int8".
        quantization: How INT8 is made; None for float.
        out: The `.tflite` file to write.
    """
    model = _float_model(program)
    if quantization is not None:
        model, kept = _quantize(model, quantization)
        contract = replace(contract, float_layers=kept)
    out.write_bytes(_with_contract(model, contract))


def _float_model(program: Path) -> Path:
    """The program as a float LiteRT model, made once for all precisions and kept beside the program."""
    cached = program.with_suffix(".tflite")
    if not cached.exists():
        import litert_torch
        import torch

        module = torch.export.load(program).module()
        litert_torch.convert(module, (torch.zeros(1, 1, 64, 64),)).export(str(cached))
    return cached


def _recipe(activation_bits: int, layers: str = _EVERY, keep: Sequence[str] = ()) -> RecipeManager:
    """Static int8 for the layers that match, but those kept; the model's input and output stay float."""
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.recipe_manager import RecipeManager

    every, recipe = TFLOperationName.ALL_SUPPORTED, RecipeManager()
    names = TFLOperationName.CONV_2D, TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.FULLY_CONNECTED
    # LiteRT cannot run every operator with 16 bits (SUB, for one): there only those that multiply get them
    for operator in (every,) if activation_bits == 8 else names:
        recipe.add_static_config(layers, operator, activation_num_bits=activation_bits, weight_num_bits=8)
    for name in keep:
        recipe.add_quantization_config(re.escape(name), every, algorithm_key=AlgorithmName.NO_QUANTIZE)
    for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        recipe.add_quantization_config(_EVERY, end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return recipe


def _quantize(model: Path, quantization: Quantization) -> tuple[Path, tuple[str, ...]]:
    """The model in INT8, and the names of the layers left in float.

    The library's own ranges are a moving average, which clips: it took pixels to end at 218.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    recipe = quantization.recipe
    updates = {"min-max": qsv_utils.min_max_update, "moving average": qsv_utils.moving_average_update}
    (signature, names), *_ = Interpreter(str(model)).get_signature_list().items()
    samples = [{names["inputs"][0]: x[None, None].astype(np.float32)} for x in quantization.calibration]
    work = calibrator.Calibrator(str(model), qsv_update_func=updates[recipe.ranges])
    work.calibrate({signature: samples}, _recipe(recipe.activation_bits))
    keep: tuple[str, ...] = ()
    if recipe.float_layers:
        measured = {signature: samples[:: max(1, len(samples) // _MEASURED)]}
        harm = {layer: _harm(model, layer, work.get_model_qsvs(), measured) for layer in _layers(model)}
        keep = tuple(sorted(harm, key=harm.__getitem__, reverse=True)[: recipe.float_layers])
    quantizer = _quantizer(model, _recipe(recipe.activation_bits, keep=keep))
    quantized = model.with_name("int8.tflite")
    result = quantizer.quantize(work.get_model_qsvs(), enable_progress_report=False)
    result.export_model(str(quantized), overwrite=True)
    return quantized, keep


def _quantizer(model: Path, recipe: RecipeManager) -> Any:
    from ai_edge_quantizer import quantizer

    return quantizer.Quantizer(str(model), recipe.get_quantization_recipe())


def _layers(model: Path) -> list[str]:
    """The convolutions and linear layers, by the name of their output, as recipes name them."""
    from ai_edge_litert import schema_py_generated as schema

    operators = schema.BuiltinOperator
    weighty = {operators.CONV_2D, operators.DEPTHWISE_CONV_2D, operators.FULLY_CONNECTED}
    content = schema.Model.GetRootAs(model.read_bytes())
    graph, found = content.Subgraphs(0), []
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        if content.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() in weighty:
            found.append(graph.Tensors(operator.Outputs(0)).Name().decode())
    return found


def _harm(model: Path, layer: str, ranges: Any, samples: dict[str, list[Any]]) -> float:
    """Mean squared error of the logits when this layer alone is INT8."""
    from ai_edge_quantizer.utils.validation_utils import ValidationErrorMetric

    quantizer = _quantizer(model, _recipe(8, layers=re.escape(layer)))
    quantizer.quantize(ranges, enable_progress_report=False)
    found = quantizer.validate(
        samples, [ValidationErrorMetric.MSE], use_xnnpack=False, validate_output_tensors_only=True
    )
    return float(sum(tensor["mse"] for tensor in found.get_all_tensor_results().values()))


def _with_contract(model: Path, contract: Contract) -> bytes:
    """The flatbuffer with the contract in its metadata table."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    packed = model.read_bytes()
    content = schema.ModelT.InitFromPackedBuf(bytearray(packed))
    for stored in content.buffers:
        if stored.offset > 1:  # weights kept behind the table, which is about to change its length
            stored.data = np.frombuffer(packed, np.uint8, stored.size, stored.offset)
            stored.offset = stored.size = 0
    content.description = contract.notice
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(contract.to_json().encode(), dtype=np.uint8)
    content.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = KEY, len(content.buffers) - 1
    content.metadata = [*(content.metadata or []), entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())
