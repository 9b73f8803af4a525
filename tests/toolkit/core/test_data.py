"""The three ways to data: which one is taken, what is said of it, and which files are refused."""

from __future__ import annotations

import hashlib
import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import medmnist
import numpy as np
import pytest
from medmnist.info import INFO
from numpy.typing import NDArray

from udacimed_edge.core import data
from udacimed_edge.core.data import ENVIRONMENT_VARIABLE, SplitName, open_data, sample_synthetic
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import sha256_file

Arrays = dict[str, NDArray[Any]]


def arrays(**changes: NDArray[Any]) -> Arrays:
    """A small MedMNIST file's content, or one that differs as given."""
    random = np.random.default_rng(0)
    content: Arrays = {}
    for key, count in {"train": 4, "val": 3, "test": 5}.items():
        content[f"{key}_images"] = random.integers(0, 256, (count, 64, 64), dtype=np.uint8)
        content[f"{key}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    return content | changes


def npz(path: Path, content: Arrays) -> Path:
    """Write a `.npz` file."""
    np.savez_compressed(path, allow_pickle=True, **content)
    return path


def npy(array: NDArray[Any]) -> bytes:
    """An array as a `.npz` file holds it."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def members(**changes: bytes) -> dict[str, bytes]:
    """The files in a small MedMNIST file, or in one that differs as given."""
    return {
        f"{key}.npy": content for key, content in ({k: npy(v) for k, v in arrays().items()} | changes).items()
    }


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip file."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def md5(path: Path) -> str:
    """MD5 in hex."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def call_official(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let a file's MD5 be the one MedMNIST publishes."""
    monkeypatch.setattr(data, "OFFICIAL_MD5", md5(path))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where medmnist caches its files, empty, without a network."""

    def offline(**_: object) -> None:
        raise RuntimeError("Automatic download failed!")

    monkeypatch.setattr(medmnist.info, "DEFAULT_ROOT", str(tmp_path / "cache"))
    monkeypatch.setattr(medmnist, "PneumoniaMNIST", offline)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


IMAGES, LABELS = arrays()["test_images"], arrays()["test_labels"]


# The three ways.


@pytest.mark.parametrize(("name", "key"), [("train", "train"), ("validation", "val"), ("test", "test")])
def test_a_file_is_read_split_by_split(tmp_path: Path, name: SplitName, key: str) -> None:
    """Each split of a MedMNIST file comes back pixel by pixel, its labels as one row."""
    content = arrays()
    split = open_data(str(npz(tmp_path / "mine.npz", content))).read(name)
    assert split.name == name
    assert split.images.dtype == split.labels.dtype == np.uint8
    np.testing.assert_array_equal(split.images, content[f"{key}_images"])
    np.testing.assert_array_equal(split.labels, content[f"{key}_labels"].ravel())


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, 0, 1, 1]),
        np.array([[0], [1], [0], [1], [1]], dtype=">i4"),
        np.array([False, True, False, True, True]),
    ],
    ids=["one row", "big-endian", "boolean"],
)
def test_labels_may_be_written_otherwise(tmp_path: Path, labels: NDArray[Any]) -> None:
    """Whole numbers of any type, in a row or a column, mean the same labels."""
    split = open_data(str(npz(tmp_path / "mine.npz", arrays(test_labels=labels)))).read("test")
    assert split.labels.dtype == np.uint8
    assert split.labels.tolist() == [0, 1, 0, 1, 1]


def test_the_order_of_bytes_in_the_file_changes_nothing(tmp_path: Path) -> None:
    """Images stored column by column are the same images, with the same digest."""
    content = arrays()
    columns = np.asfortranarray(content["test_images"])
    one = open_data(str(npz(tmp_path / "rows.npz", content))).read("test")
    other = open_data(str(npz(tmp_path / "columns.npz", arrays(test_images=columns)))).read("test")
    np.testing.assert_array_equal(other.images, one.images)
    assert other.digest == one.digest


def test_an_uncompressed_file_is_read(tmp_path: Path) -> None:
    """A file that `numpy.savez` wrote is read as a compressed one is."""
    np.savez(tmp_path / "mine.npz", allow_pickle=True, **arrays())
    assert len(open_data(str(tmp_path / "mine.npz")).read("test").images) == 5


def test_a_file_is_custom_and_digested(tmp_path: Path) -> None:
    """A person's own file is "custom", has its own name and the digest sha256sum prints."""
    path = npz(tmp_path / "mine.npz", arrays())
    dataset = open_data(str(path))
    assert (dataset.origin, dataset.name, dataset.digest) == ("custom", "mine.npz", sha256_file(path))
    assert dataset.sizes() == {"train": 4, "validation": 3, "test": 5}
    assert dataset.read("test").origin == "custom"


def test_the_official_file_is_known_by_its_md5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is official by its bytes, whatever its name and place."""
    path = npz(tmp_path / "renamed.npz", arrays())
    call_official(monkeypatch, path)
    dataset = open_data(str(path))
    assert dataset.origin == dataset.read("test").origin == "official"


def test_the_digest_of_a_split_covers_pixels_and_labels(tmp_path: Path) -> None:
    """A split's digest is the SHA-256 of its pixels, then its labels; one changed label changes it."""
    content = arrays()
    split = open_data(str(npz(tmp_path / "one.npz", content))).read("test")
    assert split.digest == hashlib.sha256(split.images.tobytes() + split.labels.tobytes()).hexdigest()
    content["test_labels"][0] = 1
    assert open_data(str(npz(tmp_path / "other.npz", content))).read("test").digest != split.digest


def test_a_name_wins_over_the_environment(tmp_path: Path) -> None:
    """What a person names is taken, whatever the environment says."""
    path = npz(tmp_path / "mine.npz", arrays())
    assert open_data("synthetic", {ENVIRONMENT_VARIABLE: str(path)}).origin == "synthetic"
    assert open_data(str(path), {ENVIRONMENT_VARIABLE: "synthetic"}).name == "mine.npz"


def test_the_environment_wins_over_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name the environment variable is followed, a cached official file or not."""
    call_official(monkeypatch, npz(cache / "pneumoniamnist_64.npz", arrays()))
    path = npz(tmp_path / "mine.npz", arrays())
    assert open_data(None, {ENVIRONMENT_VARIABLE: str(path)}).name == "mine.npz"
    assert open_data(None, {ENVIRONMENT_VARIABLE: "synthetic"}).origin == "synthetic"


def test_the_official_md5_is_the_one_medmnist_publishes() -> None:
    """The digest that makes a file official is medmnist's own."""
    assert INFO["pneumoniamnist"]["MD5_64"] == data.OFFICIAL_MD5


@pytest.mark.parametrize("choice", [None, "", "medmnist"])
def test_the_cached_official_file_needs_no_download(
    cache: Path, monkeypatch: pytest.MonkeyPatch, choice: str | None
) -> None:
    """Without a name and an environment variable, or by name, the cached official file is taken."""
    call_official(monkeypatch, npz(cache / "pneumoniamnist_64.npz", arrays()))
    dataset = open_data(choice, {ENVIRONMENT_VARIABLE: ""})
    assert (dataset.origin, dataset.name) == ("official", "pneumoniamnist_64.npz")


def test_the_official_file_is_downloaded(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a cached file medmnist downloads its 64-pixel file, with the torchvision it needs for that."""
    served = npz(tmp_path / "served.npz", arrays())
    call_official(monkeypatch, served)

    def download(split: str, size: int, download: bool, root: str) -> None:
        assert callable(import_module("torchvision.datasets.utils").download_url)
        assert (split, size, download) == ("train", 64, True)
        (Path(root) / "pneumoniamnist_64.npz").write_bytes(served.read_bytes())

    monkeypatch.setattr(medmnist, "PneumoniaMNIST", download)
    cache.rmdir()
    assert open_data("medmnist").origin == "official"


def offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cached, and there is no network."""


def offline_with_another_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cached is not the official file, and there is no network."""
    npz(cache / "pneumoniamnist_64.npz", arrays())


def wrong_download(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was downloaded is not the official file."""
    npz(cache / "pneumoniamnist_64.npz", arrays())
    monkeypatch.setattr(medmnist, "PneumoniaMNIST", lambda **_: None)


def cut_download(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Medmnist stumbles over what it has downloaded."""

    def stumble(**_: object) -> None:
        raise zipfile.BadZipFile("File is not a zip file")

    monkeypatch.setattr(medmnist, "PneumoniaMNIST", stumble)


def file_in_place_of_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder for the cache cannot be made."""
    cache.rmdir()
    cache.write_bytes(b"")


def folder_in_place_of_the_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cached file cannot be read."""
    (cache / "pneumoniamnist_64.npz").mkdir()


def no_home(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Medmnist found no folder that it may write to."""
    monkeypatch.setattr(medmnist.info, "DEFAULT_ROOT", None)


@pytest.mark.parametrize(
    ("build", "fragment"),
    [
        (offline, "is not cached and could not be downloaded"),
        (offline_with_another_file, "is not cached and could not be downloaded"),
        (cut_download, "is not cached and could not be downloaded"),
        (file_in_place_of_the_cache, "is not cached and could not be downloaded"),
        (wrong_download, "pneumoniamnist_64.npz does not have the official MD5: delete it"),
        (folder_in_place_of_the_file, "cannot read .*pneumoniamnist_64.npz: Is a directory"),
        (no_home, "medmnist could not make its folder"),
    ],
)
def test_without_the_official_file_all_three_ways_are_named(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    build: Callable[[Path, pytest.MonkeyPatch], None],
    fragment: str,
) -> None:
    """Where the official file cannot be had, the error names the three ways to data."""
    build(cache, monkeypatch)
    with pytest.raises(InputError, match=fragment) as caught:
        open_data(None, {})
    for way in ("--data FILE.npz", "UDACIMED_DATA", "--data medmnist", "--data synthetic"):
        assert way in caught.value.hint


# The synthetic set.


SYNTHETIC = {
    "train": (480, 240, "8d2c9edc3d7f827315ac6ab1bf2885c1010434184406ec23e607a9d25f569e7a"),
    "validation": (524, 389, "519780208ce919072f0de1ba3ad5d07a63edb13579eb659885287fd3b2ca5b67"),
    "test": (624, 390, "9d21f4b03614ff1f2598111733f38e22bf0ed4206994280c60e535616971e88e"),
}
"""Images, pneumonias, digest: drawn by these bytes of `synthetic.npz`, on every machine."""


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_the_synthetic_set_is_the_same_everywhere(name: SplitName) -> None:
    """Every machine draws the same images, in the counts of the real split or enough to calibrate."""
    count, ill, digest = SYNTHETIC[name]
    split = open_data("synthetic").read(name)
    assert (split.name, split.origin) == (name, "synthetic")
    assert split.images.dtype == split.labels.dtype == np.uint8
    assert split.images.shape == (count, 64, 64)
    assert split.labels.shape == (count,)
    assert int(split.labels.sum()) == ill
    assert split.digest == digest


def test_the_synthetic_set_is_a_rehearsal() -> None:
    """The synthetic set says what it is and which sampler drew it."""
    dataset = open_data("synthetic")
    assert dataset.origin == "synthetic"
    assert dataset.sizes() == {"train": 480, "validation": 524, "test": 624}
    assert dataset.name == "built-in synthetic set"
    assert dataset.digest == sha256_file(data.SYNTHETIC_MODEL)


def test_no_synthetic_image_is_in_two_splits() -> None:
    """No image is drawn twice, within a split or across two."""
    dataset = open_data("synthetic")
    names: tuple[SplitName, ...] = ("train", "validation", "test")
    images = np.concatenate([dataset.read(name).images for name in names])
    assert len({image.tobytes() for image in images}) == len(images)


def test_classes_are_mixed() -> None:
    """The first images of a synthetic split are not all of one class."""
    assert 0 < open_data("synthetic").read("test").labels[:50].sum() < 50


def test_the_sampler_draws_what_it_was_fitted_to() -> None:
    """Each class has the mean, spread and count it was given; pixels are clipped to 0..255."""
    pattern = np.zeros((1, 4096), np.int8)
    pattern[0, :2048] = 100
    sampler: Arrays = {
        "normal_mean": np.full(4096, 100, np.float32),
        "normal_components": pattern,
        "normal_scale": np.array([0.1], np.float32),
        "pneumonia_mean": np.full(4096, 250, np.float32),
        "pneumonia_components": pattern,
        "pneumonia_scale": np.array([1.0], np.float32),
    }
    images, labels = sample_synthetic(sampler, 400, 200, seed=0)
    assert np.bincount(labels).tolist() == [400, 200]
    healthy = images[labels == 0].astype(float)
    assert abs(healthy[:, :32].mean() - 100) < 2
    assert abs(healthy[:, :32].std() - 10) < 1
    assert (healthy[:, 32:] == 100).all()
    assert set(np.unique(images[labels == 1])) >= {0, 250, 255}


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", npy(np.zeros(3))],
    ids=["empty", "cut off", "another file"],
)
def test_a_damaged_synthetic_set_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """A damaged installation is an input error that says what to do."""
    (tmp_path / "synthetic.npz").write_bytes(content)
    monkeypatch.setattr(data, "SYNTHETIC_MODEL", tmp_path / "synthetic.npz")
    with pytest.raises(InputError, match="synthetic set is damaged\ninstall udacimed-edge again"):
        open_data("synthetic").read("test")


# What is refused.


def missing(path: Path) -> None:
    """There is no file."""


def not_a_zip(path: Path) -> None:
    """Text."""
    path.write_text("image,label\n", encoding="utf-8")


def an_npy(path: Path) -> None:
    """A single array."""
    path.write_bytes(npy(arrays()["test_images"]))


def truncated(path: Path) -> None:
    """A download that was cut off."""
    content = npz(path, arrays()).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    """One bit of the images differs."""
    zipped(path, members(), zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(IMAGES.tobytes()) + 5000] ^= 1
    path.write_bytes(content)


def bad_compression(path: Path) -> None:
    """The compressed images are not what deflate writes."""
    name = "test_images.npy"
    with zipfile.ZipFile(zipped(path, members())) as archive:
        start = archive.getinfo(name).header_offset + 30 + len(name)
    content = bytearray(path.read_bytes())
    content[start] = 0xFF
    path.write_bytes(content)


def cut_array(path: Path) -> None:
    """The images end before their header says."""
    zipped(path, members(test_images=npy(IMAGES)[:-1]))


def cut_header(path: Path) -> None:
    """The images end within their header."""
    zipped(path, members(test_images=npy(IMAGES)[:20]))


def odd_header(path: Path) -> None:
    """The header of the images is not one that numpy writes."""
    header = b"{'descr': '|u1', 'fortran_order': (" + b" " * 60
    content = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header
    zipped(path, members(test_images=content))


def of(**changes: NDArray[Any]) -> Callable[[Path], None]:
    """A file that is right but for the given arrays."""

    def write(path: Path) -> None:
        npz(path, arrays(**changes))

    return write


def lacking(key: str) -> Callable[[Path], None]:
    """A file without one of its arrays."""

    def write(path: Path) -> None:
        npz(path, {name: value for name, value in arrays().items() if name != key})

    return write


OBJECTS = np.array([print] * 5, dtype=object)

BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (missing, "no data file at .*broken.npz"),
    (Path.mkdir, "no data file at .*broken.npz"),
    (not_a_zip, "is not a readable .npz file .*not a zip"),
    (an_npy, "is not a readable .npz file .*not a zip"),
    (truncated, "is not a readable .npz file .*not a zip"),
    (flipped, "is not a readable .npz file .*Bad CRC-32"),
    (bad_compression, r"is not a readable .npz file \(Error -3 while decompressing"),
    (cut_array, "is not a readable .npz file .*EOF: reading array data"),
    (cut_header, "is not a readable .npz file .*EOF: reading array header"),
    (odd_header, "is not a readable .npz file"),
    (lacking("test_images"), "has no 'test_images': a MedMNIST file has test_images and test_labels"),
    (lacking("test_labels"), "has no 'test_labels'"),
    (
        of(test_images=IMAGES[:, ::2, ::2]),
        r"test split: images have shape \(5, 32, 32\), expected \(n, 64, 64\)",
    ),
    (of(test_images=np.zeros((5, 28, 28), np.uint8)), r"\(5, 28, 28\).*take MedMNIST's 64-pixel file"),
    (of(test_images=np.stack([IMAGES] * 3, axis=-1)), r"images have shape \(5, 64, 64, 3\)"),
    (of(test_images=IMAGES[0]), r"images have shape \(64, 64\)"),
    (of(test_images=np.array(7, np.uint8)), r"images have shape \(\)"),
    (of(test_images=IMAGES / np.float32(255)), "images are float32, expected uint8 with values 0..255"),
    (of(test_images=IMAGES.astype(np.int64)), "images are int64, expected uint8"),
    (of(test_images=OBJECTS), "images are object, expected uint8"),
    (of(test_labels=OBJECTS), "labels are object, expected whole numbers"),
    (of(test_labels=LABELS.astype(float)), "labels are float64, expected whole numbers"),
    (of(test_labels=LABELS + 1), r"a label is 2, expected only 0 \(normal\) and 1 \(pneumonia\)"),
    (of(test_labels=-LABELS.astype(np.int8)), "a label is -1, expected only 0"),
    (of(test_labels=LABELS[:4]), r"labels have shape \(4, 1\) for 5 images, expected \(n, 1\)"),
    (of(test_labels=np.eye(5, 2, dtype=np.uint8)), r"labels have shape \(5, 2\) for 5 images"),
    (of(test_labels=LABELS * 0), "only one class is present"),
    (of(test_labels=LABELS * 0 + 1), "only one class is present"),
    (of(test_images=IMAGES[:0], test_labels=LABELS[:0]), "test split: the split is empty"),
]


@pytest.mark.parametrize(("build", "fragment"), BROKEN)
def test_a_broken_file_is_named(tmp_path: Path, build: Callable[[Path], object], fragment: str) -> None:
    """Every unusable file is an input error that names the file and what is wrong."""
    path = tmp_path / "broken.npz"
    build(path)
    with pytest.raises(InputError, match=fragment) as caught:
        open_data(str(path)).read("test")
    assert "broken.npz" in caught.value.message


def test_a_name_that_is_too_long_is_no_file() -> None:
    """A path that the system cannot even look up is a missing file."""
    with pytest.raises(InputError, match="no data file at aaa"):
        open_data("a" * 5000)


def test_one_broken_split_does_not_spoil_the_others(tmp_path: Path) -> None:
    """A split is read and checked only when it is asked for."""
    dataset = open_data(str(npz(tmp_path / "mine.npz", arrays(train_images=IMAGES / 255))))
    assert len(dataset.read("test").images) == 5
    with pytest.raises(InputError, match="train split: images are float64"):
        dataset.read("train")


def test_no_code_of_a_file_runs(tmp_path: Path) -> None:
    """Pickled objects in a file are refused without being loaded."""
    trace = tmp_path / "trace"

    class Trap:
        """Leaves a trace when it is loaded."""

        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            """Make a folder."""
            return os.mkdir, (str(trace),)

    trap = np.array([Trap()] * 5, dtype=object)
    for changes in ({"test_images": trap}, {"test_labels": trap}):
        path = npz(tmp_path / "trap.npz", arrays(**changes))
        with pytest.raises(InputError, match="are object"):
            open_data(str(path)).read("test")
    assert not trace.exists()


def header(shape: tuple[int, ...], padding: int = 0) -> bytes:
    """The header of a uint8 array, version 2.0, blown up by spaces."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".encode() + b" " * padding + b"\n"
    return np.lib.format.magic(2, 0) + len(text).to_bytes(4, "little") + text


@pytest.mark.parametrize(
    ("images", "fragment"),
    [
        (header((200_000, 64, 64)) + bytes(20 << 20), "200000 images, expected at most 100000"),
        (header((10**15, 64, 64)), "1000000000000000 images, expected at most 100000"),
        (header((-1, 64, 64)), "the split is empty"),
        (header((5, 64, 64), padding=20 << 20), "EOF: reading array header"),
    ],
    ids=["zeros", "claim", "negative", "header"],
)
def test_a_file_that_unpacks_to_gigabytes_takes_no_memory(
    tmp_path: Path, images: bytes, fragment: str
) -> None:
    """An absurd size is refused by the array's header, before the array is read."""
    dataset = open_data(str(zipped(tmp_path / "bomb.npz", members(test_images=images))))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=fragment):
            dataset.read("test")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
