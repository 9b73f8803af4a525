"""Reads `.tflite` artifacts through LiteRT."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, Contract, ContractError, Predictor, probability_of_pneumonia

__all__ = ["open_artifact"]


def open_artifact(path: Path, threads: int = 0) -> Predictor:
    """Open an artifact.

    Args:
        path: The `.tflite` file.
        threads: Threads of one prediction; 0 for one per core.

    Raises:
        ContractError: Not a model LiteRT can read, or without a contract.
    """
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    contract = Contract.from_json(_contract_text(path))
    try:
        interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count())
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ContractError(f"{path} is not a model LiteRT can read: {error}") from error
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = np.empty((len(images), 2), dtype=np.float32)
        for row, image in enumerate(images):
            interpreter.set_tensor(entry, image[None, None].astype(np.float32))
            interpreter.invoke()
            logits[row] = interpreter.get_tensor(result)[0]
        return probability_of_pneumonia(logits)

    return Predictor(contract, predict, 1, f"ai-edge-litert {version('ai-edge-litert')}")


def _contract_text(path: Path) -> str:
    """The contract in a flatbuffer's metadata table.

    Raises:
        ContractError: Not a LiteRT flatbuffer, damaged, or without a contract.
    """
    from ai_edge_litert.schema_py_generated import Model

    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ContractError(f"{path} is not a LiteRT model")
    try:
        model = Model.GetRootAs(content)
        for entry in map(model.Metadata, range(model.MetadataLength())):
            if entry.Name() == KEY.encode():
                return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    except (struct.error, IndexError, ValueError, TypeError) as error:
        raise ContractError(f"{path} is a damaged LiteRT model: {error}") from error
    raise ContractError(f"{path} carries no contract: it was not made by udacimed-edge")
