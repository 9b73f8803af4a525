"""A radiograph file to the 64x64 gray pixels an artifact takes, cut as MedMNIST cut its images.

Upright, transparent parts over black, gray (Pillow's L = (19595 R + 38470 G + 7471 B + 32768) >> 16), the
centre square (side = the short edge; left and top are half of what is over, rounded down), then Pillow's
antialiased bilinear filter. Every artifact was trained and validated on images cut like this; another filter
would be another input. A picture of hardly any gray values is no radiograph.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.runtime.depth import full_scale, through
from udacimed_edge.runtime.plausibility import plausibility_warnings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

__all__ = [
    "ImageError",
    "Radiograph",
    "decode",
    "kind_of",
    "load",
    "other_kind_of",
    "read_bytes",
    "to_eight_bits",
]

MOST_PIXELS = 1 << 26
"""67 megapixels of gray, and half as many in colour or with transparency, which take four times the memory;
a large digital radiograph has 22. A small damaged file may claim any number."""

MOST_BYTES = 1 << 28

FEWEST_VALUES = 16
"""Gray values among 64x64 pixels below which a picture is blank; all 5,856 real images have 52 or more."""

_COLOURED = 16.0
"""Mean distance, in gray levels, between a pixel's strongest and weakest channel; chosen, not measured:
gray scans that went through JPEG stay below 4."""

_ROWS_AT_ONCE = 256

_SIGNATURES = {
    "DICOM": (128, b"DICM"),  # first: what precedes it may be the header of a TIFF file (PS3.10, 7.1)
    "PNG": (0, b"\x89PNG\r\n\x1a\n"),
    "JPEG": (0, b"\xff\xd8\xff"),
    "TIFF": (0, b"II*\0"),
    "TIFF, big-endian": (0, b"MM\0*"),
    "BMP": (0, b"BM"),
}

_OTHERS = {
    "GIF": (0, b"GIF8"),
    "WebP": (8, b"WEBP"),
    "HEIC": (4, b"ftyphei"),
    "HEIC, a sequence": (4, b"ftyphev"),
    "HEIF": (4, b"ftypmif1"),
    "HEIF, a sequence": (4, b"ftypmsf1"),
    "AVIF": (4, b"ftypavif"),
    "JPEG 2000": (4, b"jP  \r\n"),
    "PDF": (0, b"%PDF-"),
}
"""Pictures that people take for radiographs' files, and that are not read."""

_VRS = (b"AE", b"CS", b"DA", b"LO", b"OB", b"SH", b"TM", b"UI", b"UL", b"US")
"""Value representations that the first elements of a DICOM file have."""


class ImageError(ValueError):
    """A file that gives no radiograph, and why, in one line."""


@dataclass(frozen=True)
class Radiograph:
    """What an artifact is asked about.

    Attributes:
        pixels: uint8 of shape (64, 64), values 0..255, 0 black.
        warnings: What a person should know before trusting an answer; empty when nothing is odd.
    """

    pixels: NDArray[np.uint8]
    warnings: tuple[str, ...]


