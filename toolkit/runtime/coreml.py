"""Core ML packages: the contract, read anywhere, and scores from Core ML itself on macOS."""

from __future__ import annotations

import io
import json
import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, ArtifactError, Contract, Predictor

__all__ = ["INPUT", "LABEL", "PROBABILITIES", "model_file", "open_artifact", "quiet", "read_contract"]

INPUT = "image"
LABEL = "classLabel"
PROBABILITIES = "classLabel_probs"
"""The names of the package's input and outputs; the outputs' are those Xcode's own templates use."""

_DESCRIPTION, _METADATA, _USER_DEFINED = 2, 100, 100
"""Field numbers on the way to the metadata, from coremltools' `Model.proto`."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep from the user what coremltools says about its own installation, and its progress bars.

    What goes wrong is raised as an exception and passes.
    """
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def model_file(package: Path) -> Path:
    """The file in `package` that describes the model, as the package's manifest names it.

    Raises:
        ArtifactError: There is no readable manifest, or it names no file of the package.
    """
    manifest = package / "Manifest.json"
    try:
        fields = json.loads(manifest.read_text(encoding="utf-8"))
        entry: str = fields["itemInfoEntries"][fields["rootModelIdentifier"]]["path"]
        file: Path = package / "Data" / entry
        inside = file.resolve().is_relative_to(package.resolve())
    except OSError as error:
        raise ArtifactError(f"{package} is not a Core ML package: no readable Manifest.json") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{manifest} does not name a model") from error
    if not inside:
        raise ArtifactError(f"{manifest} names a model outside the package: {entry}")
    if not file.is_file():
        raise ArtifactError(f"{package} has no {entry}, which its manifest names")
    return file


def read_contract(path: Path) -> Contract:
    """The contract inside a Core ML package, on any operating system, without executing anything.

    The description is a protobuf; it is walked here because importing coremltools takes seconds and
    a device which only wants to know what a file is may not have it.

    Raises:
        ArtifactError: Not a Core ML package, damaged, or without a contract of ours.
    """
    file = model_file(path)
    try:
        metadata = _user_defined(file.read_bytes())
        text = metadata.get(KEY)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read as a Core ML model: {error}") from error
    if text is None:
        raise ArtifactError(f"{path} carries no contract: it was not written by udacimed-edge")
    try:
        return Contract.from_json(text)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def open_artifact(path: Path, threads: int = 0) -> Predictor:
    """Open a Core ML package with Core ML.

    Args:
        path: The `.mlpackage` folder.
        threads: Not used: Core ML itself decides which processors compute.

    Raises:
        ArtifactError: The package cannot be read or carries no contract.
        RuntimeError: This is not macOS, or Core ML refuses the package.
        ImportError: coremltools is not installed.
    """
    contract = read_contract(path)
    if platform.system() != "Darwin":
        raise RuntimeError(f"{path}: Core ML runs on macOS, not on {platform.system()}")
    with quiet():
        import coremltools
        from PIL import Image

        model = coremltools.models.MLModel(str(path))

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        answers = [model.predict({INPUT: Image.fromarray(image)}) for image in images]
        return np.array([answer[PROBABILITIES][contract.labels[1]] for answer in answers], dtype=np.float64)

    executor = f"Core ML of macOS {platform.mac_ver()[0]} (coremltools {coremltools.__version__})"
    return Predictor(contract=contract, predict=predict, batch=1, executor=executor)


def _user_defined(model: bytes) -> dict[str, str]:
    """The user-defined metadata of a serialized Core ML model; the last value of a key counts.

    Raises:
        ValueError: The bytes are not a protobuf, or the metadata is not UTF-8.
    """
    found = {}
    for description in _fields(model, _DESCRIPTION):
        for metadata in _fields(description, _METADATA):
            for entry in _fields(metadata, _USER_DEFINED):
                key, value = (b"".join(_fields(entry, number)[-1:]) for number in (1, 2))
                found[key.decode("utf-8")] = value.decode("utf-8")
    return found


def _fields(message: bytes, wanted: int) -> list[bytes]:
    """The contents of a protobuf message's length-delimited fields of one number.

    Wire format: https://protobuf.dev/programming-guides/encoding/

    Raises:
        ValueError: The bytes are cut off or not a protobuf.
    """
    contents, at = [], 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            size = 0
            _, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("it is not a protobuf")
        if at + size > len(message):
            raise ValueError("it is cut off")
        if number == wanted and kind == 2:
            contents.append(message[at : at + size])
        at += size
    return contents


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The variable-length integer at `at`, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it is cut off")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("it is not a protobuf")
