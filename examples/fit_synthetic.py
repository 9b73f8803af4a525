"""Fit the built-in synthetic set on the training split: PCA per class, a diagonal Gaussian over it.

    python examples/fit_synthetic.py --data pneumoniamnist_64.npz --out toolkit/weights/synthetic.npz

The result holds 128 components per class, no image: it lets the whole way be rehearsed anywhere and INT8
be calibrated where no patient image may travel. What is measured on it is never evidence.
"""

from __future__ import annotations

import io
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.data import open_data
from udacimed_edge.core.files import write_atomic

COMPONENTS = 128


def fit_class(images: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    """Mean, int8 components and their scale for the images of one class, uint8 of shape (n, 64, 64)."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    _, singular, vectors = np.linalg.svd(flat - mean, full_matrices=False)
    peak = np.abs(vectors[:COMPONENTS]).max(axis=1)
    components = np.rint(vectors[:COMPONENTS] / peak[:, None] * 127).astype(np.int8)
    deviation = singular[:COMPONENTS] / np.sqrt(len(flat) - 1)
    return {
        "mean": mean.astype(np.float32),
        "components": components,
        "scale": (deviation * peak / 127).astype(np.float32),
    }


@click.command()
@click.option("--data", required=True, help="A MedMNIST .npz file.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(data: str, out: Path) -> None:
    """Fit on the training split and write the sampler."""
    train = open_data(data).read("train")
    arrays = {
        f"{name}_{key}": value
        for label, name in enumerate(("normal", "pneumonia"))
        for key, value in fit_class(train.images[train.labels == label]).items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub mistakes ** for allow_pickle
    write_atomic(out, buffer.getvalue())
    click.echo(f"{out}: {len(buffer.getvalue()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
