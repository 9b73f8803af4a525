"""Which images calibrate INT8: training images only, and always the same ones."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.data import Split
from udacimed_edge.errors import InputError

__all__ = ["COUNT", "calibration_digest", "calibration_images"]

COUNT = 320
"""How many images calibrate: NNCF's default is 300; the formats' own guides name 100 to 500."""

_LEAST = 300


def calibration_images(train: Split) -> NDArray[np.uint8]:
    """Images at even distances over the training split, so in its own mix of classes.

    Returns:
        uint8 of shape (320, 64, 64), or all images of a split of 300 to 320.

    Raises:
        InputError: Not the training split, or fewer than 300 images.
    """
    if train.name != "train":
        raise InputError(f"INT8 is calibrated on training images, not on the {train.name} split")
    if len(train.images) < _LEAST:
        raise InputError(
            f"the training split has {len(train.images)} images; calibrating INT8 takes at least {_LEAST}",
            "name a larger data set, or convert with --precision fp32",
        )
    rows = np.linspace(0, len(train.images) - 1, min(COUNT, len(train.images))).astype(int)
    chosen: NDArray[np.uint8] = train.images[rows]
    return chosen


def calibration_digest(images: NDArray[np.uint8]) -> str:
    """SHA-256 of the images' pixels, 64 hex digits."""
    return hashlib.sha256(images.tobytes()).hexdigest()
