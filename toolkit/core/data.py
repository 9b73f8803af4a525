"""PneumoniaMNIST splits: a MedMNIST file, the official download, or the built-in synthetic set.

Every split knows where it comes from and its digest: aggregate figures cannot tell the synthetic
sampler from real radiographs, only these can.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import sha256_file
from udacimed_edge.core.npz import ArrayHeader, opened_npz, read_array, read_header

__all__ = ["ENVIRONMENT_VARIABLE", "DataSet", "Split", "open_data", "sample_synthetic"]

ENVIRONMENT_VARIABLE = "UDACIMED_DATA"
SYNTHETIC_MODEL = Path(str(files("udacimed_edge") / "weights" / "synthetic.npz"))

OFFICIAL_MD5 = "8f4eceb4ccffa70c672198ea285246c6"
"""Of MedMNIST's own pneumoniamnist_64.npz, as medmnist publishes it; asking that package takes 3 s."""

Origin = Literal["official", "custom", "synthetic"]
SplitName = Literal["train", "validation", "test"]

_SYNTHETIC_COUNTS: dict[str, tuple[int, int]] = {
    "train": (240, 240),
    "validation": (135, 389),
    "test": (234, 390),
}
_SYNTHETIC_SIZES = {name: sum(counts) for name, counts in _SYNTHETIC_COUNTS.items()}
_SYNTHETIC_SEEDS: dict[str, int] = {"train": 1, "validation": 2, "test": 3}
_KEYS: dict[str, str] = {"train": "train", "validation": "val", "test": "test"}

_MOST_IMAGES = 100_000
"""Per split, 410 MB; MedMNIST's largest set of radiographs has 78,468. A damaged file may claim any."""

_MOST_BYTES = 4 << 30
"""Of a file; three splits of that many images weigh 1.2 GB."""

_THREE_WAYS = (
    "name the data in one of three ways: --data FILE.npz (or the environment variable UDACIMED_DATA), "
    "--data medmnist for the official download, or --data synthetic for a rehearsal without patients"
)


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
        name: "train", "validation" or "test".
        origin: "official", "custom" or "synthetic"; of the whole data set.
        images: uint8 of shape (n, 64, 64), values 0..255.
        labels: uint8 of shape (n,), 0 normal, 1 pneumonia.
    """

    name: str
    origin: Origin
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """SHA-256 over the pixels, then the labels: 64 hex digits."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class DataSet:
    """The three splits, each read and checked when it is asked for.

    Attributes:
        origin: "official" (MedMNIST's own file by its MD5), "custom" or "synthetic".
        name: What a report calls it: a file name or "built-in synthetic set".
        digest: SHA-256 of the file the splits come from.
        read: Reads one split.
        sizes: Counts the images of each split that is there, without reading them.
    """

    origin: Origin
    name: str
    digest: str
    read: Callable[[SplitName], Split]
    sizes: Callable[[], dict[str, int]]


def open_data(choice: str | None, environment: Mapping[str, str] = os.environ) -> DataSet:
    """Open the data set a user named, or the one found without a name.

    Args:
        choice: A path to a MedMNIST `.npz`, "medmnist", "synthetic", or None: then the environment
            variable UDACIMED_DATA, then a cached official file, then the download.
        environment: Where UDACIMED_DATA is looked up.

    Raises:
        InputError: The file is missing or is not a MedMNIST file, or the download failed.
    """
    choice = choice or environment.get(ENVIRONMENT_VARIABLE) or "medmnist"
    if choice == "synthetic":
        digest = sha256_file(SYNTHETIC_MODEL)
        return DataSet(
            "synthetic", "built-in synthetic set", digest, _synthetic_split, lambda: _SYNTHETIC_SIZES
        )
    return _open_npz(_official_file() if choice == "medmnist" else Path(choice))


def _official_file() -> Path:
    """The official 64-pixel file where medmnist caches it, downloaded if it is not there.

    Raises:
        InputError: No cached file and no download.
    """
    from medmnist import PneumoniaMNIST
    from medmnist.info import DEFAULT_ROOT

    from udacimed_edge.core.extras import import_torchvision

    if DEFAULT_ROOT is None:
        raise InputError("medmnist could not make its folder .medmnist in your home folder", _THREE_WAYS)
    cached = Path(DEFAULT_ROOT) / "pneumoniamnist_64.npz"
    if cached.exists() and _md5(cached) == OFFICIAL_MD5:
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        import_torchvision()  # medmnist downloads with it and reports its failing import as a failed download
        PneumoniaMNIST(split="train", size=64, download=True, root=DEFAULT_ROOT)
    except (RuntimeError, OSError, ValueError, zipfile.BadZipFile) as error:
        message = "the official PneumoniaMNIST file is not cached and could not be downloaded"
        raise InputError(message, _THREE_WAYS) from error
    if _md5(cached) != OFFICIAL_MD5:
        raise InputError(f"{cached} does not have the official MD5: delete it and try again", _THREE_WAYS)
    return cached


def _md5(path: Path) -> str:
    """MD5 of a file, by which MedMNIST publishes its own: 32 hex digits.

    Raises:
        InputError: The file cannot be read, or is larger than any that could be used.
    """
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise InputError(f"{path} weighs {size / 2**30:.1f} GiB: it is no MedMNIST file", _THREE_WAYS)
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", _THREE_WAYS) from error


