"""Compare the page's decoders with the device program's on random files of every kind.

    python tests/targets/page/parity.py --files 2000 --seed 1

Needs node, and the packages of targets/page (`npm ci` there). Pixels and warnings must be equal in every
file. Where both refuse a file the sentences must be equal, up to the colon for a damaged file, whose
details are each decoder's own. The page may refuse what it says it cannot read; such files are counted.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from udacimed_edge.runtime import image

PAGE = Path(__file__).parents[3] / "targets" / "page"
CODEC = PAGE / "node_modules/@cornerstonejs/codec-libjpeg-turbo-8bit/dist/libjpegturbowasm_decode.wasm"

NOT_HERE = (
    "it is a TIFF image, which this page cannot read: save it as PNG",
    "its colours are CMYK, made for printing: save it as PNG",
    "its compression (JPEG 2000 Image Compression (Lossless Only)) is not read",
    "its compression (JPEG Lossless, Non-Hierarchical, First-Order Prediction",
    "it is a damaged JPEG image: its compressed pixels cannot be read",
)
"""What the page may refuse although the device reads it."""

Random = np.random.Generator


def scene(rng: Random, width: int, height: int, channels: int) -> NDArray[np.uint8]:
    """A smooth picture with a little noise: uint8 of shape (height, width, channels)."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        a, b, c, d = rng.uniform(0.2, 9, 4)
        wave = np.sin(x * a / width + c) + np.cos(y * b / height + d)
        planes.append(np.clip(127 + 60 * wave + rng.normal(0, rng.choice([0, 2, 30]), wave.shape), 0, 255))
    return np.stack(planes, 2).astype(np.uint8)


def sides(rng: Random) -> tuple[int, int]:
    """Width and height: mostly some hundred pixels, at times less than the model's side."""
    low, high = [(1, 70), (64, 65), (60, 400), (300, 700)][int(rng.choice(4, p=[0.15, 0.1, 0.6, 0.15]))]
    return int(rng.integers(low, high)), int(rng.integers(low, high))


# --- PNG, written here: Pillow writes neither interlaced files nor all depths


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def filtered(rows: NDArray[np.uint8], step: int, rng: Random) -> bytes:
    """Rows of packed bytes, each behind a random filter."""
    out = bytearray()
    above = np.zeros(rows.shape[1], np.int64)
    for row in rows.astype(np.int64):
        left = np.concatenate([np.zeros(step, np.int64), row[:-step]])[: len(row)]
        corner = np.concatenate([np.zeros(step, np.int64), above[:-step]])[: len(row)]
        kind = int(rng.integers(5))
        guess = left + above - corner
        pa, pb, pc = abs(guess - left), abs(guess - above), abs(guess - corner)
        paeth = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, above, corner))
        predicted = [np.zeros_like(row), left, above, (left + above) // 2, paeth][kind]
        out += bytes([kind]) + ((row - predicted) & 255).astype(np.uint8).tobytes()
        above = row
    return bytes(out)


def packed(samples: NDArray[Any], depth: int) -> NDArray[np.uint8]:
    """Samples of shape (height, width, channels) as rows of bytes."""
    flat = samples.reshape(len(samples), -1)
    if depth == 8:
        return flat.astype(np.uint8)
    if depth == 16:
        return flat.astype(">u2").view(np.uint8).reshape(len(samples), -1)
    bits = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(samples), -1).astype(np.uint8), axis=1)


PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def orientation(rng: Random) -> bytes:
    """EXIF data that names a rotation; at times damaged."""
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(0, 10))
    exif[0x010E] = "text"
    content = exif.tobytes()
    if rng.random() < 0.1:
        return content[:6] + b"damaged" + content[13:]
    return content


