"""Several images shared out to the processor's cores.

One image is computed by all threads together. Of several, each thread computes its part alone: it then waits
for the others once instead of after every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import probability_of_pneumonia

__all__ = ["Answer", "shared_out"]

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 of shape (n, 64, 64) to logits of shape (n, 2)."""


def shared_out(
    alone: Answer, crew: Callable[[], Sequence[Answer]] | None
) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """What a `Predictor` predicts with.

    Args:
        alone: Computes one image, and any number where there is no crew.
        crew: Makes what computes several images, one per thread, called at the same time; first called when
            there are several, because a device that screens one by one has no memory for it.
    """

    @cache
    def started() -> tuple[ThreadPoolExecutor, Sequence[Answer]]:
        assert crew is not None  # otherwise `predict` does not call this
        answers = crew()
        return ThreadPoolExecutor(len(answers)), answers

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        if crew is None or len(images) < 2:
            return probability_of_pneumonia(alone(images))
        pool, answers = started()
        parts = np.array_split(images, min(len(answers), len(images)))
        logits = pool.map(lambda answer, part: answer(part), answers[: len(parts)], parts)
        return probability_of_pneumonia(np.concatenate(list(logits)))

    return predict
