"""DICOM files to 8-bit pixels through pydicom; no tag about the patient is read.

Modality LUT, then VOI LUT or window, then full scale to 0..255, then MONOCHROME1 inverted
(DICOM PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2).
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["DicomError", "read"]

_TAGS = [
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "HighBit",
    "Modality",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelData",
    "PixelRepresentation",
    "PlanarConfiguration",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "Rows",
    "SamplesPerPixel",
    "VOILUTFunction",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
]
"""All that is read. The others, names and dates among them, are passed over unparsed."""

_RADIOGRAPHY = ("CR", "DX", "RG", "RF")


class DicomError(ValueError):
    """A DICOM file that gives no picture, and why, in one line."""


def read(content: bytes, most_pixels: int, notes: list[str]) -> NDArray[np.uint8]:
    """A DICOM file's picture.

    Args:
        content: The file's bytes.
        most_pixels: The largest rows times columns to decode.
        notes: Gets a line where the file is not a radiograph by its own word.

    Returns:
        uint8 of shape (rows, columns), or (rows, columns, 3) in colour; 0 black, 255 white.

    Raises:
        DicomError: No pixels, several pictures, too large, colours with a palette, or a compression
            that pydicom cannot undo here.
        ModuleNotFoundError: pydicom is not installed.
    """
    import pydicom

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    data = pydicom.dcmread(io.BytesIO(content), specific_tags=list(_TAGS))
    _require_one_picture(data, most_pixels)
    modality = data.get("Modality")
    if modality and modality not in _RADIOGRAPHY:
        notes.append(f"its modality is {str(modality)[:16]!r}, not radiography")
    try:
        stored = data.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        name = data.file_meta.TransferSyntaxUID.name
        raise DicomError(f"its compression ({name}) cannot be undone here: export it as PNG") from error
    return _colour(stored) if stored.ndim == 3 else _gray(data, stored)


def _require_one_picture(data: Dataset, most_pixels: int) -> None:
    if "PixelData" not in data:
        raise DicomError("it is a DICOM file without pixels")
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise DicomError("it holds several pictures: save the radiograph alone")
    if int(data.Rows) * int(data.Columns) > most_pixels:
        raise DicomError(f"it has {data.Columns}x{data.Rows} pixels, more than {most_pixels >> 20} million")
    if data.PhotometricInterpretation == "PALETTE COLOR":
        raise DicomError("its colours come from a palette, which no radiograph has: export it as PNG")


def _colour(stored: NDArray[Any]) -> NDArray[np.uint8]:
    if stored.dtype != np.uint8:
        raise DicomError("its colours have more than 8 bits: export it as PNG")
    return np.ascontiguousarray(stored)


def _gray(data: Dataset, stored: NDArray[Any]) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_rescale, apply_windowing

    # pydicom's own tables refuse 12-bit entries, and wrap around with 8-bit ones
    modality, voi = data.get("ModalityLUTSequence"), data.get("VOILUTSequence")
    shown = _looked_up(stored, data, modality[0]) if modality else apply_rescale(stored, data)
    shown = _looked_up(shown, data, voi[0]) if voi else apply_windowing(shown, data)
    black, white = _full_scale(data)
    gray = np.rint(np.clip((shown - black) / (white - black), 0, 1) * 255).astype(np.uint8)
    return 255 - gray if data.PhotometricInterpretation == "MONOCHROME1" else gray


def _looked_up(values: NDArray[Any], data: Dataset, item: Dataset) -> NDArray[Any]:
    """Values through a lookup table; those beyond it get its first or last entry (PS3.3 C.11.1.1)."""
    content = item.LUTData
    if isinstance(content, bytes):
        order = "<" if data.file_meta.TransferSyntaxUID.is_little_endian else ">"
        content = np.frombuffer(content, f"{order}u2")
    table = np.asarray(content)
    index = np.rint(values).astype(np.int32) - int(item.LUTDescriptor[1])
    result: NDArray[Any] = table[np.clip(index, 0, len(table) - 1)]
    return result


def _full_scale(data: Dataset) -> tuple[float, float]:
    """The values that stand for black and white after both tables."""
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        if data.get(name):
            return 0.0, float((1 << int(data[name][0].LUTDescriptor[2])) - 1)
    bits, signed = int(data.BitsStored), int(data.PixelRepresentation) == 1
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    if slope is None or intercept is None:
        return float(low), float(high)
    black, white = low * float(slope) + float(intercept), high * float(slope) + float(intercept)
    windowed = data.get("WindowCenter") is not None and data.get("WindowWidth") is not None
    # pydicom's window puts what is below it at `black`, also where a negative slope makes that the larger
    return (black, white) if windowed else (min(black, white), max(black, white))
