"""Reads OpenVINO artifacts (`.xml` with its `.bin`) through OpenVINO's CPU plugin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, Contract, ContractError, Predictor, probability_of_pneumonia

__all__ = ["open_artifact"]


def open_artifact(path: Path, threads: int = 0) -> Predictor:
    """Open an artifact.

    The plugin is told to compute in float32 what is not int8: left alone it takes bfloat16 where the
    processor has it, so that one file would decide differently on two machines.

    Args:
        path: The `.xml` file.
        threads: Threads of one prediction; 0 for one per core.

    Raises:
        ContractError: Not a model OpenVINO can read, or without a contract.
    """
    import openvino

    if not path.with_suffix(".bin").is_file():
        raise ContractError(f"{path} has no weights beside it: {path.with_suffix('.bin').name} is missing")
    core = openvino.Core()
    try:
        model = core.read_model(path)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        compiled = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise ContractError(f"{path} is not a model OpenVINO can read: {error}") from error
    if not model.has_rt_info(KEY):
        raise ContractError(f"{path} carries no contract: it was not made by udacimed-edge")
    contract = Contract.from_json(model.get_rt_info(KEY).astype(str))

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = compiled(images[:, None].astype(np.float32))[0]
        return probability_of_pneumonia(logits)

    dimension = model.inputs[0].partial_shape[0]
    batch = dimension.get_length() if dimension.is_static else None
    return Predictor(contract, predict, batch, f"openvino {openvino.__version__.split('-')[0]}")
