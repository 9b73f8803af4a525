"""A radiograph file to 64x64 gray pixels, or one line that says why not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from udacimed_edge.core.data import DataSet, open_data
from udacimed_edge.runtime import image
from udacimed_edge.runtime.image import ImageError, decode, load
from udacimed_edge.runtime.plausibility import plausibility_warnings

FORMATS = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "bmp": "BMP"}


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """A radiograph-like picture of any size: a synthetic one, enlarged, uint8 of shape (height, width)."""
    small = Image.fromarray(open_data("synthetic").read("test").images[0])
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: NDArray[Any] | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    one = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    one.save(stream, form, **options)
    return stream.getvalue()


def reference(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Centre square and antialiased triangle filter, computed in double precision as two matrix products."""
    height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    scale = side / 64
    reach = max(scale, 1.0)
    centres = (np.arange(64) + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(side) + 0.5 - centres[:, None]) / reach, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    result: NDArray[np.float64] = weights @ pixels[top : top + side, left : left + side] @ weights.T
    return result


@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (481, 640), (300, 300), (65, 64), (64, 64), (40, 50)]
)
def test_the_cut_is_the_centre_square_filtered(width: int, height: int) -> None:
    """The pixels are the centre square through a triangle filter, to within Pillow's rounding."""
    pixels = picture(width, height)
    assert np.abs(decode(encoded(pixels)).pixels - reference(pixels)).max() <= 1.0


def test_a_cut_image_stays_as_it_is() -> None:
    """An image of 64x64 comes back pixel by pixel, without a warning."""
    pixels = picture(64, 64)
    result = decode(encoded(pixels))
    np.testing.assert_array_equal(result.pixels, pixels)
    assert result.warnings == ()
    assert result.pixels.dtype == np.uint8


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read_whatever_its_name(suffix: str, tmp_path: Path) -> None:
    """PNG, JPEG, TIFF and BMP are told apart by content."""
    pixels = picture(200, 160)
    path = tmp_path / "radiograph"
    path.write_bytes(encoded(pixels, FORMATS[suffix]))
    assert np.abs(load(path).pixels - reference(pixels)).max() <= (4 if suffix == "jpg" else 1)


GRAY = picture(128, 128)
ALIKE: dict[str, tuple[bytes, str]] = {
    "rgb": (encoded(np.stack([GRAY] * 3, axis=2)), ""),
    "palette": (encoded(Image.fromarray(GRAY).convert("P")), ""),
    "gray with alpha": (encoded(Image.fromarray(GRAY).convert("LA")), ""),
    "opaque rgba": (encoded(Image.fromarray(GRAY).convert("RGBA")), ""),
    "cmyk": (encoded(Image.fromarray(GRAY).convert("RGB").convert("CMYK"), "TIFF"), ""),
    "16 bits": (encoded(GRAY.astype(np.uint16) * 257), ""),
    "12 bits of 16": (encoded(np.rint(GRAY * (4095 / 255)).astype(np.uint16)), "as 12-bit"),
    "8 bits of 16": (encoded(GRAY.astype(np.uint16)), "as 8-bit"),
    "16 bits big-endian": (
        encoded(Image.fromarray((GRAY.astype(np.uint16) * 257).astype(">u2")), "TIFF"),
        "",
    ),
    "16-bit tiff": (encoded(GRAY.astype(np.uint16) * 257, "TIFF"), ""),
    "lzw tiff": (encoded(GRAY, "TIFF", compression="tiff_lzw"), ""),
}


@pytest.mark.parametrize("name", ALIKE)
def test_other_pixel_types_give_the_same_gray(name: str) -> None:
    """Colour, palette, alpha and 16 bits come out as the 8-bit gray original."""
    content, warning = ALIKE[name]
    result = decode(content)
    expected = decode(encoded(GRAY))
    assert np.abs(result.pixels.astype(int) - expected.pixels).max() <= 1
    assert warning in "; ".join(result.warnings)
    assert bool(warning) == bool(result.warnings)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_white_is_zero_is_turned(bits: int) -> None:
    """A TIFF file which says that its zero is white comes out with black where it showed black."""
    pixels = (255 - GRAY) if bits == 8 else (255 - GRAY).astype(np.uint16) * 257
    # Pillow inverts 8-bit pixels itself when it writes this tag; 16-bit ones it writes as they are
    content = bytearray(encoded(pixels, "TIFF"))
    at = content.find(bytes([6, 1, 3, 0, 1, 0, 0, 0, 1, 0]))
    content[at + 8] = 0
    assert np.abs(decode(bytes(content)).pixels.astype(int) - decode(encoded(GRAY)).pixels).max() <= 1


