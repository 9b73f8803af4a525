"""Each perturbation of radiographs does what its name says, and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.validation.judging.perturbations import (
    PERTURBATIONS,
    Images,
    blur,
    gamma,
    mirror,
    move,
    noise,
    robustness,
)


def pictures(count: int = 3) -> Images:
    """A bright square up and left of the middle, over a gray ramp, each picture a little brighter."""
    images = np.zeros((count, 64, 64), np.uint8) + np.arange(64, dtype=np.uint8)
    images[:, 12:22, 20:30] = 200
    images += np.arange(count, dtype=np.uint8)[:, None, None]
    return images


def middle(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Row and column of the bright square's middle."""
    rows, columns = np.nonzero(image > 150)
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize("case", PERTURBATIONS, ids=lambda case: case.name)
def test_a_perturbation_is_one_and_the_same(case: object) -> None:
    """It changes pictures, keeps their form and its argument, and gives the same for one picture or many."""
    apply = next(known.apply for known in PERTURBATIONS if known is case)
    images = pictures()
    before = images.copy()
    after = apply(images)
    assert after.dtype == np.uint8
    assert after.shape == images.shape
    assert (images == before).all()
    assert (after != images).any()
    assert (apply(images) == after).all()
    assert (apply(images[:1]) == after[:1]).all()
    assert apply(images[:0]).shape == (0, 64, 64)


def test_the_issue_s_list() -> None:
    """Mirroring has the bounds 0.98 and 0.05, all others 0.97 and 0.10; names are unique."""
    assert len({case.name for case in PERTURBATIONS}) == len(PERTURBATIONS) == 13
    bounds = {(case.least_sensitivity, case.most_specificity_lost) for case in PERTURBATIONS[1:]}
    assert bounds == {(0.97, 0.10)}
    assert (PERTURBATIONS[0].least_sensitivity, PERTURBATIONS[0].most_specificity_lost) == (0.98, 0.05)


def test_mirrored_twice_is_as_it_was() -> None:
    """Left and right are exchanged, up and down are not."""
    images = pictures()
    assert (mirror(mirror(images)) == images).all()
    assert middle(mirror(images)[0]) == pytest.approx((16.5, 63 - 24.5))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (16.5, 24.5)),
        ({"zoom": 1.2}, (31.5 - 15 * 1.2, 31.5 - 7 * 1.2)),
        ({"zoom": 0.85}, (31.5 - 15 * 0.85, 31.5 - 7 * 0.85)),
        ({"right": 0.1}, (16.5, 24.5 + 6.4)),
        ({"right": -0.1}, (16.5, 24.5 - 6.4)),
        ({"down": 0.1}, (16.5 + 6.4, 24.5)),
        ({"angle": 90}, (24.5, 63 - 16.5)),
        ({"angle": 10}, (31.5 - 15 * 0.985 - 7 * 0.174, 31.5 - 7 * 0.985 + 15 * 0.174)),
    ],
)
def test_things_move_where_they_should(settings: dict[str, float], expected: tuple[float, float]) -> None:
    """Zoom is about the middle, angles are clockwise, shifts go right and down."""
    assert middle(move(pictures(), **settings)[0]) == pytest.approx(expected, abs=0.6)


def test_no_movement_changes_no_pixel() -> None:
    """Zoom 1, no angle and no shift give the very picture."""
    assert (move(pictures()) == pictures()).all()


def test_borders_are_the_picture_mirrored() -> None:
    """What comes in from outside continues the picture: no black frame."""
    after = move(pictures() + np.uint8(20), right=0.1)
    assert after.min() >= 20
    shifted = move(pictures(), right=5 / 64)[0]
    assert (shifted[40, :5] == pictures()[0][40, :5][::-1]).all()


def test_gamma_keeps_black_and_white() -> None:
    """Below 1 brighter, above 1 darker, the ends stay."""
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    brighter, darker = gamma(ramp, 0.7), gamma(ramp, 1.4)
    assert brighter.ravel()[[0, 255]].tolist() == darker.ravel()[[0, 255]].tolist() == [0, 255]
    assert (brighter.ravel()[1:255] >= ramp.ravel()[1:255]).all()
    assert (darker.ravel()[1:255] <= ramp.ravel()[1:255]).all()
    assert brighter.ravel()[128] == round(255 * (128 / 255) ** 0.7)


def test_blur_takes_fine_detail_alone() -> None:
    """A chessboard of single pixels becomes gray; an even picture stays."""
    board = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)[None]
    assert np.ptp(blur(board)) < 40
    even = np.full((2, 64, 64), 77, np.uint8)
    assert (blur(even) == even).all()


def test_noise_has_its_deviation() -> None:
    """Over a gray picture the deviation is the one asked for, the mean stays."""
    gray = np.full((20, 64, 64), 128, np.uint8)
    after = noise(gray, 5.0).astype(float)
    assert after.std() == pytest.approx(5, abs=0.1)
    assert after.mean() == pytest.approx(128, abs=0.1)


def brightness(images: Images) -> NDArray[np.float64]:
    """A classifier that looks at mean brightness, whatever the rest."""
    return np.asarray(images.mean((1, 2)) / 255, dtype=np.float64)


def test_the_table_has_every_perturbation_and_its_verdict() -> None:
    """A classifier that reads brightness does not mind a mirror, and falls at a tone curve."""
    images = np.concatenate([np.full((10, 64, 64), 60, np.uint8), np.full((10, 64, 64), 140, np.uint8)])
    labels = np.repeat(np.array([0, 1], np.uint8), 10)
    rows = {row.name: row for row in robustness(images, labels, brightness, 0.45)}
    assert list(rows) == [case.name for case in PERTURBATIONS]
    assert rows["mirrored"].holds
    assert rows["mirrored"].specificity_lost == 0
    assert not rows["gamma 1.4"].holds  # every pneumonia is missed
    assert rows["gamma 1.4"].metrics.sensitivity.value == 0
    brighter = {row.name: row for row in robustness(images, labels, brightness, 0.3)}["gamma 0.7"]
    assert brighter.metrics.sensitivity.value == 1
    assert brighter.specificity_lost == 1
    assert not brighter.holds  # every normal is called ill


def test_a_bound_is_met_at_its_very_value() -> None:
    """Specificity down by exactly 0.05 on mirrored images holds, by 0.10 does not."""
    images = np.full((40, 64, 64), 60, np.uint8)
    images[20:] = 140
    labels = np.repeat(np.array([0, 1], np.uint8), 20)

    def lost(count: int) -> bool:
        marked = images.copy()
        marked[:count, :, 0] = 255  # a mark at the left, which the classifier below reads at the right

        def right(seen: Images) -> NDArray[np.float64]:
            return np.where(seen[:, 32, -1] > 100, 0.9, 0.1)

        return robustness(marked, labels, right, 0.5)[0].holds

    assert lost(1)
    assert not lost(2)
