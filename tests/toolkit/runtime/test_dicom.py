"""What a clinic's DICOM files are like: headers, compressions, depths and windows of many vendors."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from udacimed_edge.core.data import open_data
from udacimed_edge.runtime import decompress
from udacimed_edge.runtime.depth import full_scale
from udacimed_edge.runtime.image import ImageError, decode, kind_of

pydicom = pytest.importorskip("pydicom")
from pydicom import uid  # noqa: E402

SMALL = open_data("synthetic").read("test").images[0]
GRAY = np.asarray(Image.fromarray(SMALL).resize((160, 128), Image.Resampling.BICUBIC))
TWELVE = np.rint(GRAY * (4095 / 255)).astype(np.uint16)


def data_set(stored: NDArray[Any], bits: int, syntax: str, **tags: Any) -> Any:
    """A DICOM data set with one gray picture."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.Modality, data.PhotometricInterpretation = "DX", "MONOCHROME2"
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, int(stored.dtype.kind == "i")
    data.BitsAllocated, data.BitsStored, data.HighBit = stored.dtype.itemsize * 8, bits, bits - 1
    data.PixelData = stored.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def written(data: Any) -> bytes:
    """A data set as a file."""
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def dicom(
    stored: NDArray[Any], bits: int = 12, syntax: str = uid.ExplicitVRLittleEndian, **tags: Any
) -> bytes:
    """An uncompressed file."""
    return written(data_set(stored, bits, syntax, **tags))


def encapsulated(stream: bytes, syntax: str, stored: NDArray[Any], bits: int) -> bytes:
    """A file with a compressed stream."""
    data = data_set(stored, bits, syntax)
    data.PixelData = pydicom.encaps.encapsulate([stream])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return written(data)


def lossless_jpeg(stored: NDArray[np.uint16], precision: int) -> bytes:
    """A lossless JPEG stream (ITU T.81, annex H): the left neighbour predicts, every category has 5 bits."""
    wide = stored.astype(int)
    before = np.hstack([np.vstack([[[1 << precision - 1]], wide[:-1, :1]]), wide[:, :-1]])
    bits = []
    for step in ((wide - before + 32768) % 65536 - 32768).ravel():
        category = int(abs(step)).bit_length()
        bits.append(f"{category:05b}")
        if 0 < category < 16:
            bits.append(f"{step if step > 0 else step + (1 << category) - 1:0{category}b}")
    text = "".join(bits)
    coded = int(text + "1" * (-len(text) % 8), 2).to_bytes((len(text) + 7) // 8, "big")
    rows, columns = stored.shape
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    return b"".join(
        [
            b"\xff\xd8",
            b"\xff\xc3" + struct.pack(">HBHHB3B", 11, precision, rows, columns, 1, 1, 0x11, 0),
            b"\xff\xc4" + struct.pack(">H", 2 + len(table)) + table,
            b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, 1, 0, 0),
            coded.replace(b"\xff", b"\xff\0"),
            b"\xff\xd9",
        ]
    )


def compressed(syntax: str) -> bytes:
    """`TWELVE`, compressed by pydicom."""
    data = pydicom.dcmread(io.BytesIO(dicom(TWELVE)))
    data.compress(syntax)
    return written(data)


def test_a_tiff_header_in_the_preamble_changes_nothing() -> None:
    """DICM at byte 128 decides, whatever a dual-use file has before it."""
    plain = dicom(TWELVE)
    for start in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"BM", b"\x89PNG\r\n\x1a\n"):
        dual = start + plain[len(start) :]
        assert kind_of(dual) == "DICOM"
        np.testing.assert_array_equal(decode(dual).pixels, decode(plain).pixels)


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_a_file_without_the_prefix_is_read(syntax: str) -> None:
    """Neither the preamble nor the part that names the syntax need be there."""
    big = syntax == uid.ExplicitVRBigEndian
    whole = dicom(TWELVE.byteswap() if big else TWELVE, syntax=syntax)
    expected = decode(dicom(TWELVE)).pixels
    without_meta = whole[144 + int.from_bytes(whole[140:144], "little") :]
    for content in (whole, whole[132:], without_meta):
        np.testing.assert_array_equal(decode(content).pixels, expected)


