"""Whether a picture looks like the training set's chest radiographs: four figures, each with its bounds.

The bounds are quantiles over PneumoniaMNIST's training split (4,708 images, 64x64): 0.1 % and 99.9 %,
and 0.5 % for likeness, where photographs begin. Beyond any of them were 0.7 % of the training images,
0.4 % of the 524 validation images and 0.8 % of the 624 test images. Measured with

    train = numpy.load("pneumoniamnist_64.npz")["train_images"]
    numpy.rint(train.mean(0).reshape(8, 8, 8, 8).mean((1, 3)))                      # _AVERAGE
    numpy.quantile([measure(image) for image in train], [0.001, 0.005, 0.999], 0)   # the bounds

A warning is a reason to look, not proof; silence is no proof either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Appearance", "measure", "plausibility_warnings"]

_AVERAGE = (
    (107, 119, 140, 161, 162, 139, 117, 106),
    (127, 138, 138, 160, 161, 137, 140, 127),
    (128, 127, 123, 162, 167, 128, 133, 130),
    (122, 113, 128, 172, 179, 147, 126, 128),
    (113, 107, 135, 179, 186, 164, 131, 122),
    (105, 109, 134, 178, 187, 168, 137, 114),
    (124, 151, 168, 186, 189, 172, 151, 118),
    (154, 182, 189, 195, 193, 182, 172, 144),
)
"""The mean of all training images in 8x8 fields, gray levels: a bright spine between two darker lungs."""

_DARKEST, _BRIGHTEST = 77.2, 200.4
_FLATTEST = 10.4
_BUSIEST = 0.317
_LEAST_LIKE = 0.422


class Appearance(NamedTuple):
    """Four figures of a picture.

    Attributes:
        brightness: Mean gray level, 0..255.
        contrast: Standard deviation of the gray levels, 0..127.5.
        detail: Mean step between neighbouring pixels over the contrast; noise has about 1.1.
        likeness: Correlation of the picture's 8x8 fields with the training set's mean, -1..1.
    """

    brightness: float
    contrast: float
    detail: float
    likeness: float


def measure(pixels: NDArray[np.uint8]) -> Appearance:
    """Measure a picture.

    Args:
        pixels: uint8 of shape (64, 64), values 0..255.
    """
    wide = pixels.astype(np.float64)
    contrast = float(wide.std())
    steps = (np.abs(np.diff(wide, axis=0)).mean() + np.abs(np.diff(wide, axis=1)).mean()) / 2
    fields = wide.reshape(8, 8, 8, 8).mean(axis=(1, 3)).ravel()
    average = np.array(_AVERAGE, dtype=np.float64).ravel()
    fields, average = fields - fields.mean(), average - average.mean()
    length = float(np.sqrt((fields @ fields) * (average @ average)))
    return Appearance(
        brightness=float(wide.mean()),
        contrast=contrast,
        detail=float(steps) / contrast if contrast else 0.0,
        likeness=float(fields @ average) / length if length else 0.0,
    )


def plausibility_warnings(pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    """One line when a picture does not look like a chest radiograph, with the reasons; else nothing.

    Args:
        pixels: uint8 of shape (64, 64), values 0..255.
    """
    seen = measure(pixels)
    reasons = [
        reason
        for reason, odd in (
            ("too dark", seen.brightness < _DARKEST),
            ("too bright", seen.brightness > _BRIGHTEST),
            ("hardly any contrast", seen.contrast < _FLATTEST),
            ("too much fine detail", seen.detail > _BUSIEST),
            ("another layout than lungs beside a spine", seen.likeness < _LEAST_LIKE),
        )
        if odd
    ]
    return (f"does not look like a chest radiograph ({', '.join(reasons)})",) if reasons else ()
