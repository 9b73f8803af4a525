"""Pixels of 0.1.0: what the artifacts were proved on is what every later version cuts."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from udacimed_edge.runtime.image import decode

GOLDEN = Path(__file__).parent / "golden"
DIGESTS: dict[str, str] = json.loads((GOLDEN / "pixels-0.1.0.json").read_text(encoding="utf-8"))
"""SHA-256 of the 64x64 pixels, computed by 0.1.0; its JPEG files lie beside the list."""


def made_up(width: int, height: int, top: int = 255) -> NDArray[np.int64]:
    """Whole numbers 0..top in waves, ramps and steps, the same on every machine."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    waves = (x * x // 37 + y * y // 53 + x * y // 71) % 509
    ramp = (x * 300) // width + (y * 200) // height
    return (waves + ramp + 40 * ((x // 19 + y // 23) % 3)) % 1000 * top // 999


def byte(width: int, height: int) -> NDArray[np.uint8]:
    """The same as uint8 of shape (height, width)."""
    return made_up(width, height).astype(np.uint8)


def file(picture: Image.Image, form: str, **options: Any) -> bytes:
    """An image file's bytes."""
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def channels(count: int) -> NDArray[np.uint8]:
    """uint8 of shape (211, 307, count), each channel another picture."""
    return np.stack([np.roll(byte(307, 211), 31 * n, axis=n % 2) for n in range(count)], axis=2)


def dicom(stored: NDArray[Any], interpretation: str = "MONOCHROME2", bits: int = 8, **tags: Any) -> bytes:
    """An uncompressed DICOM file."""
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.Modality, data.PhotometricInterpretation = "DX", interpretation
    data.Rows, data.Columns = stored.shape[:2]
    data.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    if stored.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = stored.dtype.itemsize * 8
    data.BitsStored, data.HighBit = bits, bits - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.PixelData = stored.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def lookup(values: NDArray[Any], first: int, bits: int) -> list[Any]:
    """A DICOM lookup table as a sequence of one item."""
    pydicom = pytest.importorskip("pydicom")
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [len(values), first, bits], values.tolist()
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return [item]


def twelve() -> NDArray[np.uint16]:
    """uint16 of shape (300, 260), values 0..4095."""
    return made_up(260, 300, 4095).astype(np.uint16)


RAMP = np.arange(4096, dtype=np.uint16)
PILLOW: dict[str, Callable[[], bytes]] = {
    "gray png": lambda: file(Image.fromarray(byte(640, 480)), "PNG"),
    "small png": lambda: file(Image.fromarray(byte(64, 64)), "PNG"),
    "tiny png": lambda: file(Image.fromarray(byte(41, 57)), "PNG"),
    "gray bmp": lambda: file(Image.fromarray(byte(123, 200)), "BMP"),
    "gray tiff": lambda: file(Image.fromarray(byte(500, 401)), "TIFF", compression="tiff_lzw"),
    "rgb png": lambda: file(Image.fromarray(channels(3)), "PNG"),
    "rgba png": lambda: file(Image.fromarray(channels(4)), "PNG"),
    "gray and alpha png": lambda: file(Image.fromarray(channels(2)), "PNG"),
    "palette png": lambda: file(Image.fromarray(byte(300, 300)).convert("P"), "PNG"),
    "transparent palette": lambda: file(Image.fromarray(byte(99, 300)).convert("P"), "PNG", transparency=7),
    "one bit png": lambda: file(Image.fromarray(byte(300, 200)).convert("1", dither=None), "PNG"),
    "cmyk tiff": lambda: file(Image.fromarray(channels(3)).convert("CMYK"), "TIFF"),
    "gray jpeg": (GOLDEN / "gray.jpg").read_bytes,
    "colour jpeg on its side": (GOLDEN / "colour.jpg").read_bytes,
    "twelve of sixteen png": lambda: file(Image.fromarray(twelve()), "PNG"),
    "sixteen png": lambda: file(Image.fromarray(made_up(300, 260, 65535).astype(np.uint16)), "PNG"),
}
DICOM: dict[str, Callable[[], bytes]] = {
    "dicom": lambda: dicom(byte(300, 260)),
    "dicom, MONOCHROME1": lambda: dicom(byte(260, 300), "MONOCHROME1"),
    "dicom, signed": lambda: dicom((made_up(260, 300) - 128).astype(np.int8)),
    "dicom, window": lambda: dicom(byte(300, 260), WindowCenter=90, WindowWidth=101),
    "dicom, rescaled": lambda: dicom(byte(300, 260), RescaleSlope="-1.5", RescaleIntercept="40"),
    "dicom, table": lambda: dicom(
        byte(300, 260), VOILUTSequence=lookup((np.arange(256) ** 2 // 255).astype(np.uint16), 0, 8)
    ),
    "dicom, colour": lambda: dicom(channels(3), "RGB"),
    "dicom, 12 bits": lambda: dicom(twelve(), bits=12),
    "dicom, 12 bits, window": lambda: dicom(twelve(), bits=12, WindowCenter="1800.5", WindowWidth="2333"),
    "dicom, 12 bits, MONOCHROME1, window": lambda: dicom(
        twelve(), "MONOCHROME1", 12, WindowCenter=2000, WindowWidth=3000
    ),
    "dicom, 12 bits, sigmoid": lambda: dicom(
        twelve(), bits=12, WindowCenter=2000, WindowWidth=1500, VOILUTFunction="SIGMOID"
    ),
    "dicom, 12 bits, exact": lambda: dicom(
        twelve(), bits=12, WindowCenter=2000, WindowWidth=1500, VOILUTFunction="LINEAR_EXACT"
    ),
    "dicom, signed, rescaled, window": lambda: dicom(
        (made_up(300, 260, 4095) - 2048).astype(np.int16), bits=16,
        RescaleSlope="0.25", RescaleIntercept="-3.5", WindowCenter=10, WindowWidth=800,
    ),
    "dicom, both tables": lambda: dicom(
        twelve(), "MONOCHROME1", 12, ModalityLUTSequence=lookup(RAMP[::-1], 0, 12),
        VOILUTSequence=lookup(RAMP * 13, 40, 16),
    ),
}  # fmt: skip
MADE = {**PILLOW, **DICOM}


@pytest.mark.parametrize("name", MADE)
def test_the_pixels_are_those_of_the_first_version(name: str) -> None:
    """A file of 8 bits, and one whose scale is stated, is cut bit for bit as 0.1.0 cut it."""
    pixels = decode(MADE[name]()).pixels
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == DIGESTS[name]


def test_every_digest_is_used() -> None:
    """No case was taken out of the list."""
    assert DIGESTS.keys() == MADE.keys()
