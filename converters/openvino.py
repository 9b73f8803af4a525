"""OpenVINO: exported program to `.xml` and `.bin`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.converters.base import Quantization
from udacimed_edge.runtime.contract import KEY, Contract, probability_of_pneumonia
from udacimed_edge.runtime.openvino import PRECISION_HINT

__all__ = ["convert"]


def convert(program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
    """Write an OpenVINO IR.

    fp32 is stored uncompressed; `save_model` would otherwise store fp16 silently. INT8 is NNCF's static
    quantization with its overflow fix on every layer, so that a processor without VNNI computes the same,
    and its full bias correction: the fast one moved probabilities by 0.02 on average, this one by 0.005.

    The precision to compute in travels with the model, where OpenVINO keeps such options; it has to be handed
    on when the model is compiled, which our runtime does.

    Args:
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits.
        contract: Stored in the model's runtime information; its precision is "fp32", "fp16" or "int8".
        quantization: How INT8 is made; None for float.
        out: The `.xml` file to write; the weights go beside it as `.bin`.
    """
    import openvino
    import torch

    model = openvino.convert_model(torch.export.load(program))
    model.inputs[0].set_names({"image"})
    model.outputs[0].set_names({"logits"})
    if quantization is not None:
        model = _quantize(model, quantization, contract.threshold)
        contract = replace(contract, float_layers=_float_layers(model))
    model.set_rt_info(contract.to_json(), KEY)
    model.set_rt_info("f32", PRECISION_HINT)
    openvino.save_model(model, out, compress_to_fp16=contract.precision == "fp16")


def _float_layers(model: Any) -> tuple[str, ...]:
    """The convolutions and matrix products whose weights are not integers, by the names of their weights."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() in {"Convolution", "GroupConvolution", "MatMul"}:
            weight = node.input_value(1).get_node()
            while weight.get_type_name() in {"Convert", "Multiply", "Subtract", "Reshape"}:
                weight = weight.input_value(0).get_node()
            if weight.get_type_name() == "Constant" and weight.get_element_type().is_real():
                found.append(weight.get_friendly_name())
    return tuple(found)


def _sensitivity(threshold: float) -> Callable[[Any, Iterable[NDArray[np.uint8]]], tuple[float, None]]:
    """The share of images with pneumonia that a model finds, in the form that NNCF asks for."""

    def measure(model: Any, ill: Iterable[NDArray[np.uint8]]) -> tuple[float, None]:
        logits = np.concatenate([model(image[None, None].astype(np.float32))[0] for image in ill])
        return float((probability_of_pneumonia(logits) >= threshold).mean()), None

    return measure


def _quantize(model: Any, quantization: Quantization, threshold: float) -> Any:
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    ranges = {
        "min-max": RangeEstimatorParametersSet.MINMAX,
        "mean of extremes": RangeEstimatorParametersSet.MEAN_MINMAX,
    }
    recipe, validation = quantization.recipe, quantization.validation
    images = quantization.calibration[:, None, None].astype(np.float32)
    advanced = AdvancedQuantizationParameters(
        overflow_fix=OverflowFix.DISABLE if recipe.saturating else OverflowFix.ENABLE,
        activations_range_estimator_params=ranges[recipe.ranges],
    )
    settings = {"subset_size": len(images), "fast_bias_correction": False}
    if not recipe.float_layers:
        return nncf.quantize(model, nncf.Dataset(images), advanced_parameters=advanced, **settings)
    return nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(images),
        nncf.Dataset(list(validation.images[validation.labels == 1])),
        _sensitivity(threshold),
        max_drop=0.0,
        advanced_quantization_parameters=advanced,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=recipe.float_layers
        ),
        **settings,
    )
