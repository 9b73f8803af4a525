"""The self-test that travels with an artifact: synthetic radiographs and what it must answer for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.core.files import output_errors, write_atomic
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.targets.bundle.spec import marked
from udacimed_edge.validation.report import Report

__all__ = [
    "COUNT",
    "POOL",
    "TOLERANCES",
    "VECTORS",
    "choose",
    "image_names",
    "tolerance_for",
    "vector_fields",
    "write_vectors",
]

VECTORS = "selftest"
"""The folder in a bundle."""

COUNT = 32
"""Radiographs in a self-test."""

POOL = 64
"""Synthetic radiographs, the first of the test split, from which they are chosen."""

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


def tolerance_for(report: Report) -> tuple[float, str]:
    """The largest difference that a self-test allows, and why.

    The precision's own; or twice what the report measured on another processor, where that is more.
    """
    usual, reason = TOLERANCES[cast("Precision", report.artifact.precision)]
    cases = (case.max_difference or 0.0 for case in report.processors if not case.comparison_only)
    measured = max(cases, default=0.0)
    if 2 * measured <= usual:
        return usual, reason
    return 2 * measured, f"{reason}; the report's processor cases measured {measured:.4f}, doubled here"


def vector_fields(report: Report) -> dict[str, Any]:
    """What `vectors.json` says besides its images, their answers and who computed them."""
    tolerance, reason = tolerance_for(report)
    return {
        "notice": marked(report, Contract.notice),
        "about": "synthetic radiographs, 64x64 gray pixels 0..255, and what the artifact must answer: the "
        "probability of pneumonia, no further off than the tolerance, and the same decision",
        "artifact_sha256": report.artifact.digest,
        "threshold": report.threshold,
        "tolerance": tolerance,
        "tolerance_reason": reason,
    }


def _spread(ranked: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many of the indices, evenly from the first to the last."""
    return ranked[np.linspace(0, len(ranked) - 1, count).round().astype(int)] if count else ranked[:0]


def image_names() -> list[str]:
    """The files of a self-test's radiographs."""
    return [f"{number:02}.png" for number in range(1, COUNT + 1)]


def write_vectors(
    folder: Path, report: Report, images: NDArray[np.uint8], answers: NDArray[np.float64], executor: str
) -> None:
    """Write the self-test of an artifact.

    Args:
        folder: The bundle's.
        report: The artifact's.
        images: uint8 of shape (n, 64, 64), values 0..255, synthetic.
        answers: float64 of shape (n,), 0..1: what the artifact answered for them, one at a time.
        executor: What computed the answers.

    Raises:
        GateRefusedError: As for `choose`.
        OutputError: It cannot be written.
    """
    from PIL import Image

    chosen, place = choose(answers, report.threshold, tolerance_for(report)[0]), folder / VECTORS
    with output_errors(place):
        place.mkdir()
        for name, index in zip(image_names(), chosen, strict=True):
            # stored: the output of zlib differs between its versions
            Image.fromarray(images[index]).save(place / name, compress_level=0)
    content = {
        **vector_fields(report),
        "computed_by": executor,
        "images": image_names(),
        "probabilities": [float(answers[index]) for index in chosen],
    }
    write_atomic(place / "vectors.json", f"{json.dumps(content, indent=1)}\n".encode())
