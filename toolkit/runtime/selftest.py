"""Whether this very device computes as the machine that validated the artifact."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from udacimed_edge.runtime import image
from udacimed_edge.runtime.contract import Predictor

__all__ = ["SelftestResult", "check"]


@dataclass(frozen=True)
class SelftestResult:
    """The outcome.

    Attributes:
        passed: Every probability within the tolerance, every decision the same.
        message: The figures, or what is wrong, in one line.
    """

    passed: bool
    message: str


def check(folder: Path, predictor: Predictor, digest: str) -> SelftestResult:
    """Run the vectors that travel with an artifact.

    Args:
        folder: Holds `vectors.json` (artifact_sha256, tolerance, images, probabilities) and its images.
        predictor: The artifact, opened.
        digest: The artifact's SHA-256.
    """
    try:
        vectors = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
        names, expected, tolerance = _content(vectors)
        if vectors["artifact_sha256"] != digest:
            return SelftestResult(False, "its vectors belong to another artifact than the one here")
        pixels = [image.load(folder / name).pixels for name in names]
    except OSError as error:
        return SelftestResult(False, f"{folder / 'vectors.json'} cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # an ImageError is a ValueError
        return SelftestResult(False, f"the vectors in {folder} are damaged: {error}")
    try:
        answers = np.array([predictor.predict(one[None])[0] for one in pixels])
    except Exception as error:  # each runtime has exceptions of its own, some derived from Exception alone
        return SelftestResult(False, f"the artifact failed while computing: {error}")
    threshold = predictor.contract.threshold
    changed = int(np.count_nonzero((answers >= threshold) != (expected >= threshold)))
    largest = float(np.abs(answers - expected).max())
    figures = f"{len(names)} images, largest difference {largest:.2g} (allowed {tolerance:.2g})"
    # not `largest > tolerance`: with a NaN among the answers both comparisons are false
    passed = largest <= tolerance and changed == 0
    return SelftestResult(passed, f"{figures}, {changed} decisions changed")


def _content(vectors: dict[str, Any]) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float64]], float]:
    """The images' names, probabilities float64 of shape (n,), 0..1, and the tolerance.

    Raises:
        ValueError: None, not as many of one as of the other, or no probabilities.
    """
    names, tolerance = list(vectors["images"]), float(vectors["tolerance"])
    expected = np.array(vectors["probabilities"], dtype=np.float64)
    if not names or expected.shape != (len(names),):
        raise ValueError(f"{len(names)} images and {expected.size} probabilities")
    if not ((expected >= 0) & (expected <= 1)).all() or not 0 <= tolerance < 1:
        raise ValueError("a probability or the tolerance is outside 0..1")
    return names, expected, tolerance
