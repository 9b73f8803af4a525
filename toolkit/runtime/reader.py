"""Opens an artifact of any format, on the device and in validation alike."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from udacimed_edge.runtime.contract import ArtifactError, Predictor
from udacimed_edge.runtime.formats import SUFFIXES

__all__ = ["SUFFIXES", "open_artifact"]


def open_artifact(path: Path, threads: int = 0) -> Predictor:
    """Open an artifact through its format's own runtime.

    Args:
        path: The artifact: an `.ort`, `.tflite` or `.xml` file, or an `.mlpackage` or `.triton` folder.
        threads: Threads of one prediction; 0 for one per core.

    Raises:
        ArtifactError: Not an artifact of ours, or damaged.
        ModuleNotFoundError: The format's runtime is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ArtifactError(f"{path} is no artifact: expected one of {', '.join(SUFFIXES)}")
    if not path.exists():
        raise ArtifactError(f"{path} does not exist")
    module = import_module(f"{__package__}.{SUFFIXES[path.suffix]}")
    return cast("Callable[[Path, int], Predictor]", module.open_artifact)(path, threads)
