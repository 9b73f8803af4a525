"""DICOM files to 8-bit pixels through pydicom; no tag about the patient is read.

Modality LUT or rescale, then VOI LUT or window, then full scale to 0..255, rounded half to even, then
inverted for MONOCHROME1 or a Presentation LUT Shape of INVERSE, once (DICOM PS3.3 C.11.1, C.11.2, C.7.6.3.1.2
and C.11.6). Full scale is what the last of these steps states; without a VOI LUT or window it is concluded
from the pixels (`depth.full_scale`). All this is computed for each value between the smallest and the largest
stored one, and the pixels are looked up in that table.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from udacimed_edge.runtime.depth import full_scale, through

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["DicomError", "parse", "read"]

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
    "PresentationLUTShape",
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

_WIDEST_TABLE = 1 << 16
"""Of values; files of 32 bits may span more, and are computed pixel by pixel."""


class DicomError(ValueError):
    """A DICOM file that gives no picture, and why, in one line."""


def parse(content: bytes) -> Dataset:
    """A file's tags that are needed, its pixels still compressed.

    A file that lacks the prefix, or the part before the data set that names its syntax, is taken to be in the
    syntax it was read in.

    Raises:
        Exception: Whatever pydicom raises for a damaged file.
    """
    import pydicom
    from pydicom import uid

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    data = pydicom.dcmread(io.BytesIO(content), specific_tags=list(_TAGS), force=True)
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little = data.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return data


def read(content: bytes, most_pixels: int, notes: list[str]) -> NDArray[np.uint8]:
    """A DICOM file's picture.

    Args:
        content: The file's bytes.
        most_pixels: The largest rows times columns to decode; half of it in colour.
        notes: Gets a line where the file is not a radiograph by its own word, and where its full scale was
            concluded.

    Returns:
        uint8 of shape (rows, columns), or (rows, columns, 3) in colour; 0 black, 255 white.

    Raises:
        DicomError: No pixels, several pictures, too large, colours with a palette, a compression that is not
            read here, or a broken stream.
        ModuleNotFoundError: pydicom is not installed.
    """
    data = parse(content)
    _require_one_picture(data, most_pixels)
    modality = data.get("Modality")
    if modality and modality not in _RADIOGRAPHY:
        notes.append(f"its modality is {str(modality)[:16]!r}, not radiography")
    stored = _stored(data, content)
    return _colour(stored) if stored.ndim == 3 else _gray(data, stored, notes)


def _require_one_picture(data: Dataset, most_pixels: int) -> None:
    if "PixelData" not in data:
        raise DicomError("it is a DICOM file without pixels, or cut off before them")
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise DicomError("it holds several pictures: save the radiograph alone")
    most = most_pixels if int(data.get("SamplesPerPixel") or 1) == 1 else most_pixels // 2
    if int(data.Rows) * int(data.Columns) > most:
        raise DicomError(f"it has {data.Columns}x{data.Rows} pixels, more than {most >> 20} million")
    if data.PhotometricInterpretation == "PALETTE COLOR":
        raise DicomError("its colours come from a palette, which no radiograph has: export it as PNG")


def _stored(data: Dataset, content: bytes) -> NDArray[Any]:
    """The stored values, decompressed.

    Baseline JPEG is Pillow's, as in a JPEG file. All other decoders may hang or crash over a broken stream,
    and run in a process of their own.

    Raises:
        DicomError: As for `read`.
    """
    from pydicom import uid
    from pydicom.pixels.decoders.base import get_decoder

    from udacimed_edge.runtime.decompress import BrokenStreamError, pixels_of

    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == uid.DeflatedExplicitVRLittleEndian:
        pixels: NDArray[Any] = data.pixel_array
        return pixels
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise DicomError(f"its compression ({syntax.name}) is not read: export it as PNG") from error
    if not decoder.is_available:
        raise DicomError(
            f"its compression ({syntax.name}) needs pylibjpeg, which is not installed here: export it as PNG"
        )
    try:
        if syntax == uid.JPEGBaseline8Bit:
            data.pixel_array_options(decoding_plugin="pillow")
            pixels = data.pixel_array
        else:
            pixels = pixels_of(content)
    except (BrokenStreamError, RuntimeError) as error:
        raise DicomError(f"it is a damaged DICOM image: its stream ({syntax.name}) is broken") from error
    return pixels


def _colour(stored: NDArray[Any]) -> NDArray[np.uint8]:
    if stored.dtype != np.uint8:
        raise DicomError("its colours have more than 8 bits: export it as PNG")
    return np.ascontiguousarray(stored)


def _gray(data: Dataset, stored: NDArray[Any], notes: list[str]) -> NDArray[np.uint8]:
    """uint8 of shape (rows, columns), through a table over the file's own values where it is small enough."""
    _drop_unusable_window(data, notes)
    first, last = int(stored.min()), int(stored.max())
    scale = _full_scale(data, stored, notes)
    if last - first >= _WIDEST_TABLE:
        return _shown(data, stored, scale)
    table = _shown(data, np.arange(first, last + 1).astype(stored.dtype), scale)
    gray: NDArray[np.uint8] = through(table, stored, first)
    return gray