def load(path: Path) -> Radiograph:
    """Read a radiograph.

    Args:
        path: A PNG, JPEG, TIFF, BMP or DICOM file; told apart by content, not by name.

    Raises:
        ImageError: The file gives no radiograph; the message is one line without the file's name.
    """
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        ImageError: It is no file, cannot be read, is empty or larger than 256 MiB.
    """
    try:
        if not path.exists():
            raise ImageError("there is no such file")
        if not path.is_file():  # a pipe or device would keep the batch waiting for ever
            raise ImageError("it is not a file")
        if path.stat().st_size > MOST_BYTES:
            raise ImageError(f"it is larger than {MOST_BYTES >> 20} MiB")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"it cannot be read: {reason}") from error
    if not content:
        raise ImageError("it is empty")
    return content


def kind_of(content: bytes) -> str | None:
    """Tell "PNG", "JPEG", "TIFF", "BMP" or "DICOM" apart by the first 132 bytes; None for anything else.

    "DICM" at byte 128 decides first. What has no signature at all is DICOM without its prefix if it begins
    with an element of group 0002 or 0008 as DICOM files do.
    """
    return _signed(content, _SIGNATURES) or ("DICOM" if _begins_like_a_data_set(content) else None)


def other_kind_of(content: bytes) -> str | None:
    """Name a picture that is not read, for example "HEIC", by the first 12 bytes; None for anything else."""
    return _signed(content, _OTHERS)


def _signed(content: bytes, signatures: dict[str, tuple[int, bytes]]) -> str | None:
    for kind, (start, signature) in signatures.items():
        if content[start : start + len(signature)] == signature:
            return kind.partition(",")[0]
    return None


def _begins_like_a_data_set(content: bytes) -> bool:
    """Group 0002 or 0008, an element below 0100, and a known VR or a 4-byte length below 256 (PS3.5, 7.1)."""
    for group, element, order in (
        (content[0:2], content[2:4], "little"),
        (content[1::-1], content[3:1:-1], "big"),
    ):
        number = int.from_bytes(element, "little")
        if group in (b"\x02\0", b"\x08\0") and number < 0x100 and len(content) > 8:
            length = int.from_bytes(content[4:8], "little")
            if content[4:6] in _VRS or (order == "little" and length < 256):
                return True
    return False


def decode(content: bytes) -> Radiograph:
    """A file's bytes to the pixels an artifact takes.

    Raises:
        ImageError: As for `load`.
    """
    kind = kind_of(content)
    if kind is None:
        other = other_kind_of(content)
        if other is not None:
            raise ImageError(f"it is a {other} file, which is not read: save it as PNG")
        raise ImageError("it is not a PNG, JPEG, TIFF, BMP or DICOM image")
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = _from_dicom(content, notes) if kind == "DICOM" else _picture(content, kind, notes)
            pixels = _cut(picture, notes)
    except ImageError:
        raise
    except Exception as error:  # Pillow and pydicom raise nearly every built-in one for a damaged file
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise ImageError(f"it is a damaged {kind} image: {reason}") from error
    if (values := len(np.unique(pixels))) < FEWEST_VALUES:
        plural = "values" if values > 1 else "value"
        raise ImageError(f"it is blank: {values} gray {plural} in all, where a radiograph has many")
    return Radiograph(pixels, (*notes, *plausibility_warnings(pixels)))


def to_eight_bits(values: NDArray[Any], notes: list[str]) -> NDArray[np.uint8]:
    """Gray values of up to 16 bits as 8 bits.

    0 stays black, full scale becomes 255, as does what lies beyond it; in between v becomes
    v * (255 / full scale) as a double, rounded half to even. Full scale is concluded from the pixels, by
    `depth.full_scale` for 16 bits: most 16-bit files hold 12 bits and would otherwise come out nearly black,
    also where one mark is burnt in at the container's white.

    Args:
        values: Whole numbers 0..65535 of shape (rows, columns).
        notes: Gets a line where the depth was concluded and is below 16 bits.

    Raises:
        ImageError: A value outside 0..65535.
    """
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("its gray values exceed 16 bits: save it as 8-bit or 16-bit gray")
    _, white = full_scale(values, 16, False, notes)
    table = np.rint(np.minimum(np.arange(1 << 16), white) * (255.0 / white)).astype(np.uint8)
    result: NDArray[np.uint8] = through(table, values)
    return result


def _require_size(picture: Image.Image) -> None:
    width, height = picture.size
    gray = picture.mode in ("1", "L", "F") or picture.mode.startswith("I")
    most = MOST_PIXELS if gray else MOST_PIXELS // 2
    if width * height > most:
        raise ImageError(f"it has {width}x{height} pixels, more than {most >> 20} million")


def _picture(content: bytes, kind: str, notes: list[str]) -> Image.Image:
    """A PNG, JPEG, TIFF or BMP upright, in mode "L" or "RGB".

    Raises:
        ImageError: Too large, several pictures, or pixels without a defined white.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if kind == "TIFF":  # Pillow would load all its 40 plugins to find this one
        from PIL import TiffImagePlugin  # noqa: F401

    try:
        picture: Image.Image = Image.open(io.BytesIO(content), formats=[kind])
    except Image.DecompressionBombError as error:
        raise ImageError(f"it has more than {MOST_PIXELS >> 20} million pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"it is a damaged {kind} image: its header cannot be read") from error
    _require_size(picture)
    # a phone's JPEG may hold a preview behind the picture (MPO); in other formats any page may be the one
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise ImageError("it holds several pictures: save the radiograph alone")
    white_is_zero = kind == "TIFF" and getattr(picture, "tag_v2", {}).get(262) == 0
    picture.load()
    try:
        picture = ImageOps.exif_transpose(picture)
    except Exception:  # damaged EXIF data raises nearly every built-in one; the pixels are whole
        notes.append("the rotation noted in the file cannot be read")
    return _plain(picture, white_is_zero, notes)


def _plain(picture: Image.Image, white_is_zero: bool, notes: list[str]) -> Image.Image:
    """Any of Pillow's modes as "L" or "RGB", transparency over black.

    Raises:
        ImageError: Floating-point pixels, or more than 16 bits.
    """
    from PIL import Image

    if picture.mode == "F":
        raise ImageError("its pixels are floating point, without a defined white: save it as 16-bit gray")
    if picture.mode.startswith("I"):
        gray = to_eight_bits(np.asarray(picture), notes)
        return Image.fromarray(255 - gray if white_is_zero else gray)
    if picture.mode in ("1", "L"):
        return picture if picture.mode == "L" else picture.convert("L")
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return _over_black(picture, notes)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _over_black(picture: Image.Image, notes: list[str]) -> Image.Image:
    """A picture with transparency in mode "RGB", some rows at a time: each step would be another copy.

    Raises:
        ImageError: More than half of `MOST_PIXELS`: a palette or gray with transparency.
    """
    from PIL import Image

    width, height = picture.size
    if width * height > MOST_PIXELS // 2:
        raise ImageError(f"it has {width}x{height} pixels, more than {MOST_PIXELS // 2 >> 20} million")
    whole, transparent = Image.new("RGB", picture.size), False
    for top in range(0, height, _ROWS_AT_ONCE):
        rows = picture.crop((0, top, width, min(top + _ROWS_AT_ONCE, height))).convert("RGBA")
        if rows.getchannel("A").getextrema() != (255, 255):
            transparent = True
            rows = Image.alpha_composite(Image.new("RGBA", rows.size, (0, 0, 0, 255)), rows)
        whole.paste(rows.convert("RGB"), (0, top))
    if transparent:
        notes.append("transparent parts taken as black")
    return whole


def _from_dicom(content: bytes, notes: list[str]) -> Image.Image:
    """A DICOM file's picture in mode "L" or "RGB".

    Raises:
        ImageError: pydicom is missing, or as for `dicom.read`.
    """
    from PIL import Image

    from udacimed_edge.runtime import dicom

    try:
        pixels = dicom.read(content, MOST_PIXELS, notes)
    except ModuleNotFoundError as error:
        raise ImageError(
            f"DICOM needs {error.name}, which is not installed here: export it as PNG"
        ) from error
    except dicom.DicomError as error:
        raise ImageError(str(error)) from error
    return Image.fromarray(pixels)


def _cut(picture: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    """The centre square, gray: uint8 of shape (64, 64), values 0..255."""
    from PIL import Image

    if picture.mode == "RGB":
        small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
        if np.ptp(small, axis=2).mean() > _COLOURED:
            notes.append("the picture is in colour")
    width, height = picture.size
    side = min(width, height)
    if side < SIDE:
        notes.append(f"only {width}x{height} pixels, enlarged")
    left, top = (width - side) // 2, (height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).convert("L")
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.uint8)
