"""The self-test inside a page: synthetic radiographs and what the page must answer for them.

WebAssembly computes the same on every processor, so that what the page answered in one browser is what it
must answer in every other, up to the last digits of the exponential function. Native ONNX Runtime is not
the measure: its integer kernels round otherwise (up to 0.034 of probability with the student, INT8).
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["SelfTest", "self_test"]

TOLERANCE = 1e-5
"""The largest difference in probability between two browsers that counts as the same computation."""


@dataclass(frozen=True)
class SelfTest:
    """What the page must answer before it answers anything else.

    Attributes:
        images: PNG files, 64x64 gray.
        probabilities: Expected for each, 0..1.
        tolerance: Largest difference that counts as the same computation.
    """

    images: tuple[bytes, ...]
    probabilities: tuple[float, ...]
    tolerance: float


def self_test(artifact: Path, browser: Path) -> SelfTest:
    """Ask the artifact's page, in a browser, about synthetic radiographs and keep those of a self-test.

    Args:
        artifact: The `.ort` file.
        browser: The Chromium to ask (`browser.find_chromium`).

    Raises:
        BrowserError: The browser gives no answers, or one that is no number.
        GateRefusedError: As for `targets.vectors.choose`.
        InputError: As for `writer.write_page`.
    """
    from udacimed_edge.core.data import open_data
    from udacimed_edge.runtime.ort import open_artifact
    from udacimed_edge.targets.bundle.vectors import choose
    from udacimed_edge.targets.page.browser import BrowserError, ask_page
    from udacimed_edge.targets.page.writer import write_page

    images = open_data("synthetic").read("test").images
    files = [png(image) for image in images]
    predictor = open_artifact(artifact, threads=1)
    native = [float(predictor.predict(image[None])[0]) for image in images[:32]]
    sure = int(np.argmax(native))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{number:04}.png" for number in range(len(files))]
        for path, content in zip(paths, files, strict=True):
            path.write_bytes(content)
        # this page is asked, and thrown away: of its own self-test only the decision must be right
        page = write_page(artifact, folder, SelfTest((files[sure],), (native[sure],), 1.0))
        rows = ask_page(page, paths, browser).rows
    if any(row["probability"] is None for row in rows):
        raise BrowserError("the page answered a synthetic radiograph without a probability")
    answers = np.array([row["probability"] for row in rows], dtype=np.float64)
    chosen = choose(answers, predictor.contract.threshold, TOLERANCE)
    return SelfTest(
        tuple(files[index] for index in chosen), tuple(float(answers[index]) for index in chosen), TOLERANCE
    )


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of uint8 pixels, of the same bytes everywhere."""
    from PIL import Image

    stream = io.BytesIO()
    # stored: the output of zlib differs between its versions
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    return stream.getvalue()
