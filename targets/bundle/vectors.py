"""The self-test that travels with an artifact: synthetic radiographs and what it must answer for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.core.files import output_errors, write_atomic
from udacimed_edge.targets.bundle.facts import Facts

__all__ = ["COUNT", "TOLERANCES", "VECTORS", "choose", "write_vectors"]

VECTORS = "selftest"
"""The folder in a bundle."""

COUNT = 32
"""Radiographs in a self-test."""

TOLERANCES: dict[Precision, tuple[float, str]] = {
    "fp32": (
        1e-3,
        "float32 sums are added up in another order on another processor, which moves a probability by less "
        "than 1e-4; ten times that is allowed",
    ),
    "fp16": (
        1e-2,
        "half precision has 11 bits: where intermediate results are rounded differs between processors",
    ),
    "int8": (
        2e-2,
        "integer sums are exact on every processor; scaling them between layers may round to the next of 256 "
        "steps. With the reference model there was no difference on emulated AVX2 and Cortex-A72 "
        "processors; the room is for kernels that could not be run",
    ),
}
"""By precision, the largest difference in probability that counts as the same computation, and why."""


def choose(answers: NDArray[np.float64], threshold: float, tolerance: float) -> NDArray[np.int64]:
    """Pick the radiographs of a self-test: both decisions, spread over all answers.

    None lies within the tolerance of the threshold: there a difference that is allowed would change a
    decision, which is not.

    Args:
        answers: float64 of shape (n,), 0..1.
        threshold: Of the decision.
        tolerance: Largest difference in probability that the self-test will allow.

    Returns:
        `COUNT` indices, ascending.

    Raises:
        GateRefusedError: Too few answers lie far enough from the threshold.
    """
    order = np.argsort(answers, kind="stable")
    low = order[answers[order] < threshold - tolerance]
    high = order[answers[order] > threshold + tolerance]
    if len(low) + len(high) < COUNT:
        raise GateRefusedError(
            f"no self-test can be made: of {len(answers)} answers only {len(low) + len(high)} are further "
            f"than {tolerance:g} from the threshold {threshold:.4f}",
            "a model that is so undecided is of no use; train it again",
        )
    below = min(len(low), max(COUNT // 2, COUNT - len(high)))
    return np.sort(np.concatenate([_spread(low, below), _spread(high, COUNT - below)]))


def _tolerance(facts: Facts) -> tuple[float, str]:
    """The precision's own; or twice what the artifact was measured to differ by, where that is more."""
    usual, reason = TOLERANCES[facts.precision]
    measured = facts.processor_difference
    if 2 * measured <= usual:
        return usual, reason
    return 2 * measured, f"{reason}; the report's processor cases measured {measured:.4f}, doubled here"


def _spread(ranked: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many of the indices, evenly from the first to the last."""
    return ranked[np.linspace(0, len(ranked) - 1, count).round().astype(int)] if count else ranked[:0]


def write_vectors(
    folder: Path, facts: Facts, images: NDArray[np.uint8], answers: NDArray[np.float64], executor: str
) -> None:
    """Write the self-test of an artifact.

    Args:
        folder: The bundle's.
        facts: The artifact's.
        images: uint8 of shape (n, 64, 64), values 0..255, synthetic.
        answers: float64 of shape (n,), 0..1: what the artifact answered for them, one at a time.
        executor: What computed the answers.

    Raises:
        GateRefusedError: As for `choose`.
        OutputError: It cannot be written.
    """
    from PIL import Image

    tolerance, reason = _tolerance(facts)
    chosen = choose(answers, facts.threshold, tolerance)
    names = [f"{number:02}.png" for number in range(1, len(chosen) + 1)]
    place = folder / VECTORS
    with output_errors(place):
        place.mkdir()
        for name, index in zip(names, chosen, strict=True):
            # stored: the output of zlib differs between its versions
            Image.fromarray(images[index]).save(place / name, compress_level=0)
    content = {
        "notice": facts.marked_notice,
        "about": "synthetic radiographs, 64x64 gray pixels 0..255, and what the artifact must answer: the "
        "probability of pneumonia, no further off than the tolerance, and the same decision",
        "artifact_sha256": facts.artifact_digest,
        "threshold": facts.threshold,
        "tolerance": tolerance,
        "tolerance_reason": reason,
        "computed_by": executor,
        "images": names,
        "probabilities": [float(answers[index]) for index in chosen],
    }
    write_atomic(place / "vectors.json", f"{json.dumps(content, indent=1)}\n".encode())