def test_a_transparent_part_is_black() -> None:
    """What is transparent counts as black, and a warning says so."""
    rgba = np.dstack([*[picture(64, 600)] * 3, np.full((600, 64), 255, np.uint8)])
    rgba[:300, :, 3] = 0
    result = decode(encoded(rgba))
    assert result.pixels[:32].max() == 0
    np.testing.assert_array_equal(result.pixels[32:], picture(64, 600)[300:332])
    assert "transparent parts taken as black" in result.warnings


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize(("tag", "turns"), [(3, 2), (6, 1), (8, 3)])
def test_the_rotation_noted_by_a_camera_is_applied(form: str, tag: int, turns: int) -> None:
    """A picture whose EXIF data says it lies on its side comes out upright."""
    upright = picture(160, 128)
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"quality": 100} if form == "JPEG" else {}
    turned = encoded(np.ascontiguousarray(np.rot90(upright, turns)), form, exif=exif, **options)
    assert np.abs(decode(turned).pixels.astype(int) - decode(encoded(upright)).pixels).max() <= 3


def test_a_tiny_picture_is_enlarged_with_a_warning() -> None:
    """Fewer than 64 pixels are enlarged, and a warning names the size."""
    result = decode(encoded(picture(30, 20)))
    assert result.pixels.shape == (64, 64)
    assert "only 30x20 pixels, enlarged" in result.warnings


