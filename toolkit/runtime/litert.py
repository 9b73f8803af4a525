"""Reads `.tflite` artifacts through LiteRT."""

from __future__ import annotations

import os
import struct
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, ArtifactError, Contract, Predictor, probability_of_pneumonia

__all__ = ["open_artifact"]

_BUFFERS, _METADATA = 4, 6
_NAME, _BUFFER = 0, 1
_DATA = 0
"""Field numbers on the way to the metadata, from TensorFlow Lite's `schema.fbs`."""


def open_artifact(path: Path, threads: int = 0) -> Predictor:
    """Open an artifact.

    It takes one image at a time: several are computed one after the other. Interpreters of their own for
    several images, one a core, were a quarter slower (2,300 against 2,950 images a second on two cores).

    Args:
        path: The `.tflite` file.
        threads: Threads of one prediction; 0 for one per core.

    Raises:
        ArtifactError: Not a model LiteRT can read, or without a contract.
    """
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    contract = Contract.from_json(_contract_text(path))
    try:
        interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count() or 1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path} is not a model LiteRT can read: {error}") from error
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = np.empty((len(images), 2), dtype=np.float32)
        for row, image in enumerate(images):
            interpreter.set_tensor(entry, image[None, None].astype(np.float32))
            interpreter.invoke()
            logits[row] = interpreter.get_tensor(result)[0]
        return probability_of_pneumonia(logits)

    return Predictor(contract, predict, None, f"ai-edge-litert {version('ai-edge-litert')}")


def _contract_text(path: Path) -> str:
    """The contract in a flatbuffer's metadata table.

    The few tables on the way are walked here: importing LiteRT's own schema takes as long as screening.

    Raises:
        ArtifactError: Not a LiteRT flatbuffer, damaged, or without a contract.
    """
    try:
        # mapped, because a second copy of the weights is what a small device has no memory for
        with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as content:
            return _find_contract(content, path)
    except ValueError as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path} is not a LiteRT model") from error


def _find_contract(content: mmap, path: Path) -> str:
    if content[4:8] != b"TFL3":
        raise ArtifactError(f"{path} is not a LiteRT model")
    try:
        model = _offset(content, 0)
        buffers = _tables(content, model, _BUFFERS)
        for entry in _tables(content, model, _METADATA):
            if _bytes(content, entry, _NAME) == KEY.encode():
                number = _field(content, entry, _BUFFER)
                index = struct.unpack_from("<I", content, number)[0] if number else 0
                return _bytes(content, buffers[index], _DATA).decode()
    except (struct.error, IndexError, ValueError) as error:
        raise ArtifactError(f"{path} is a damaged LiteRT model: {error}") from error
    raise ArtifactError(f"{path} carries no contract: it was not made by udacimed-edge")


def _offset(content: mmap, at: int) -> int:
    """The position that the offset stored at `at` points to."""
    return at + int(struct.unpack_from("<I", content, at)[0])


def _field(content: mmap, table: int, number: int) -> int:
    """Where a table keeps a field, or 0 without it (https://flatbuffers.dev/internals)."""
    vtable = table - int(struct.unpack_from("<i", content, table)[0])
    if vtable < 0:
        raise ValueError("a table's layout is outside the file")
    entry = 4 + 2 * number
    if entry >= struct.unpack_from("<H", content, vtable)[0]:
        return 0
    inside = int(struct.unpack_from("<H", content, vtable + entry)[0])
    return table + inside if inside else 0


def _vector(content: mmap, table: int, number: int) -> tuple[int, int]:
    """Start and length of a vector field."""
    field = _field(content, table, number)
    if not field:
        return 0, 0
    start = _offset(content, field)
    return start + 4, int(struct.unpack_from("<I", content, start)[0])


def _tables(content: mmap, table: int, number: int) -> list[int]:
    """The positions of a vector's tables."""
    start, length = _vector(content, table, number)
    if start + 4 * length > len(content):
        raise ValueError("it is cut off")
    return [_offset(content, start + 4 * index) for index in range(length)]


def _bytes(content: mmap, table: int, number: int) -> bytes:
    """The content of a string or of a vector of bytes."""
    start, length = _vector(content, table, number)
    if start + length > len(content):
        raise ValueError("it is cut off")
    return content[start : start + length]