def _open_npz(path: Path) -> DataSet:
    if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
        raise InputError(f"no data file at {path}", _THREE_WAYS)
    origin: Origin = "official" if _md5(path) == OFFICIAL_MD5 else "custom"
    read, sizes = partial(_npz_split, path, origin), partial(_npz_sizes, path)
    return DataSet(origin, path.name, sha256_file(path), read, sizes)


def _npz_sizes(path: Path) -> dict[str, int]:
    with opened_npz(path, _THREE_WAYS) as archive:
        present = [name for name, key in _KEYS.items() if f"{key}_images.npy" in archive.namelist()]
        return {name: read_header(archive, f"{_KEYS[name]}_images").shape[0] for name in present}


def _npz_split(path: Path, origin: Origin, name: SplitName) -> Split:
    """Read and check one split.

    Raises:
        InputError: The file is damaged, lacks a key, or a split has another shape, dtype or label set.
    """
    key = _KEYS[name]
    where = f"{path}, {key} split"
    with opened_npz(path, _THREE_WAYS) as archive:
        pictures, classes = parts = f"{key}_images", f"{key}_labels"
        for part in parts:
            if f"{part}.npy" not in archive.namelist():
                raise InputError(f"{path} has no '{part}': a MedMNIST file has {' and '.join(parts)}")
        _require_form(read_header(archive, pictures), read_header(archive, classes), where)
        images, labels = read_array(archive, pictures), read_array(archive, classes)
    _require_both_classes(labels, where)
    return Split(name, origin, np.ascontiguousarray(images), labels.ravel().astype(np.uint8))


def _require_form(images: ArrayHeader, labels: ArrayHeader, where: str) -> None:
    count, *size = images.shape or (0,)
    if images.dtype != np.uint8:
        raise InputError(f"{where}: images are {images.dtype}, expected uint8 with values 0..255")
    if size != [64, 64]:
        raise InputError(
            f"{where}: images have shape {images.shape}, expected (n, 64, 64): take MedMNIST's 64-pixel file"
        )
    if not 0 < count <= _MOST_IMAGES:
        what = "the split is empty" if count < 1 else f"{count} images, expected at most {_MOST_IMAGES}"
        raise InputError(f"{where}: {what}")
    if labels.shape not in {(count,), (count, 1)}:
        raise InputError(f"{where}: labels have shape {labels.shape} for {count} images, expected (n, 1)")
    if labels.dtype.kind not in "biu":
        raise InputError(f"{where}: labels are {labels.dtype}, expected whole numbers")


def _require_both_classes(labels: NDArray[Any], where: str) -> None:
    classes = set(np.unique(labels).tolist())
    if wrong := sorted(classes - {0, 1}):
        raise InputError(f"{where}: a label is {wrong[0]}, expected only 0 (normal) and 1 (pneumonia)")
    if len(classes) == 1:
        raise InputError(f"{where}: only one class is present; sensitivity and specificity need both")


def _synthetic_split(name: SplitName) -> Split:
    images, labels = sample_synthetic(_load_sampler(), *_SYNTHETIC_COUNTS[name], seed=_SYNTHETIC_SEEDS[name])
    return Split(name, "synthetic", images, labels)


def _load_sampler() -> dict[str, NDArray[Any]]:
    try:
        with np.load(SYNTHETIC_MODEL, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # as in _opened
        raise InputError("the built-in synthetic set is damaged", "install udacimed-edge again") from error


def sample_synthetic(
    sampler: Mapping[str, NDArray[Any]], normals: int, pneumonias: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw images from the class-conditional sampler that `examples/fit_synthetic.py` fits.

    Each class is a principal component model with a diagonal Gaussian over its components
    (probabilistic PCA without its noise term; Tipping and Bishop 1999, doi 10.1111/1467-9868.00196).
    Coefficients are drawn as whole numbers and components stored as int8, so that the matrix product is
    exact and every machine draws the same pixels.

    Args:
        sampler: For each class "normal" and "pneumonia": `<class>_mean` float32 (4096,), values 0..255;
            `<class>_components` int8 (k, 4096); `<class>_scale` float32 (k,), gray levels of one standard
            deviation per unit of the component.
        normals: How many images of class 0.
        pneumonias: How many images of class 1.
        seed: Of the generator.

    Returns:
        Images, uint8 of shape (n, 64, 64), values 0..255, and labels, uint8 of shape (n,), classes mixed.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = [
        _sample_class(sampler, name, count, generator)
        for name, count in (("normal", normals), ("pneumonia", pneumonias))
    ]
    order = generator.permutation(normals + pneumonias)
    labels = np.repeat(np.array([0, 1], dtype=np.uint8), [normals, pneumonias])
    return np.concatenate(drawn)[order], labels[order]


def _sample_class(
    sampler: Mapping[str, NDArray[Any]], name: str, count: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    components = sampler[f"{name}_components"].astype(np.float64)
    # 12 bits of fraction: coefficient times component times 128 terms stays far below 2**53
    unit = 4096.0
    scale = np.round(sampler[f"{name}_scale"].astype(np.float64) * unit)
    coefficients = np.round(generator.standard_normal((count, len(components))) * scale)
    pixels = (coefficients @ components) / unit + sampler[f"{name}_mean"].astype(np.float64)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8).reshape(count, 64, 64)