def png(rng: Random) -> bytes:
    """Any kind of PNG file."""
    kind, depths = [(0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))][
        int(rng.integers(5))
    ]
    depth = int(rng.choice(depths))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    width, height = sides(rng)
    samples = scene(rng, width, height, channels).astype(np.int64)
    if depth < 8:
        samples >>= 8 - depth
    elif depth == 16:
        samples = samples * 257 >> int(rng.integers(0, 8))
        if rng.random() < 0.3:  # a mark burnt in at the container's white
            samples[: int(rng.integers(1, 40)), : int(rng.integers(1, 40))] = 65535
    if rng.random() < 0.05:
        samples[:] = samples.flat[0]
    if kind in (4, 6) and rng.random() < 0.5:
        samples[..., -1] = (1 << depth) - 1
    interlaced = rng.random() < 0.3
    step = max(1, channels * depth // 8)
    body = b""
    for x, y, dx, dy in PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[y::dy, x::dx]
        if part.size:
            body += filtered(packed(part, depth), step, rng)
    stream = zlib.compress(body, int(rng.integers(0, 10)))
    cuts = sorted(rng.integers(0, len(stream), int(rng.integers(0, 4))).tolist())
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced)))
    head += png_extras(rng, kind, depth)
    tail = chunk(b"eXIf", orientation(rng)[6:]) if rng.random() < 0.15 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunk(b"IDAT", one) for one in parts)
        + tail
        + chunk(b"IEND", b"")
    )


def png_extras(rng: Random, kind: int, depth: int) -> bytes:
    """Chunks before the pixels."""
    out = b""
    if rng.random() < 0.3:
        out += chunk(b"gAMA", struct.pack(">I", int(rng.integers(30000, 120000))))
    if rng.random() < 0.2:
        out += chunk(b"tEXt", b"Comment\0nothing of note")
    if rng.random() < 0.1:
        xmp = f'<x tiff:Orientation="{rng.integers(1, 9)}"/>'.encode()
        out += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    if rng.random() < 0.1:
        out += chunk(b"acTL", struct.pack(">II", int(rng.integers(0, 3)), 0))
    if kind == 3 and rng.random() < 0.95:
        gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
        table = gray if rng.random() < 0.4 else rng.integers(0, 256, (256, 3), dtype=np.uint8)
        out += chunk(b"PLTE", table[: int(rng.choice([1 << depth, 7]))].tobytes())
    if rng.random() < 0.2 and kind in (0, 2, 3):
        size = {0: 2, 2: 6, 3: int(rng.integers(1, 20))}[kind]
        values = rng.integers(0, 256, size, dtype=np.uint8)
        out += chunk(b"tRNS", values.tobytes() if rng.random() < 0.7 else b"\xff" * (size - 1) + b"\0")
    return out


# --- JPEG, BMP, TIFF through Pillow


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    """A picture's bytes in a format."""
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def jpeg(rng: Random) -> bytes:
    """Any kind of JPEG file."""
    width, height = sides(rng)
    pixels = scene(rng, width, height, 3)
    mode = str(rng.choice(["L", "RGB", "RGB gray", "CMYK"], p=[0.4, 0.4, 0.15, 0.05]))
    picture = Image.fromarray(pixels[..., 0]) if mode in ("L", "RGB gray") else Image.fromarray(pixels)
    options: dict[str, Any] = {"quality": int(rng.integers(20, 101)), "progressive": bool(rng.random() < 0.3)}
    if mode != "L":
        options["subsampling"] = int(rng.integers(0, 3))
    if rng.random() < 0.2:
        options["restart_marker_rows"] = int(rng.integers(1, 4))
    if rng.random() < 0.3:
        options["exif"] = orientation(rng)
    if rng.random() < 0.3:
        options["dpi"] = (96, 96)
    if rng.random() < 0.1:
        options["xmp"] = f'<x tiff:Orientation="{rng.integers(1, 9)}"/>'.encode()
    plain = picture.convert(mode.split()[0])
    try:
        return saved(plain, "JPEG", **options)
    except OSError:  # Pillow's buffer is too small for some tiny pictures with much beside them
        return saved(plain, "JPEG")


