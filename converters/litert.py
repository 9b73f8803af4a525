"""LiteRT (TensorFlow Lite's successor): exported program to `.tflite`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, Contract

if TYPE_CHECKING:
    from ai_edge_quantizer.recipe_manager import RecipeManager

__all__ = ["convert"]


def convert(program: Path, contract: Contract, calibration: NDArray[np.uint8], out: Path) -> None:
    """Write a LiteRT flatbuffer for one image at a time.

    Args:
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits.
        contract: Stored as the flatbuffer's metadata; its precision is "fp32" or "int8".
        calibration: uint8 of shape (n, 64, 64); used for int8 only.
        out: The `.tflite` file to write.
    """
    model = _float_model(program)
    if contract.precision == "int8":
        model = _quantize(model, calibration)
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


def _recipe() -> RecipeManager:
    """Static int8 for every operator; the model's own input and output stay float."""
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.recipe_manager import RecipeManager

    recipe = RecipeManager()
    recipe.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        recipe.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return recipe


def _quantize(model: Path, calibration: NDArray[np.uint8]) -> Path:
    """Static INT8 over the ranges seen, lowest to highest.

    The library's default is a moving average of the ranges, which clips: it took pixels to end at 218.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, quantizer
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    recipe = _recipe()
    (signature, names), *_ = Interpreter(str(model)).get_signature_list().items()
    argument = names["inputs"][0]
    work = calibrator.Calibrator(str(model), qsv_update_func=min_max_update)
    work.calibrate({signature: [{argument: x[None, None].astype(np.float32)} for x in calibration]}, recipe)
    result = quantizer.Quantizer(str(model), recipe.get_quantization_recipe()).quantize(
        work.get_model_qsvs(), enable_progress_report=False
    )
    quantized = model.with_name("int8.tflite")
    result.export_model(str(quantized), overwrite=True)
    return quantized


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