@pytest.mark.parametrize("content", [b"Dear colleague,\n" * 20, b"\x08\0", b"\x08\0\x05\0zz\xff\xff" * 40])
def test_other_bytes_are_not_taken_for_a_data_set(content: bytes) -> None:
    """What does not begin with an element of a DICOM file is no image."""
    with pytest.raises(ImageError, match="it is not a PNG, JPEG, TIFF, BMP or DICOM image"):
        decode(content)


LOSSLESS: dict[str, Callable[[], bytes]] = {
    "RLE": lambda: compressed(uid.RLELossless),
    "JPEG 2000": lambda: compressed(uid.JPEG2000Lossless),
    "deflated": lambda: dicom(TWELVE, syntax=uid.DeflatedExplicitVRLittleEndian),
    "JPEG lossless": lambda: encapsulated(lossless_jpeg(TWELVE, 12), uid.JPEGLosslessSV1, TWELVE, 12),
    "JPEG lossless, 16 bits": lambda: encapsulated(
        lossless_jpeg(TWELVE * 16, 16), uid.JPEGLossless, TWELVE, 16
    ),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_compression_gives_the_same_pixels(name: str) -> None:
    """RLE, JPEG 2000, deflated and JPEG lossless files are cut as the uncompressed file is."""
    if name != "deflated":
        pytest.importorskip("openjpeg" if "2000" in name else "libjpeg" if "JPEG" in name else "numpy")
    expected = decode(dicom(TWELVE * 16, bits=16) if "16" in name else dicom(TWELVE)).pixels
    np.testing.assert_array_equal(decode(LOSSLESS[name]()).pixels, expected)


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("JPGExtended.dcm", None),
    ],
)
def test_pydicom_s_own_examples_are_read(name: str, twin: str | None) -> None:
    """JPEG-LS, JPEG 2000, RLE and 12-bit JPEG as other makers wrote them; lossless ones like their twin."""
    pytest.importorskip("libjpeg")
    place = Path(pydicom.__file__).parent / "data" / "test_files"
    if not (place / name).is_file() or (twin and not (place / twin).is_file()):
        pytest.skip("this pydicom came without its examples")
    pixels = decode((place / name).read_bytes()).pixels
    if twin:
        np.testing.assert_array_equal(pixels, decode((place / twin).read_bytes()).pixels)


def broken(stream: bytes) -> bytes:
    """A stream whose middle is lost."""
    return stream[:60] + bytes(40) + stream[90:200]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: encapsulated(b"\xff\xd8\xff\xe0junk", uid.JPEGBaseline8Bit, GRAY, 8), "JPEG Baseline"),
        (
            lambda: encapsulated(broken(lossless_jpeg(TWELVE, 12)), uid.JPEGLossless, TWELVE, 12),
            "JPEG Lossless",
        ),
        (lambda: encapsulated(b"\0" * 99, uid.JPEGLSLossless, TWELVE, 12), "JPEG-LS Lossless"),
        (lambda: encapsulated(b"\xff\x4f\xff\x51\0", uid.JPEG2000Lossless, TWELVE, 12), "JPEG 2000"),
        (lambda: encapsulated(b"\1" * 99, uid.RLELossless, TWELVE, 12), "RLE Lossless"),
    ],
)
def test_a_broken_stream_is_called_broken(make: Callable[[], bytes], name: str) -> None:
    """The compression is read here, so the file is at fault, and the line says so."""
    pytest.importorskip("libjpeg")
    with pytest.raises(
        ImageError, match=rf"^it is a damaged DICOM image: its stream \({name}.*\) is broken$"
    ):
        decode(make())
    assert decode(dicom(TWELVE)).pixels.shape == (64, 64)


