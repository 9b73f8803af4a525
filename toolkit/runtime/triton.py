"""Reads Triton model repositories: checks what the server would load, and runs its ONNX model here."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from udacimed_edge.runtime import ort
from udacimed_edge.runtime.contract import KEY, ArtifactError, Contract, Predictor
from udacimed_edge.runtime.digest import files_of

__all__ = ["CONFIG", "MODEL", "open_artifact"]

CONFIG = "pneumonia/config.pbtxt"
MODEL = "pneumonia/1/model.onnx"
"""The repository's two files, as Triton expects them: <model>/config.pbtxt, <model>/<version>/model.onnx."""

_STATED = re.compile(rf'key: "{re.escape(KEY)}"\s+value\s*{{\s*string_value: ("(?:[^"\\\n]|\\.)*")\s*}}')


def open_artifact(path: Path, threads: int = 0) -> Predictor:
    """Open the repository's model with ONNX Runtime on the processor.

    Triton runs the same file through its own build of ONNX Runtime, with TensorRT on a GPU; that server
    is not a part of this toolkit, and the predictor's executor says so. Here the float16 weights are
    computed with in float32 wherever ONNX Runtime has no float16 kernel for the processor.

    Args:
        path: The `.triton` folder.
        threads: Threads of one prediction; 0 for one per core.

    Raises:
        ArtifactError: A file is missing or damaged, there is one more than the two, or the configuration
            states another contract than the model.
    """
    found = sorted(file.relative_to(path).as_posix() for file in files_of(path)) if path.is_dir() else []
    if found != [MODEL, CONFIG]:
        # a second version, for example, would be served instead of the one that is judged here
        raise ArtifactError(
            f"{path} is no model repository of ours: it must hold {CONFIG} and {MODEL}, "
            f"and holds {', '.join(found) or 'nothing'}"
        )
    stated = _stated_contract(path / CONFIG)
    predictor = ort.open_artifact(path / MODEL, threads)
    if stated != predictor.contract:
        raise ArtifactError(f"{path / CONFIG} states another contract than the model beside it")
    return replace(predictor, executor=f"{predictor.executor} (not executed by a Triton server)")


def _stated_contract(config: Path) -> Contract:
    """The contract among the parameters of a configuration.

    Protobuf text is not parsed as a whole: that takes Triton's own schema, which a device has not.

    Raises:
        ArtifactError: It is not text, or not one contract is in it.
    """
    try:
        stated = _STATED.findall(config.read_text(encoding="utf-8"))
        if len(stated) != 1:  # of two entries with one key, Triton takes the last
            raise ArtifactError(f"{len(stated)} contracts are in it, not one")
        return Contract.from_json(json.loads(stated[0]))
    except ValueError as error:  # a ArtifactError is a ValueError, and so is what is not UTF-8
        raise ArtifactError(f"{config} is not a configuration of ours: {error}") from error
