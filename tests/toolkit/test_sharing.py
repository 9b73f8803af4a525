"""Several images shared out: every image its own answer, and no crew where there is one image."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.runtime.sharing import Answer, shared_out

IMAGES = np.arange(7, dtype=np.uint8)[:, None, None].repeat(64, 1).repeat(64, 2)


def answering(seen: list[tuple[str, int]], name: str) -> Answer:
    """Answers that grow with the pixels, and a note of who gave how many."""

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append((name, len(images)))
        mean = images.mean(axis=(1, 2)).astype(np.float32)
        return np.stack([-mean, mean], axis=1)

    return answer


@pytest.mark.parametrize(("count", "parts"), [(2, [1, 1]), (3, [1, 1, 1]), (7, [2, 2, 3])])
def test_every_image_gets_its_own_answer(count: int, parts: list[int]) -> None:
    """Whoever computes them, the answers come in the order of the images."""
    seen: list[tuple[str, int]] = []
    alone = answering(seen, "alone")
    expected = np.concatenate([shared_out(alone, None)(image[None]) for image in IMAGES[:count]])
    seen.clear()
    predict = shared_out(alone, lambda: [answering(seen, f"{n}") for n in range(3)])
    np.testing.assert_array_equal(predict(IMAGES[:count]), expected)
    assert sorted(number for _, number in seen) == parts
    assert len({name for name, _ in seen}) == len(parts)


def test_one_image_needs_no_crew() -> None:
    """A crew costs memory: it is made once, when several images come for the first time."""
    seen: list[tuple[str, int]] = []
    made = []

    def crew() -> list[Answer]:
        made.append(1)
        return [answering(seen, "crew")] * 2

    predict = shared_out(answering(seen, "alone"), crew)
    predict(IMAGES[:1])
    assert (seen, made) == ([("alone", 1)], [])
    predict(IMAGES)
    predict(IMAGES)
    assert made == [1]


def test_parts_are_computed_at_the_same_time() -> None:
    """No member of the crew waits for another to end."""
    meeting = threading.Barrier(2, timeout=20)

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        meeting.wait()
        return np.zeros((len(images), 2), np.float32)

    assert len(shared_out(answer, lambda: [answer, answer])(IMAGES)) == 7
