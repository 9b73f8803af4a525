"""Reads `.ort` artifacts through ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, ArtifactError, Contract, Predictor, probability_of_pneumonia

__all__ = ["open_artifact"]

CPU = "CPUExecutionProvider"


def open_artifact(path: Path, threads: int = 0, provider: str = CPU) -> Predictor:
    """Open an artifact.

    Args:
        path: The `.ort` file.
        threads: Threads of one prediction; 0 for one per core.
        provider: The execution provider; the processor computes what it leaves.

    Raises:
        ArtifactError: Not a model ONNX Runtime can read, or without a contract.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = list(dict.fromkeys((provider, CPU)))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
    except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
        raise ArtifactError(f"{path} is not a model ONNX Runtime can read: {error}") from error
    if text is None:
        raise ArtifactError(f"{path} carries no contract: it was not made by udacimed-edge")
    entry = session.get_inputs()[0]

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = session.run(None, {entry.name: images[:, None].astype(np.float32)})[0]
        return probability_of_pneumonia(logits)

    batch = entry.shape[0] if isinstance(entry.shape[0], int) else None
    return Predictor(Contract.from_json(text), predict, batch, f"onnxruntime {onnxruntime.__version__}")
