"""What happens to radiographs on their way to a model, as numbers: one list for every robustness figure.

All functions take and give uint8 images of shape (n, 64, 64), values 0..255, keep their argument as it is,
and give the same result each time. Geometry is bilinear about the middle of the picture; what comes in from
outside is the picture mirrored at its edge, since no radiograph has a black frame cut off square.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.validation.metrics.metrics import compute_metrics
from udacimed_edge.validation.metrics.records import Metrics, Record

__all__ = [
    "PERTURBATIONS",
    "ZOOMS",
    "Images",
    "Perturbation",
    "Robustness",
    "blur",
    "gamma",
    "mirror",
    "move",
    "noise",
    "robustness",
]

Images = NDArray[np.uint8]

NOISE_SEED = 13


def mirror(images: Images) -> Images:
    """Turned left to right: a plate put in the wrong way round, a flipped scan."""
    return np.ascontiguousarray(images[:, :, ::-1])


def move(
    images: Images, zoom: float = 1.0, angle: float = 0.0, right: float = 0.0, down: float = 0.0
) -> Images:
    """Enlarge, turn and shift.

    Args:
        images: uint8 of shape (n, side, side).
        zoom: Above 1 things get larger; above 0.
        angle: Degrees, clockwise as the picture is seen.
        right: Shift as a share of the side.
        down: Likewise.
    """
    from scipy.ndimage import affine_transform

    side = images.shape[-1]
    cos, sin = math.cos(math.radians(angle)) / zoom, math.sin(math.radians(angle)) / zoom
    matrix = np.array([[cos, -sin], [sin, cos]])  # where a pixel (row, column) of the result comes from
    middle = (side - 1) / 2
    offset = middle - matrix @ (middle + side * np.array([down, right]))
    moved = [
        affine_transform(image.astype(np.float64), matrix, offset, order=1, mode="reflect")
        for image in images
    ]
    return _pixels(np.array(moved).reshape(images.shape))


def gamma(images: Images, exponent: float) -> Images:
    """Another tone curve: below 1 brighter, above 1 darker; black and white stay."""
    table = _pixels(255 * (np.arange(256) / 255) ** exponent)
    return table[images]


def blur(images: Images, side: int = 28) -> Images:
    """Made smaller with Pillow's antialiased bilinear filter, and enlarged again."""
    from PIL import Image

    full = images.shape[-1]
    again = [
        Image.fromarray(image)
        .resize((side, side), Image.Resampling.BILINEAR)
        .resize((full, full), Image.Resampling.BILINEAR)
        for image in images
    ]
    return np.array(again, dtype=np.uint8).reshape(images.shape)


def noise(images: Images, deviation: float) -> Images:
    """Gaussian noise with a standard deviation in gray levels; the n-th image always gets the same."""
    drawn = np.random.default_rng(NOISE_SEED).normal(0, deviation, images.shape)
    return _pixels(images + drawn)


def _pixels(values: NDArray[np.float64]) -> Images:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Perturbation:
    """One thing that may happen to a radiograph, and what a model must still do.

    Attributes:
        name: As tables print it.
        apply: uint8 of shape (n, 64, 64) to the same.
        least_sensitivity: 0..1.
        most_specificity_lost: Against the images as they are, 0..1.
    """

    name: str
    apply: Callable[[Images], Images]
    least_sensitivity: float = 0.97
    most_specificity_lost: float = 0.10


PERTURBATIONS = (
    Perturbation("mirrored", mirror, least_sensitivity=0.98, most_specificity_lost=0.05),
    Perturbation("zoom 0.85", partial(move, zoom=0.85)),
    Perturbation("zoom 1.2", partial(move, zoom=1.2)),
    Perturbation("shift 10 % left", partial(move, right=-0.1)),
    Perturbation("shift 10 % right", partial(move, right=0.1)),
    Perturbation("shift 10 % up", partial(move, down=-0.1)),
    Perturbation("shift 10 % down", partial(move, down=0.1)),
    Perturbation("rotation 10 degrees", partial(move, angle=10)),
    Perturbation("rotation -10 degrees", partial(move, angle=-10)),
    Perturbation("gamma 0.7", partial(gamma, exponent=0.7)),
    Perturbation("gamma 1.4", partial(gamma, exponent=1.4)),
    Perturbation("blur to 28 pixels", blur),
    Perturbation("noise, 5 gray levels", partial(noise, deviation=5.0)),
)

ZOOMS = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)
"""At which the shortcut is measured: how far a class is told by its size (see the model cards)."""


class Robustness(Record):
    """What a classifier does with one perturbation of a split.

    Attributes:
        name: The perturbation's.
        metrics: On the perturbed images.
        specificity_lost: Against the images as they are; below 0 is gained.
        holds: Whether both of the perturbation's bounds are kept.
    """

    name: str
    metrics: Metrics
    specificity_lost: float
    holds: bool


def robustness(
    images: Images,
    labels: NDArray[np.uint8],
    predict: Callable[[Images], NDArray[np.float64]],
    threshold: float,
) -> tuple[Robustness, ...]:
    """How a classifier does on every perturbation of a split.

    Args:
        images: uint8 of shape (n, 64, 64).
        labels: uint8 of shape (n,): 0 normal, 1 pneumonia, both present.
        predict: Images to probabilities of pneumonia, float64 of shape (n,).
        threshold: Strictly between 0 and 1.

    Raises:
        InputError: A probability is NaN or outside 0..1, or a class is absent.
    """
    upright = compute_metrics(labels, predict(images), threshold)
    return tuple(
        _judge(case, compute_metrics(labels, predict(case.apply(images)), threshold), upright)
        for case in PERTURBATIONS
    )


def _judge(case: Perturbation, found: Metrics, upright: Metrics) -> Robustness:
    before, after = upright.tn / (upright.tn + upright.fp), found.tn / (found.tn + found.fp)
    sensitivity = found.tp / (found.tp + found.fn)
    # counts of one split: the difference of two shares is rounded, 1e-9 of an image is none
    kept = before - after <= case.most_specificity_lost + 1e-9
    return Robustness(
        name=case.name,
        metrics=found,
        specificity_lost=before - after,
        holds=sensitivity >= case.least_sensitivity and kept,
    )