def bmp(rng: Random) -> bytes:
    """Any kind of BMP file."""
    width, height = sides(rng)
    picture = Image.fromarray(scene(rng, width, height, 3))
    mode = str(rng.choice(["1", "L", "P", "RGB", "RGBA", "16 bits", "RLE8"]))
    if mode == "16 bits":
        return bmp_sixteen(rng, np.asarray(picture.convert("L")))
    if mode == "RLE8":
        return bmp_runs(np.asarray(picture.convert("L"), np.uint8) // np.uint8(64))
    content = bytearray(saved(picture.convert(mode), "BMP"))
    if rng.random() < 0.2 and content[14] == 40:  # the first row first
        content[22:26] = struct.pack("<i", -height)
    return bytes(content)


def bmp_file(width: int, height: int, bits: int, compression: int, extra: bytes, body: bytes) -> bytes:
    """A BMP file with the usual header."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    offset = 14 + len(head) + len(extra)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + head + extra + body


def bmp_sixteen(rng: Random, gray: NDArray[np.uint8]) -> bytes:
    """16 bits a pixel: five each, or six for green."""
    wide = gray.astype(np.uint16)
    six = bool(rng.random() < 0.5)
    values = (
        (wide >> 3 << 11 | wide >> 2 << 5 | wide >> 3)
        if six
        else (wide >> 3 << 10 | wide >> 3 << 5 | wide >> 3)
    )
    padded = np.pad(values, ((0, 0), (0, gray.shape[1] % 2)))[::-1].astype("<u2").tobytes()
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F) if six else b""
    return bmp_file(gray.shape[1], gray.shape[0], 16, 3 if six else 0, masks, padded)


def bmp_runs(indices: NDArray[np.uint8]) -> bytes:
    """Run lengths over a palette of 256."""
    body = bytearray()
    for row in indices[::-1]:
        at = 0
        while at < len(row):
            end = at
            while end < len(row) and row[end] == row[at] and end - at < 255:
                end += 1
            body += bytes([end - at, row[at]])
            at = end
        body += b"\0\0"
    palette = b"".join(bytes([60 * (i % 4), 60 * (i % 4), 60 * (i % 4), 0]) for i in range(256))
    return bmp_file(indices.shape[1], indices.shape[0], 8, 1, palette, bytes(body) + b"\0\1")


def tiff(rng: Random) -> bytes:
    """A TIFF file."""
    return saved(Image.fromarray(scene(rng, *sides(rng), 1)[..., 0]), "TIFF")


# --- DICOM through pydicom


def dicom(rng: Random) -> bytes:
    """Any kind of DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    width, height = sides(rng)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.PatientName, data.PatientID = "Nobody^Known", "0"
    data.Modality = str(rng.choice(["CR", "DX", "CT", "OT", "RF"], p=[0.4, 0.4, 0.1, 0.05, 0.05]))
    data.Rows, data.Columns = height, width
    syntax = str(
        rng.choice(
            ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"]
        )
    )
    if rng.random() < 0.25:
        dicom_colour(rng, data)
    else:
        dicom_gray(rng, data, big=syntax.endswith(".2.2"))
    data.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    data.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    if rng.random() < 0.05:
        data.NumberOfFrames = 2
    if rng.random() < 0.03:
        del data.PixelData
    return dicom_encoded(rng, data, syntax)


def dicom_gray(rng: Random, data: Any, big: bool) -> None:
    """Gray pixels with any of the tables."""
    allocated = int(rng.choice([8, 16, 16, 16, 32]))
    stored = allocated if allocated == 8 else int(rng.choice([10, 12, 14, 16]))
    signed = int(rng.random() < 0.3)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = f"MONOCHROME{rng.integers(1, 3)}"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = (
        allocated,
        stored,
        stored - 1,
        signed,
    )
    values = scene(rng, data.Columns, data.Rows, 1)[..., 0].astype(np.int64)
    values = (values << stored) >> int(rng.integers(8, 13))
    if rng.random() < 0.2:
        values[: int(rng.integers(1, 40)), : int(rng.integers(1, 40))] = (1 << stored) - 1
    if signed:
        values -= 1 << (stored - 1)
    if rng.random() < 0.1:  # bits beyond those stored, to be passed over
        values |= 1 << (allocated - 1)
    kind = f"{'>' if big else '<'}{'iu'[1 - signed]}{allocated // 8}"
    content = (
        (values & ((1 << allocated) - 1))
        .astype(f"u{allocated // 8}")
        .astype(kind.replace("i", "u"))
        .tobytes()
    )
    data.PixelData = content + b"\0" * (len(content) % 2)
    data["PixelData"].VR = "OW" if allocated > 8 else "OB"
    if rng.random() < 0.3:
        data.RescaleSlope = str(rng.choice([1, 2, 0.5, -1, 1.25]))
        data.RescaleIntercept = str(rng.choice([0, -1024, 100, 0.5]))
    elif rng.random() < 0.15:
        data.ModalityLUTSequence = [lookup(rng, stored, signed)]
    if rng.random() < 0.35:
        data.WindowCenter = (
            [str(rng.integers(0, 1 << stored)), "40"]
            if rng.random() < 0.2
            else str(rng.integers(0, 1 << stored))
        )
        data.WindowWidth = ["0.5", "9"] if rng.random() < 0.05 else str(rng.integers(1, 1 << stored))
        if isinstance(data.WindowCenter, str):
            data.WindowWidth = str(rng.integers(1, 1 << stored))
        if rng.random() < 0.5:
            data.VOILUTFunction = str(rng.choice(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    if rng.random() < 0.1:
        setattr(data, str(rng.choice(["WindowCenter", "WindowWidth"])), None)
    if rng.random() < 0.2:
        data.PresentationLUTShape = str(rng.choice(["IDENTITY", "INVERSE"]))
    if rng.random() < 0.15:
        data.VOILUTSequence = [lookup(rng, stored, signed)]


def lookup(rng: Random, stored: int, signed: int) -> Any:
    """A lookup table's item."""
    from pydicom.dataset import Dataset

    item = Dataset()
    bits = int(rng.choice([8, 10, 12, 16]))
    length = int(rng.integers(2, 1 << min(stored, 12)))
    first = int(rng.integers(-200 if signed else 0, 500))
    item.LUTDescriptor = [length, first, bits]
    item["LUTDescriptor"].VR = "SS" if signed else "US"
    item.LUTData = np.sort(rng.integers(0, 1 << bits, length)).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def dicom_colour(rng: Random, data: Any) -> None:
    """Colour pixels of 8 bits."""
    data.SamplesPerPixel = 3
    data.PhotometricInterpretation = str(
        rng.choice(["RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR"], p=[0.5, 0.3, 0.15, 0.05])
    )
    data.PlanarConfiguration = int(rng.random() < 0.4)
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    pixels = scene(rng, data.Columns, data.Rows, 3)
    if data.PhotometricInterpretation == "YBR_FULL_422":
        data.PlanarConfiguration = 0
        data.Columns -= data.Columns % 2
        data.Columns = data.Columns or 2
        content = rng.integers(0, 256, data.Rows * data.Columns * 2, dtype=np.uint8).tobytes()
    elif data.PlanarConfiguration:
        content = np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()
    else:
        content = pixels.tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    data["PixelData"].VR = "OB"


def dicom_encoded(rng: Random, data: Any, syntax: str) -> bytes:
    """The file's bytes, at times with compressed pixels."""
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, RLELossless

    stream = io.BytesIO()
    big = syntax.endswith(".2.2")
    plain = (
        "PixelData" in data
        and not big
        and data.PhotometricInterpretation in ("RGB", "MONOCHROME1", "MONOCHROME2")
    )
    way = rng.random()
    if plain and way < 0.2 and data.BitsAllocated > 1:
        data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
        try:
            data.compress(RLELossless)
        except Exception:  # pydicom's encoder refuses bits beyond those stored
            return b"not made"
    elif plain and way < 0.45 and data.BitsAllocated == 8:
        shape = (data.Rows, data.Columns, 3)[: 3 if data.SamplesPerPixel == 3 else 2]
        picture = Image.fromarray(
            scene(rng, data.Columns, data.Rows, 3)[..., ::1]
            if len(shape) == 3
            else scene(rng, data.Columns, data.Rows, 1)[..., 0]
        )
        if rng.random() < 0.2:
            data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.90")
            content = saved(picture, "JPEG2000")
        else:
            data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.50")
            content = saved(picture, "JPEG", quality=int(rng.integers(40, 100)))
        if rng.random() < 0.5 and data.SamplesPerPixel == 3:
            data.PhotometricInterpretation = "YBR_FULL_422"
            data.PlanarConfiguration = 0
        if rng.random() < 0.1:
            data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.70")
        data.PixelData = encapsulate([content])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
    else:
        data.file_meta.TransferSyntaxUID = UID(syntax)
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    content = stream.getvalue()
    if rng.random() < 0.1:  # without the prefix, or without all that stands before the elements
        return (
            content[132:]
            if rng.random() < 0.5
            else content[144 + struct.unpack_from("<I", content, 140)[0] :]
        )
    return content


# --- everything, and the comparison


def other(rng: Random) -> bytes:
    """No image, or an empty file."""
    heads = (
        b"",
        b"hello",
        b"GIF89a....",
        b"BM",
        b"\0\0\0\x18ftypheic\0\0",
        b"%PDF-1.7 ....",
        b"RIFF....WEBPVP8 ",
    )
    noise = rng.integers(0, 256, 500, dtype=np.uint8).tobytes()
    return [*heads, noise][int(rng.integers(len(heads) + 1))]


KINDS: dict[str, tuple[Callable[[Random], bytes], float]] = {
    "png": (png, 0.35),
    "jpeg": (jpeg, 0.22),
    "bmp": (bmp, 0.12),
    "dicom": (dicom, 0.27),
    "tiff": (tiff, 0.02),
    "other": (other, 0.02),
}


def files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many random files, each with its kind; one in 25 is damaged."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = str(rng.choice(list(KINDS), p=[share for _, share in KINDS.values()]))
        content = KINDS[name][0](rng)
        if rng.random() < 0.04 and len(content) > 200:
            content = damaged(rng, content)
            name += " damaged"
        yield name, content


def damaged(rng: Random, content: bytes) -> bytes:
    """The file cut off, or with a few bytes changed."""
    if rng.random() < 0.5:
        return content[: int(rng.integers(140, len(content)))]
    changed = bytearray(content)
    for at in rng.integers(8, len(content), 3):
        changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


@dataclass(frozen=True)
class Answer:
    """What a decoder made of a file.

    Attributes:
        pixels: 4096 bytes; empty where there is an error.
        warnings: In their order.
        error: Empty where there are pixels.
    """

    pixels: bytes
    warnings: tuple[str, ...]
    error: str


def by_device(content: bytes) -> Answer:
    """The device program's answer."""
    try:
        if not content:
            raise image.ImageError("it is empty")
        found = image.decode(content)
    except image.ImageError as error:
        return Answer(b"", (), str(error))
    return Answer(found.pixels.tobytes(), found.warnings, "")


def by_page(paths: list[Path], build: Path) -> list[Answer]:
    """The page's answers, from its decoders in node."""
    listing = build / "list.txt"
    listing.write_text("\n".join(map(str, paths)) + "\n")
    command = ["node", str(build / "decoders.cjs"), str(CODEC), str(listing)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    answers = []
    for one in map(json.loads, lines):
        pixels = base64.b64decode(one.get("pixels", ""))
        answers.append(Answer(pixels, tuple(one.get("warnings", ())), one.get("error", "")))
    return answers


def verdict(device: Answer, page: Answer) -> str:
    """Whether "equal", "refused" where the page says that it cannot read this, else what differs."""
    if device == page:
        return "equal"
    if page.error.startswith(NOT_HERE):
        return "refused"
    if device.error and page.error:
        same = (
            device.error.startswith("it is a damaged")
            and device.error.split(":")[0] == page.error.split(":")[0]
        )
        return "equal" if same else "other sentence"
    if device.error or page.error:
        return "one refuses"
    return "other pixels" if device.pixels != page.pixels else "other warnings"


def compare(count: int, seed: int, keep: Path | None = None) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Compare so many files.

    Returns:
        How many files of each kind had each verdict, and a line for each that differs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["node", "build.mjs", "--decoders", name], cwd=PAGE, check=True)
        made = list(files(count, seed))
        paths = [folder / f"{number}.bin" for number in range(count)]
        for path, (_, content) in zip(paths, made, strict=True):
            path.write_bytes(content)
        tally: Counter[tuple[str, str]] = Counter()
        lines = []
        for number, answer in enumerate(by_page(paths, folder)):
            kind, content = made[number]
            device = by_device(content)
            found = verdict(device, answer)
            tally[kind, found] += 1
            if found not in ("equal", "refused"):
                shown = [one.error or f"pixels, {one.warnings}" for one in (device, answer)]
                lines.append(f"{number} {kind}: {found}: device {shown[0]} | page {shown[1]}")
                if keep:
                    (keep / f"{number}.bin").write_bytes(content)
    return tally, lines


def main() -> int:
    """The command; 1 when a file differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the files that differ")
    options = parser.parse_args()
    tally, lines = compare(options.files, options.seed, options.keep)
    for (kind, found), count in sorted(tally.items()):
        sys.stdout.write(f"{kind:<16}{found:<16}{count}\n")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