def test_a_stream_that_never_ends_costs_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that hangs is ended, the file called broken, and the next file is read."""
    if decompress._worker is not None:
        decompress._worker.kill()
    monkeypatch.setattr(decompress, "_worker", None)
    monkeypatch.setattr(decompress, "SECONDS", 0.001)  # over before any decoder is imported
    started = time.monotonic()
    with pytest.raises(ImageError, match="is broken"):
        decode(compressed(uid.RLELossless))
    assert time.monotonic() - started < 60
    monkeypatch.undo()
    np.testing.assert_array_equal(decode(compressed(uid.RLELossless)).pixels, decode(dicom(TWELVE)).pixels)


def test_a_compression_that_is_not_read_is_named() -> None:
    """A film, and a compression whose decoder is not installed, each get their line."""
    film = encapsulated(b"\0\0\1\xb3", uid.MPEG2MPML, GRAY, 8)
    with pytest.raises(ImageError, match=r"its compression \(MPEG2 .*\) is not read: export it as PNG"):
        decode(film)


def test_a_decoder_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pylibjpeg the line names it and the way out."""
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "is_available", False)
    with pytest.raises(ImageError, match=r"\(JPEG Lossless.*\) needs pylibjpeg, which is not installed here"):
        decode(encapsulated(lossless_jpeg(TWELVE, 12), uid.JPEGLossless, TWELVE, 12))


def burnt(stored: NDArray[Any], top: int) -> NDArray[Any]:
    """With one pixel at the container's white."""
    marked = stored.copy()
    marked[0, 0] = top
    return marked


REFERENCE = decode(dicom(TWELVE)).pixels
BIT12 = "16-bit pixels taken as 12-bit, which hold 99 % of them"


@pytest.mark.parametrize(
    ("make", "note"),
    [
        (lambda: dicom(TWELVE, 16), BIT12),
        (lambda: dicom(burnt(TWELVE, 65535), 16), f"{BIT12}, 1 beyond them cut off"),
        (lambda: dicom(4095 - TWELVE, 16, PhotometricInterpretation="MONOCHROME1"), BIT12),
        (lambda: dicom(TWELVE, 16, RescaleSlope=2, RescaleIntercept=-9), BIT12),
        (
            lambda: dicom(TWELVE.astype(np.int16), 16),
            "15-bit pixels taken as 12-bit, which hold 99 % of them",
        ),
        (lambda: dicom(burnt(TWELVE.astype(np.int16), 32767), 16), "15-bit pixels taken as 12-bit"),
        (lambda: dicom(TWELVE.astype(np.int16) - 2048, 16), BIT12),
        (lambda: png(TWELVE), BIT12),
        (lambda: png(burnt(TWELVE, 65535)), f"{BIT12}, 1 beyond them cut off"),
        (lambda: dicom(TWELVE, 16, WindowCenter=2048), BIT12),
        (lambda: dicom(TWELVE, 16, WindowCenter=2048, WindowWidth=0), BIT12),
    ],
)
def test_the_depth_is_that_of_nearly_all_pixels(make: Callable[[], bytes], note: str) -> None:
    """12 bits in a container of 16, a burnt-in mark and a useless window all show the same picture."""
    result = decode(make())
    assert np.abs(result.pixels.astype(int) - REFERENCE).max() <= 2
    assert note in "; ".join(result.warnings)


def png(stored: NDArray[np.uint16]) -> bytes:
    """A 16-bit PNG file."""
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(("bright", "white"), [(0, 255), (99, 255), (100, 65535)])
def test_one_pixel_in_a_hundred_may_lie_beyond(bright: int, white: int) -> None:
    """Of 9,900 pixels 99 bright ones are cut off; 100 are what full scale is."""
    stored = np.arange(9900, dtype=np.uint16).reshape(99, 100) % 256
    stored.ravel()[:bright] = 65535
    notes: list[str] = []
    assert full_scale(stored, 16, False, notes) == (0, white)
    assert len(notes) == (white < 65535)
    assert ("99 beyond them cut off" in "".join(notes)) is (bright == 99)


@pytest.mark.parametrize(
    ("interpretation", "shape", "turned"),
    [
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", "IDENTITY", False),
    ],
)
def test_an_inverse_presentation_is_turned_once(interpretation: str, shape: str, turned: bool) -> None:
    """PresentationLUTShape INVERSE and MONOCHROME1 say the same, together they say it once."""
    stored = 4095 - TWELVE if turned else TWELVE
    content = dicom(stored, PhotometricInterpretation=interpretation, PresentationLUTShape=shape)
    np.testing.assert_allclose(decode(content).pixels.astype(int), REFERENCE, atol=1)
