"""ONNX Runtime Mobile: exported program to `.ort`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.converters.base import Quantization
from udacimed_edge.runtime.contract import KEY, Contract

if TYPE_CHECKING:
    import onnx

__all__ = ["INPUT", "OUTPUT", "add_contract", "convert", "float_model"]

INPUT, OUTPUT = "image", "logits"

_MEASURED = 32
"""Calibration images on which layers are measured; all their intermediate values are held in memory."""


def convert(program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
    """Write an ORT-format model.

    INT8 is static: unsigned activations times signed weights per channel, the pair x86 has fast kernels
    for (signed times signed took 19 ms an image there, this 0.5 ms). The weights keep to 7 bits: without
    VNNI the products of two 8-bit values saturate, and a laptop would decide differently from us.
    No recipe has 16-bit activations: onnxruntime has no kernels for them on a processor and would compute
    in float.

    Args:
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits.
        contract: Stored in the model's metadata; its precision is "fp32" or "int8".
        quantization: How INT8 is made; None for float.
        out: The `.ort` file to write.
    """
    import onnx

    with TemporaryDirectory(dir=out.parent) as folder:
        model_path = Path(folder) / out.with_suffix(".onnx").name
        onnx.save(float_model(program), model_path)
        if quantization is not None:
            contract = replace(contract, float_layers=_quantize(model_path, quantization))
        add_contract(model_path, contract)
        _save_as_ort(model_path, out)


def _save_as_ort(model_path: Path, out: Path) -> None:
    """As `onnxruntime.tools.convert_onnx_models_to_ort` does it, but for one optimisation that is left out.

    That one gives int8 weights to a layer whose neighbours are int8, also where a recipe left it in float.
    The tool leaves out the channel-blocked layout (Nchwc) too, which only x86 can run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(out)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(
        model_path,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["NchwcTransformer", "WeightBiasQuantization"],
    )


def float_model(program: Path) -> onnx.ModelProto:
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


def _quantize(model_path: Path, quantization: Quantization) -> tuple[str, ...]:
    """Replace the model at the path by its INT8; returns the names of the layers left in float."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(model_path, model_path, skip_symbolic_shape=True)
    keep: tuple[str, ...] = ()
    if quantization.recipe.float_layers:
        trial = model_path.with_name("trial.onnx")
        _quantize_static(model_path, trial, quantization, keep)
        harm = _signal_to_noise(model_path, trial, quantization.calibration[:_MEASURED])
        keep = tuple(sorted(harm, key=harm.__getitem__)[: quantization.recipe.float_layers])
    _quantize_static(model_path, model_path, quantization, keep)
    return keep


def _quantize_static(model: Path, out: Path, quantization: Quantization, keep: tuple[str, ...]) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    methods = {"min-max": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}
    quantize_static(
        model,
        out,
        _reader(quantization.calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=not quantization.recipe.saturating,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=methods[quantization.recipe.ranges],
        nodes_to_exclude=list(keep),
    )


def _reader(images: NDArray[np.uint8]) -> Any:
    """Images in batches of about 32, as onnxruntime's quantizer asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
        def __init__(self) -> None:
            self.batches: Iterator[NDArray[np.uint8]] = iter(
                np.array_split(images, max(1, len(images) // 32))
            )

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch[:, None].astype(np.float32)}

    return Reader()


def _signal_to_noise(model: Path, quantized: Path, images: NDArray[np.uint8]) -> dict[str, float]:
    """How well a layer's operands survive INT8: the worse one's signal over noise.

    Returns:
        Decibels by the name of each convolution and linear layer; the lowest hurts most.
    """
    import onnx
    from onnxruntime.quantization import qdq_loss_debug as debug

    seen = {}
    for path in (model, quantized):
        augmented = path.with_name(f"augmented-{path.name}")
        debug.modify_model_output_intermediate_tensors(path, augmented)
        seen[path] = debug.collect_activations(str(augmented), _reader(images))
    matched = debug.create_activation_matching(seen[quantized], seen[model])
    activations = {name: found["qdq_err"] for name, found in debug.compute_activation_error(matched).items()}
    stored = debug.create_weight_matching(str(model), str(quantized))
    weights = debug.compute_weight_error({name: w for name, w in stored.items() if w["float"].ndim > 1})
    known = {**activations, **weights}
    return {
        node.name: min(known[name] for name in node.input[:2])
        for node in onnx.load(model).graph.node
        if node.op_type in {"Conv", "Gemm", "MatMul"} and {*node.input[:2]} <= known.keys()
    }


def add_contract(model_path: Path, contract: Contract) -> None:
    """Put the contract into the ONNX model at the path, in the place of the exporter's own notes."""
    import onnx

    model = onnx.load(model_path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: contract.to_json()})
    model.doc_string = contract.notice
    onnx.save(model, model_path)
