"""An artifact opened for questions, from its own bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.validation.judging.evaluate import in_batches

__all__ = ["OpenArtifact"]


@dataclass(frozen=True)
class OpenArtifact:
    """An artifact opened from its bytes.

    Attributes:
        path: The artifact.
        contract: What it says about itself: threshold, labels, source model.
        executor: What computes, with its version.
    """

    path: Path
    contract: Contract
    executor: str
    _predictor: Predictor

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The probability of pneumonia for each image; at `contract.threshold` and above it is "pneumonia".

        Args:
            images: Raw pixels, uint8 of shape (n, 64, 64), values 0..255, n at least 1: normalisation is
                inside the artifact.

        Returns:
            float64 of shape (n,), values 0..1; NaN where an output is not finite.

        Raises:
            InputError: Another shape or type; floats may have been normalised already, which nothing shows.
        """
        found = np.asarray(images)
        if found.dtype != np.uint8 or found.ndim != 3 or found.shape[1:] != (64, 64) or not len(found):
            raise InputError(
                f"images are {found.dtype} of shape {found.shape}, expected uint8 of shape (n, 64, 64)",
                "give raw gray pixels 0..255, not normalised ones; udacimed_edge.runtime.image reads files",
            )
        return in_batches(self._predictor, found)
