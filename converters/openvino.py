"""OpenVINO: exported program to `.xml` and `.bin`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, Contract

__all__ = ["convert"]


def convert(program: Path, contract: Contract, calibration: NDArray[np.uint8], out: Path) -> None:
    """Write an OpenVINO IR.

    fp32 is stored uncompressed; `save_model` would otherwise store fp16 silently. INT8 is NNCF's static
    quantization with its overflow fix on every layer, so that a processor without VNNI computes the same,
    and its full bias correction: the fast one moved probabilities by 0.02 on average, this one by 0.005.

    Args:
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits.
        contract: Stored in the model's runtime information; its precision is "fp32", "fp16" or "int8".
        calibration: uint8 of shape (n, 64, 64); used for int8 only.
        out: The `.xml` file to write; the weights go beside it as `.bin`.
    """
    # Both libraries report their use over the network when this module is present; without it they do not.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino
    import torch

    model = openvino.convert_model(torch.export.load(program))
    model.inputs[0].set_names({"image"})
    model.outputs[0].set_names({"logits"})
    if contract.precision == "int8":
        model = _quantize(model, calibration)
    model.set_rt_info(contract.to_json(), KEY)
    openvino.save_model(model, out, compress_to_fp16=contract.precision == "fp16")


def _quantize(model: object, calibration: NDArray[np.uint8]) -> object:
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    images = calibration[:, None, None].astype(np.float32)
    return nncf.quantize(
        model,
        nncf.Dataset(images),
        subset_size=len(images),
        fast_bias_correction=False,
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE,
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )
