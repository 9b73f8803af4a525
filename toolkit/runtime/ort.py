"""Reads `.ort` artifacts through ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, Contract, ContractError, Predictor
from udacimed_edge.runtime.sharing import Answer, shared_out

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["open_artifact"]

CPU = "CPUExecutionProvider"


def open_artifact(path: Path, threads: int = 0, provider: str = CPU, share: bool = True) -> Predictor:
    """Open an artifact.

    Args:
        path: The `.ort` file.
        threads: Threads of one prediction; 0 for one per core.
        provider: The execution provider; the processor computes what it leaves.
        share: False to have all threads compute several images together.

    Raises:
        ContractError: Not a model ONNX Runtime can read, or without a contract.
    """
    import onnxruntime

    threads = threads or os.cpu_count() or 1
    session = _session(path, threads, provider)
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise ContractError(f"{path} carries no contract: it was not made by udacimed-edge")

    def crew() -> list[Answer]:
        return [_answer(_session(path, 1, provider))] * threads  # one session answers several callers

    predict = shared_out(_answer(session), crew if share and threads > 1 else None)
    first = session.get_inputs()[0].shape[0]
    batch = first if isinstance(first, int) else None
    return Predictor(Contract.from_json(text), predict, batch, f"onnxruntime {onnxruntime.__version__}")


def _session(path: Path, threads: int, provider: str) -> InferenceSession:
    """A session of its own.

    Raises:
        ContractError: Not a model ONNX Runtime can read.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=list(dict.fromkeys((provider, CPU)))
        )
    except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
        raise ContractError(f"{path} is not a model ONNX Runtime can read: {error}") from error


def _answer(session: InferenceSession) -> Answer:
    entry = session.get_inputs()[0].name

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(None, {entry: images[:, None].astype(np.float32)})[0]
        return logits

    return answer