def _shown(data: Dataset, stored: NDArray[Any], scale: tuple[float, float]) -> NDArray[np.uint8]:
    """Stored values of any shape as gray levels."""
    from pydicom.pixels.processing import apply_windowing

    # pydicom's own tables refuse 12-bit entries, and wrap around with 8-bit ones
    shown, voi = _modality(data, stored), data.get("VOILUTSequence")
    shown = _looked_up(shown, data, voi[0]) if voi else apply_windowing(shown, data)
    black, white = scale
    gray = np.rint(np.clip((shown - black) / (white - black), 0, 1) * 255).astype(np.uint8)
    inverse = data.PhotometricInterpretation == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE"
    return 255 - gray if inverse else gray


def _modality(data: Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_rescale

    table = data.get("ModalityLUTSequence")
    return _looked_up(stored, data, table[0]) if table else apply_rescale(stored, data)


def _drop_unusable_window(data: Dataset, notes: list[str]) -> None:
    """A window of which a half is missing, or that is narrower than its function takes, is no window."""
    if data.get("VOILUTSequence") or not ("WindowCenter" in data or "WindowWidth" in data):
        return
    center, width = _first(data.get("WindowCenter")), _first(data.get("WindowWidth"))
    narrowest = 1.0 if str(data.get("VOILUTFunction") or "LINEAR").upper() == "LINEAR" else 0.0
    if center is None or width is None or width < narrowest or width <= 0:
        if center is not None or width is not None:
            notes.append("its window cannot be used")
        for name in ("WindowCenter", "WindowWidth"):
            if name in data:
                delattr(data, name)
    if "VOILUTFunction" in data and not data.VOILUTFunction:
        del data.VOILUTFunction


def _first(value: Any) -> float | None:
    """The first of one or several numbers; None for none."""
    values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return None if not values or values[0] in (None, "") else float(values[0])


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


def _full_scale(data: Dataset, stored: NDArray[Any], notes: list[str]) -> tuple[float, float]:
    """The values that stand for black and white after both tables."""
    voi, modality = data.get("VOILUTSequence"), data.get("ModalityLUTSequence")
    windowed = "WindowCenter" in data
    if voi or (modality and windowed):
        return 0.0, float((1 << int((voi or modality)[0].LUTDescriptor[2])) - 1)
    if modality:
        bits = int(modality[0].LUTDescriptor[2])
        low, high = full_scale(_looked_up(stored, data, modality[0]), bits, False, notes)
        return float(low), float(high)
    bits, signed = int(data.BitsStored), int(data.PixelRepresentation) == 1
    if windowed:
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    else:
        low, high = full_scale(stored, bits, signed, notes)
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    if slope is None or intercept is None:
        return float(low), float(high)
    black, white = low * float(slope) + float(intercept), high * float(slope) + float(intercept)
    # pydicom's window puts what is below it at `black`, also where a negative slope makes that the larger
    return (black, white) if windowed else (min(black, white), max(black, white))
