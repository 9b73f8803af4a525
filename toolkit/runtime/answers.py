"""Answers for a file of images, in a process of its own: how another processor computes an artifact.

    python -m udacimed_edge.runtime.answers ARTIFACT IMAGES.npy ANSWERS.npy

Only what ships to a device is imported, so that an emulated processor needs no more than its runtime.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from udacimed_edge.runtime.contract import Predictor
from udacimed_edge.runtime.reader import open_artifact

__all__ = ["answer"]


def answer(predictor: Predictor, images: Path, out: Path) -> None:
    """Predict image by image; the number of those done is printed after each.

    Args:
        predictor: The artifact, opened.
        images: A `.npy` file, uint8 of shape (n, 64, 64).
        out: The `.npy` file to write: the probability of pneumonia, float64 of shape (n,).
    """
    answers = []
    for done, image in enumerate(np.load(images, mmap_mode="r"), start=1):
        answers.append(predictor.predict(image[None]))
        # where nobody reads any more this fails, and no orphan computes on for minutes
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
    np.save(out, np.concatenate(answers))


if __name__ == "__main__":
    artifact, images, out = map(Path, sys.argv[1:])
    answer(open_artifact(artifact, threads=1), images, out)
