"""Whether a picture looks like the training set's radiographs: its figures and their bounds."""

from __future__ import annotations

import numpy as np
import pytest

from udacimed_edge.core.data import DataSet
from udacimed_edge.runtime import plausibility
from udacimed_edge.runtime.plausibility import Appearance, measure, plausibility_warnings

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
AVERAGE = np.array(plausibility._AVERAGE)
USUAL = Appearance(brightness=140, contrast=50, detail=0.1, likeness=0.9)


def test_each_figure_is_what_it_says() -> None:
    """Mean, deviation, step between neighbours over the deviation, correlation of the fields: by NumPy."""
    wide = NOISE.astype(float)
    steps = (np.abs(wide[1:] - wide[:-1]).mean() + np.abs(wide[:, 1:] - wide[:, :-1]).mean()) / 2
    fields = [[wide[8 * i : 8 * i + 8, 8 * j : 8 * j + 8].mean() for j in range(8)] for i in range(8)]
    expected = (
        wide.mean(),
        wide.std(),
        steps / wide.std(),
        np.corrcoef(np.ravel(fields), AVERAGE.flat)[0, 1],
    )
    assert measure(NOISE) == pytest.approx(expected)


def test_the_average_is_like_itself_and_a_flat_picture_like_nothing() -> None:
    """The training set's mean has likeness 1; where nothing varies, detail and likeness are 0."""
    assert measure(AVERAGE.repeat(8, 0).repeat(8, 1).astype(np.uint8)).likeness == pytest.approx(1)
    assert measure(np.full((64, 64), 7, np.uint8)) == (7, 0, 0, 0)


def test_the_fields_are_pinned() -> None:
    """No field of the training set's mean changes unnoticed, nor two of them at once."""
    assert AVERAGE.sum() == 9331
    assert measure(NOISE).likeness == pytest.approx(0.005282973029, abs=1e-12)


def test_the_fields_and_bounds_are_the_training_split_s(real_data: DataSet) -> None:
    """The module's own instructions give its numbers again, on the radiographs that they are for."""
    train = real_data.read("train").images
    assert (np.rint(train.mean(0).reshape(8, 8, 8, 8).mean((1, 3))) == AVERAGE).all()
    low, likely, high = np.quantile([measure(image) for image in train], [0.001, 0.005, 0.999], 0)
    assert np.round((low[0], high[0], low[1]), 1).tolist() == [77.2, 200.4, 10.4]
    assert np.round((high[2], likely[3]), 3).tolist() == [0.317, 0.422]


@pytest.mark.parametrize(
    ("figure", "bound", "beyond", "reason"),
    [
        ("brightness", 77.2, 0, "too dark"),
        ("brightness", 200.4, 255, "too bright"),
        ("contrast", 10.4, 0, "hardly any contrast"),
        ("detail", 0.317, 1, "too much fine detail"),
        ("likeness", 0.422, -1, "another layout than lungs beside a spine"),
    ],
)
def test_a_bound_itself_is_no_reason(
    figure: str, bound: float, beyond: float, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A figure at its bound is let pass; the next number beyond it is a reason, alone and by its name."""
    for value, warnings in (
        (bound, ()),
        (float(np.nextafter(bound, beyond)), (f"does not look like a chest radiograph ({reason})",)),
    ):
        monkeypatch.setattr(plausibility, "measure", lambda pixels, v=value: USUAL._replace(**{figure: v}))
        assert plausibility_warnings(NOISE) == warnings