def test_a_colourful_picture_gets_a_warning() -> None:
    """A colour photograph is screened with a warning."""
    red = np.dstack([GRAY, GRAY // 2, GRAY // 4])
    assert "the picture is in colour" in decode(encoded(red)).warnings


WHOLE = encoded(picture(300, 300))
JPEG = encoded(picture(300, 300), "JPEG")


def several() -> bytes:
    """A TIFF file with two pages."""
    page = Image.fromarray(GRAY)
    return encoded(page, "TIFF", save_all=True, append_images=[page])


def huge() -> bytes:
    """A PNG file of 10,000 by 10,000 black pixels, 100 kB on disk."""
    return encoded(Image.new("1", (10_000, 10_000)))


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"Dear colleague,\n", "it is not a PNG, JPEG, TIFF, BMP or DICOM image"),
    "gif": (lambda: encoded(GRAY, "GIF"), "it is a GIF file, which is not read: save it as PNG"),
    "webp": (lambda: b"RIFF\x24\0\0\0WEBPVP8 ", "it is a WebP file, which is not read: save it as PNG"),
    "heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0", "it is a HEIC file, which is not read: save it as PNG"),
    "one pixel": (lambda: encoded(np.full((1, 1), 9, np.uint8)), "it is blank: 1 gray value in all"),
    "two values": (lambda: encoded(np.eye(64, dtype=np.uint8) * 255), "it is blank: 2 gray values in all"),
    "blank dicom": (lambda: dicom(np.full((99, 99), 700, np.uint16)), "it is blank: 1 gray value in all"),
    "huge, transparent": (
        lambda: encoded(Image.new("RGBA", (8192, 4097)), compress_level=1),
        "it has 8192x4097 pixels, more than 32 million",
    ),
    "huge, transparent palette": (
        lambda: encoded(Image.new("P", (8192, 4097)), transparency=0, compress_level=1),
        "it has 8192x4097 pixels, more than 32 million",
    ),
    "truncated png": (lambda: WHOLE[: len(WHOLE) // 2], "it is a damaged PNG image: "),
    "truncated jpeg": (lambda: JPEG[: len(JPEG) // 2], "it is a damaged JPEG image: "),
    "signature alone": (lambda: WHOLE[:8], "it is a damaged PNG image: its header cannot be read"),
    "corrupt png": (lambda: WHOLE[:200] + bytes(4000) + WHOLE[4200:], "it is a damaged PNG image: "),
    "half a tiff": (lambda: encoded(GRAY, "TIFF")[:200], "it is a damaged TIFF image: "),
    "half a bmp": (lambda: encoded(GRAY, "BMP")[:2000], "it is a damaged BMP image: "),
    "half a dicom": (lambda: bytes(128) + b"DICM" + bytes(9), "it is a "),
    "several pages": (several, "it holds several pictures: save the radiograph alone"),
    "huge": (huge, "it has 10000x10000 pixels, more than 64 million"),
    "floating point": (
        lambda: encoded(GRAY.astype(np.float32), "TIFF"),
        "its pixels are floating point, without a defined white: save it as 16-bit gray",
    ),
    "32 bits": (
        lambda: encoded(GRAY.astype(np.int32) * 70_000, "TIFF"),
        "its gray values exceed 16 bits: save it as 8-bit or 16-bit gray",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_without_a_radiograph_says_why_in_a_line(name: str) -> None:
    """Whatever is in a file, the answer is a radiograph or one line."""
    make, message = BAD[name]
    with pytest.raises(ImageError) as caught:
        decode(make())
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("begins", "is_dicom"),
    [
        (b"\x08\0\x05\0CS\x0a\0I", True),
        (b"\x02\0\x10\0UI\x14\0 1", True),
        (b"\0\x08\0\x05CS\0\x0aI", True),  # big-endian
        (b"\x08\0\x05\0\xff\0\0\0I", True),  # no type: its length
        (b"\x08\0\x05\0\0\x01\0\0I", False),  # 256
        (b"\0\x08\0\x05\0\0\0\x0aI", False),  # big-endian always has a type
        (b"\x08\0\x05\0CS\x0a\0", False),  # nothing in it
        (b"\x08\0\0\x01CS\x0a\0I", False),  # element 0100
        (b"\x10\0\x05\0CS\x0a\0I", False),  # group 0010
    ],
)
def test_a_data_set_without_its_prefix_is_known_by_its_first_element(begins: bytes, is_dicom: bool) -> None:
    """DICOM files without the letters DICM begin with a low element of group 0002 or 0008."""
    assert image._begins_like_a_data_set(begins) is is_dicom


@pytest.mark.parametrize(("values", "blank"), [(15, True), (16, False)])
def test_sixteen_gray_values_are_a_picture(values: int, blank: bool) -> None:
    """Fewer are called blank."""
    pixels = np.tile(np.arange(values, dtype=np.uint8) * 16, (64, 64))[:, :64]
    if blank:
        with pytest.raises(ImageError, match=f"it is blank: {values} gray values in all"):
            decode(encoded(pixels))
    else:
        decode(encoded(pixels))


def test_what_is_no_readable_file_says_why(tmp_path: Path) -> None:
    """A missing file, a folder, an empty and an oversized file each get their line."""
    empty, large = tmp_path / "empty.png", tmp_path / "large.png"
    empty.touch()
    with large.open("wb") as stream:
        stream.truncate(image.MOST_BYTES + 1)
    expected = {
        tmp_path / "none.png": "there is no such file",
        tmp_path: "it is not a file",
        empty: "it is empty",
        large: "it is larger than 256 MiB",
        tmp_path / ("n" * 300): "it cannot be read: File name too long",
    }
    for path, message in expected.items():
        with pytest.raises(ImageError, match=f"^{message}$"):
            load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hold_up_the_batch(tmp_path: Path) -> None:
    """A named pipe is refused instead of waited for."""
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="it is not a file"):
        load(tmp_path / "pipe.png")


def dicom(stored: NDArray[Any], interpretation: str = "MONOCHROME2", bits: int = 12, **tags: Any) -> bytes:
    """A DICOM file with a patient's name in it."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.PatientName, data.Modality = "Nobody^Real", "DX"
    data.Rows, data.Columns = stored.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = (1 if stored.ndim == 2 else 3), interpretation
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


def table(values: NDArray[np.uint16], first: int, bits: int) -> list[Any]:
    """A DICOM lookup table as a sequence of one item."""
    pydicom = pytest.importorskip("pydicom")
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = values.tolist()
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "US"
    return [item]


TWELVE = np.rint(GRAY * (4095 / 255)).astype(np.uint16)
RAMP = np.arange(4096, dtype=np.uint16)


@pytest.mark.parametrize(
    "make",
    [
        lambda: dicom(GRAY, bits=8),
        lambda: dicom(TWELVE),
        lambda: dicom(4095 - TWELVE, "MONOCHROME1"),
        lambda: dicom(TWELVE // 2 + 500, WindowCenter=500 + 1024, WindowWidth=2048),
        lambda: dicom((TWELVE // 2).astype(np.int16) - 1000, WindowCenter=24, WindowWidth=2048),
        lambda: dicom(TWELVE // 4, RescaleSlope=4, RescaleIntercept=-9, WindowCenter=2039, WindowWidth=4096),
        lambda: dicom(4095 - TWELVE, RescaleSlope=-1, RescaleIntercept=4095),
        lambda: dicom(
            4095 - TWELVE, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096
        ),
        lambda: dicom(4095 - TWELVE, ModalityLUTSequence=table(RAMP[::-1], 0, 12)),
        lambda: dicom(TWELVE, VOILUTSequence=table(RAMP * 16, 0, 16)),
        lambda: dicom(TWELVE, VOILUTSequence=table(RAMP // 16, 0, 8)),
        lambda: dicom(4095 - TWELVE, "MONOCHROME1", VOILUTSequence=table(RAMP * 16, 0, 16)),
        lambda: dicom(np.stack([GRAY] * 3, axis=2), "RGB", 8),
    ],
    ids=[
        "8 bits", "12 bits", "MONOCHROME1", "window", "signed, window", "rescale, window", "negative slope",
        "negative slope, window", "modality table", "VOI table", "VOI table, 8 bits",
        "VOI table, MONOCHROME1", "colour",
    ],
)  # fmt: skip
def test_dicom_tables_give_the_same_gray(make: Callable[[], bytes]) -> None:
    """Modality table, VOI table or window, and MONOCHROME1 lead back to one picture."""
    result = decode(make())
    assert np.abs(result.pixels.astype(int) - decode(encoded(GRAY)).pixels).max() <= 2
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: dicom(np.stack([GRAY, GRAY]).reshape(256, 128), bits=8, Rows=128, NumberOfFrames=2),
            "several",
        ),
        (lambda: dicom(GRAY, bits=8, Rows=30_000, Columns=30_000), "it has 30000x30000 pixels"),
        (lambda: dicom(GRAY, bits=8)[:4000], "it is a damaged DICOM image"),
        (lambda: dicom(GRAY, "PALETTE COLOR", 8), "its colours come from a palette"),
    ],
)
def test_a_dicom_file_without_a_radiograph_says_why(make: Callable[[], bytes], message: str) -> None:
    """Several frames, absurd sizes, missing pixels and palettes each get their line."""
    with pytest.raises(ImageError, match=message):
        decode(make())


def test_a_dicom_file_of_another_modality_gets_a_warning() -> None:
    """A CT slice is screened with a warning."""
    assert "its modality is 'CT', not radiography" in decode(dicom(GRAY, bits=8, Modality="CT")).warnings


def test_no_tag_about_the_patient_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set that is read holds no patient's name."""
    pydicom = pytest.importorskip("pydicom")
    original, seen = pydicom.dcmread, []
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **k: seen.append(original(*a, **k)) or seen[-1])
    content = dicom(GRAY, bits=8)
    assert b"Nobody^Real" in content
    decode(content)
    assert "PatientName" not in seen[0]
    assert "Rows" in seen[0]


def test_without_pydicom_the_line_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DICOM file on a device without pydicom gets a line that helps without a network."""
    content = dicom(GRAY, bits=8)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(
        ImageError, match="DICOM needs pydicom, which is not installed here: export it as PNG"
    ):
        decode(content)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((64, 64), np.uint8), "too dark"),
        (np.full((64, 64), 255, np.uint8), "too bright"),
        (np.full((64, 64), 128, np.uint8), "hardly any contrast"),
        (np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8), "too much fine detail"),
        (255 - picture(64, 64), "another layout"),
        (np.rot90(picture(64, 64)), "another layout"),
    ],
    ids=["black", "white", "blank", "noise", "inverted", "on its side"],
)
def test_what_is_no_chest_radiograph_gets_a_warning(pixels: NDArray[np.uint8], reason: str) -> None:
    """Blank, noisy, inverted and turned pictures are warned about, with the reason."""
    (warning,) = plausibility_warnings(np.ascontiguousarray(pixels))
    assert warning.startswith("does not look like a chest radiograph (")
    assert reason in warning


def test_real_radiographs_pass(real_data: DataSet) -> None:
    """Fewer than one in a hundred real validation images is warned about, and every one of them inverted."""
    images = real_data.read("validation").images
    assert np.mean([bool(plausibility_warnings(one)) for one in images]) < 0.01
    assert all(plausibility_warnings(255 - one) for one in images)


def test_the_memory_of_one_picture_is_bounded() -> None:
    """The largest picture with transparency that is taken needs less than 400 MiB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process's peak")
    script = (
        "import re, sys; from udacimed_edge.runtime.image import decode, ImageError\n"
        "try: decode(sys.stdin.buffer.read())\n"
        "except ImageError as error: assert str(error).startswith('it is blank'), error\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    content = encoded(Image.new("RGBA", (8192, 4096), (9, 9, 9, 7)), compress_level=1)
    ended = subprocess.run([sys.executable, "-c", script], input=content, capture_output=True, check=True)
    assert int(ended.stdout) < 400 * 1024
