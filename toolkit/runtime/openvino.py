"""Reads OpenVINO artifacts (`.xml` with its `.bin`) through OpenVINO's CPU plugin."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import (
    KEY,
    SIDE,
    ArtifactError,
    Contract,
    Predictor,
    probability_of_pneumonia,
)

if TYPE_CHECKING:
    from openvino import InferRequest, Model

__all__ = ["PRECISION_HINT", "open_artifact"]

PRECISION_HINT = ["runtime_options", "INFERENCE_PRECISION_HINT"]
"""Where a model keeps the precision it is to be computed in, among OpenVINO's own options."""

_SIZES = 4
"""How many sizes of a batch stay compiled; each holds the weights once more, in its own layout."""


def open_artifact(path: Path, threads: int = 0, hint: str | None = None) -> Predictor:
    """Open an artifact.

    It is compiled for each size of a batch: with the size left open it computes an eighth slower. One image
    is computed by all threads together; several are shared out to streams of one thread each.

    Args:
        path: The `.xml` file.
        threads: Threads of one prediction; 0 for one per core.
        hint: "LATENCY" for all threads together, "THROUGHPUT" for streams; None to choose as said above.

    Raises:
        ArtifactError: Not a model OpenVINO can read, or without a contract.
    """
    import openvino

    if not path.with_suffix(".bin").is_file():
        raise ArtifactError(f"{path} has no weights beside it: {path.with_suffix('.bin').name} is missing")
    threads = threads or os.cpu_count() or 1
    core = openvino.Core()

    @lru_cache(_SIZES)
    def requests(batch: int, hint: str) -> list[InferRequest]:
        """Inference requests, one for each stream that computes at once."""
        streams = threads if hint == "THROUGHPUT" else 1
        fixed = model.clone()
        fixed.reshape([batch, 1, SIDE, SIDE])
        compiled = core.compile_model(fixed, "CPU", _settings(model, threads, streams, hint))
        return [compiled.create_infer_request() for _ in range(streams)]

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        chosen = hint or ("LATENCY" if len(images) == 1 else "THROUGHPUT")
        streams = threads if chosen == "THROUGHPUT" else 1
        parts = np.array_split(images[:, None].astype(np.float32), min(streams, len(images)))
        started = [requests(len(part), chosen)[number] for number, part in enumerate(parts)]
        for request, part in zip(started, parts, strict=True):
            request.start_async([part])
        for request in started:
            request.wait()
        logits = np.concatenate([request.get_output_tensor().data for request in started])
        return probability_of_pneumonia(logits)

    try:
        model = core.read_model(path)
        requests(1, hint or "LATENCY")
    except RuntimeError as error:
        raise ArtifactError(f"{path} is not a model OpenVINO can read: {error}") from error
    if not model.has_rt_info(KEY):
        raise ArtifactError(f"{path} carries no contract: it was not made by udacimed-edge")
    contract = Contract.from_json(model.get_rt_info(KEY).astype(str))
    dimension = model.inputs[0].partial_shape[0]
    batch = dimension.get_length() if dimension.is_static else None
    return Predictor(contract, predict, batch, f"openvino {openvino.__version__.split('-')[0]}")


def _settings(model: Model, threads: int, streams: int, hint: str) -> dict[str, str | int]:
    """What the plugin is told.

    What is not int8 is computed in float32, as the model says itself: left alone the plugin takes bfloat16
    where the processor has it, so that one file would decide differently on two machines.
    """
    stated = model.get_rt_info(PRECISION_HINT).astype(str) if model.has_rt_info(PRECISION_HINT) else "f32"
    return {
        "INFERENCE_PRECISION_HINT": stated,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        "PERFORMANCE_HINT": hint,
    }
