"""Which images calibrate INT8: training images only, and always the same ones."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import InputError

__all__ = ["COUNT", "calibration_digest", "calibration_images", "require_usable"]

COUNT = 320
"""How many images calibrate: NNCF's default is 300; the formats' own guides name 100 to 500."""

_LEAST = 300


def calibration_images(train: Split) -> NDArray[np.uint8]:
    """Images at even distances over the training split, so in its own mix of classes.

    Returns:
        uint8 of shape (320, 64, 64), or all images of a split of 300 to 320.

    Raises:
        InputError: Not the training split, fewer than 300 images, or images without contrast.
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
    require_usable(chosen)
    return chosen


def require_usable(images: NDArray[np.uint8]) -> None:
    """Refuse images that would calibrate to nonsense.

    Args:
        images: What is to calibrate.

    Raises:
        InputError: Not uint8 of shape (n, 64, 64), fewer than 300, or without any contrast.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (64, 64):
        raise InputError(
            f"calibration images are {images.dtype} of shape {images.shape}, expected uint8 of (n, 64, 64)"
        )
    if len(images) < _LEAST:
        raise InputError(f"int8 needs calibration images: at least {_LEAST}, not {len(images)}")
    if images.min() == images.max():
        raise InputError(
            f"all calibration images have the one value {images.min()}: there is no range to be learnt",
            "look at the training split of the data set",
        )


def calibration_digest(images: NDArray[np.uint8]) -> str:
    """SHA-256 of the images' pixels, 64 hex digits."""
    return hashlib.sha256(images.tobytes()).hexdigest()
