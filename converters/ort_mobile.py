"""ONNX Runtime Mobile: exported program to `.ort`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, Contract

if TYPE_CHECKING:
    import onnx

__all__ = ["convert"]

INPUT, OUTPUT = "image", "logits"


def convert(program: Path, contract: Contract, calibration: NDArray[np.uint8], out: Path) -> None:
    """Write an ORT-format model.

    INT8 is static: unsigned activations times signed weights per channel, the pair x86 has fast kernels
    for (signed times signed took 19 ms an image there, this 0.5 ms). The weights keep to 7 bits: without
    VNNI the products of two 8-bit values saturate, and a laptop would decide differently from us.

    Args:
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits.
        contract: Stored in the model's metadata; its precision is "fp32" or "int8".
        calibration: uint8 of shape (n, 64, 64); used for int8 only.
        out: The `.ort` file to write.
    """
    import onnx
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

    with TemporaryDirectory(dir=out.parent) as folder:
        model_path = Path(folder) / out.with_suffix(".onnx").name
        onnx.save(_float_model(program), model_path)
        if contract.precision == "int8":
            _quantize(model_path, calibration)
        _add_contract(model_path, contract)
        with contextlib.redirect_stdout(io.StringIO()):
            # naming no platform leaves out the channel-blocked layout that only x86 can run
            convert_onnx_models_to_ort(model_path, Path(folder), [OptimizationStyle.Fixed])
        model_path.with_suffix(".ort").rename(out)


def _float_model(program: Path) -> onnx.ModelProto:
    """The program as ONNX, made once for all precisions and kept beside the program."""
    import onnx
    import torch

    cached = program.with_suffix(".onnx")
    if not cached.exists():
        exported = torch.export.load(program)
        result = torch.onnx.export(
            exported, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
        )
        assert result is not None  # always a program with dynamo=True
        result.save(cached)
    return onnx.load(cached)


def _quantize(model_path: Path, calibration: NDArray[np.uint8]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
        def __init__(self) -> None:
            self.batches: Iterator[NDArray[np.uint8]] = iter(
                np.array_split(calibration, max(1, len(calibration) // 32))
            )

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch[:, None].astype(np.float32)}

    quant_pre_process(model_path, model_path, skip_symbolic_shape=True)
    quantize_static(
        model_path,
        model_path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _add_contract(model_path: Path, contract: Contract) -> None:
    import onnx

    model = onnx.load(model_path)
    del model.metadata_props[:]  # the exporter's own notes
    onnx.helper.set_model_props(model, {KEY: contract.to_json()})
    model.doc_string = contract.notice
    onnx.save(model, model_path)
