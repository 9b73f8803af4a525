"""What `fuzz.py` feeds: sound files of every kind, and ways to damage them at and behind the container."""

from __future__ import annotations

import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["KEPT", "damaged", "kept", "make_seeds"]

Content = bytes

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "tests" / "targets" / "kept"


def kept(name: str) -> str:
    """A file of the bundle that 0.1.0 made."""
    with zipfile.ZipFile(KEPT / "0.1.0.zip") as archive:
        return archive.read(f"android-phone-ort-int8/{name}").decode()


def make_seeds(folder: Path) -> None:
    """Write sound files of every kind: FOLDER/<kind>/<number>, the same for every run."""
    sound = {
        "image": _images(),
        "report": [kept("report.json").encode()],
        "card": [(ROOT / "toolkit" / "weights" / "student.json").read_bytes()],
        "profile": [p.read_bytes() for p in sorted((ROOT / "targets/devices/profiles").glob("*.toml"))],
        "predictions-csv": [_csv()],
        "predictions-npz": [
            _npz(artifact="a" * 64, device="a phone", index=np.arange(20), logits=np.ones((20, 2)))
        ],
        "data": [_data_file()],
        "key": [(KEPT / "0.1.0.pub").read_bytes()],
        **_models(),
        "ort": [zipfile.ZipFile(KEPT / "0.1.0.zip").read("android-phone-ort-int8/model.ort")],
        "bundle": [(KEPT / "0.1.0.zip").read_bytes()],
    }  # fmt: skip
    for kind, contents in sound.items():
        (folder / kind).mkdir(parents=True)
        for number, content in enumerate(contents):
            (folder / kind / str(number)).write_bytes(content)


def _images() -> list[Content]:
    from PIL import Image

    ramp = np.add.outer(np.arange(90), np.arange(80)) % 256
    found = []
    gray, wide = Image.fromarray(ramp.astype(np.uint8)), Image.fromarray((ramp * 200).astype(np.uint16))
    plain = [(gray, form) for form in ("PNG", "JPEG", "TIFF", "BMP")]
    others = [(gray.convert("RGB"), "PNG"), (gray.convert("LA"), "PNG"), (wide, "PNG"), (wide, "TIFF")]
    for picture, form in plain + others:
        stream = io.BytesIO()
        picture.save(stream, form)
        found.append(stream.getvalue())
    return [*found, _dicom(ramp * 16)]


def _dicom(pixels: Any) -> Content:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        SecondaryCaptureImageStorage,
    )
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = SecondaryCaptureImageStorage, "1.2.3", "DX"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = pixels.astype("<u2").tobytes()
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _csv() -> Content:
    rows = "".join(f"{i},1,0.25,{i / 10}\n" for i in range(20))
    head = f"# artifact: {'a' * 64}\n# device: a phone\nindex,run,logit_normal,logit_pneumonia\n"
    return (head + rows).encode()


def _npz(**arrays: Any) -> Content:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _data_file() -> Content:
    labels = np.arange(12, dtype=np.uint8)[:, None] % 2
    images = np.arange(12 * 4096, dtype=np.uint32).astype(np.uint8).reshape(12, 64, 64)
    names = ("train", "val", "test")
    return _npz(**{f"{n}_images": images for n in names}, **{f"{n}_labels": labels for n in names})


def _models() -> dict[str, list[Content]]:
    import torch
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.torch import save

    from udacimed_edge.source.network import build_student

    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 4, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
    program, plain = io.BytesIO(), io.BytesIO()
    batch = torch.export.Dim("batch", min=1, max=64)
    example = (torch.zeros(2, 1, 64, 64),)
    torch.export.save(torch.export.export(network, example, dynamic_shapes=({0: batch},)), program)
    state = {name: tensor.half() for name, tensor in build_student().state_dict().items()}
    torch.save(state, plain)
    weights = [numpy_helper.from_array(t.numpy(), name) for name, t in network.state_dict().items()]
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "4.weight", "4.bias"], ["y"], transB=1),
    ]
    ends = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in
            (("x", ["n", 1, 64, 64]), ("y", ["n", 2])))  # fmt: skip
    graph = helper.make_graph(nodes, "g", [next(ends)], [next(ends)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return {
        "onnx": [model.SerializeToString()],
        "pt2": [program.getvalue()],
        "pth": [plain.getvalue()],
        "safetensors": [save({n: t for n, t in state.items() if not n.endswith("tracked")})],
    }


def damaged(seeds: Path, number: int, seed: int, weights: Mapping[str, int]) -> tuple[str, Content]:
    """Kind and bytes of one input; kinds are chosen as often as they weigh."""
    dice = random.Random(f"{seed}-{number}")
    kind = dice.choices(list(weights), list(weights.values()))[0]
    content = dice.choice(sorted((seeds / kind).iterdir())).read_bytes()
    behind = _BEHIND.get(kind, _bytes)
    if kind == "image":
        behind = _png if content.startswith(b"\x89PNG") else _bytes
    for _ in range(dice.randint(1, 3)):
        try:
            content = (behind if dice.random() < 0.75 else _bytes)(content, dice)
        except Exception:  # the damage before has reached the container, and its library says so
            content = _bytes(content, dice)
    return kind, content


_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_VALUES = (None, True, "", "NaN", "0_1", "\u0661", -1, 0, 1e308, 10**30, [], {}, [[]], "x" * 1000, 0.5, -0.0)


def _bytes(content: Content, dice: random.Random) -> Content:
    """Damage without knowing what it is."""
    data, at = bytearray(content), dice.randrange(len(content) + 1) if content else 0
    how = dice.randrange(6)
    if how == 0 and data:
        data[min(at, len(data) - 1)] ^= 1 << dice.randrange(8)
    elif how == 1:
        size = dice.choice((1, 2, 4, 8))
        data[at : at + size] = (dice.choice(_NUMBERS) % 256**size).to_bytes(
            size, dice.choice(("little", "big"))
        )
    elif how == 2:
        del data[at:]
    elif how == 3:
        del data[at : at + dice.randint(1, 64)]
    elif how == 4:
        data[at:at] = data[at : at + dice.randint(1, 256)] * dice.choice((1, 2, 50))
    else:
        data[at:at] = dice.randbytes(dice.randint(1, 16))
    return bytes(data)


def _json(content: Content, dice: random.Random) -> Content:
    """Another value, another key, a key twice, or one missing, in sound JSON."""
    places: list[tuple[Any, Any]] = []
    root = json.loads(content)
    waiting = [root]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(min(len(holder), 30))
        places += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys if isinstance(holder[key], (dict, list))]
    holder, key = dice.choice(places)
    how = dice.randrange(4)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[f"{key}2"] = holder.pop(key)
    elif how == 2:
        inner: Any = dice.choice(_VALUES)
        for _ in range(dice.choice((1, 5, 40, 800))):
            inner = [inner]
        holder[key] = inner
    else:
        holder[key] = dice.choice(_VALUES)
    text = json.dumps(root)
    if dice.random() < 0.1:
        text = text.replace('{"', '{"name": 1, "name": 2, "', 1)
    return text.encode()


def _lines(content: Content, dice: random.Random) -> Content:
    """Another word in a text of lines."""
    lines = content.decode().splitlines()
    at = dice.randrange(len(lines))
    words = lines[at].replace(",", " , ").split(" ")
    words[dice.randrange(len(words))] = str(dice.choice(_VALUES))
    lines[at] = " ".join(words).replace(" , ", ",")
    if dice.random() < 0.2:
        lines.insert(at, dice.choice(lines))
    return "\n".join(lines).encode()


def _zip(content: Content, dice: random.Random) -> Content:
    """One member damaged, and the zip written anew with right checksums."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(new, "w") as out:
        members = old.infolist()
        chosen = dice.choice(members)
        for member in members:
            inner = old.read(member)
            if member is chosen:
                json_inside = member.filename.endswith(".json") and dice.random() < 0.7
                inner = (_json if json_inside else _head if dice.random() < 0.5 else _bytes)(inner, dice)
            out.writestr(member, inner)
            if member is chosen and dice.random() < 0.1:
                out.writestr(dice.choice((member.filename, "../x", "/x", "a" * 300)), inner)
    return new.getvalue()


def _head(content: Content, dice: random.Random) -> Content:
    """Damage in the first bytes, where the shapes and types stand."""
    return _bytes(content[:160], dice) + content[160:]


def _png(content: Content, dice: random.Random) -> Content:
    """One chunk damaged, its checksum right again; sometimes what is compressed in it."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + size]])
        at += 12 + size
    chunk = dice.choice(chunks)
    if chunk[0] == b"IDAT":
        chunk[1] = zlib.compress(_bytes(zlib.decompress(chunk[1]), dice))
    else:
        chunk[1] = _bytes(chunk[1], dice)
    if dice.random() < 0.1:
        chunks.insert(1, list(dice.choice(chunks)))
    parts = [len(c).to_bytes(4, "big") + n + c + zlib.crc32(n + c).to_bytes(4, "big") for n, c in chunks]
    return content[:8] + b"".join(parts)


def _onnx(content: Content, dice: random.Random) -> Content:
    """Another operator, name, number or shape in a sound message."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    node, weight = dice.choice(model.graph.node), dice.choice(model.graph.initializer)
    how = dice.randrange(8)
    if how == 0:
        node.op_type = dice.choice(("Loop", "If", "Conv", "Reshape", "Expand", "Tile", "Resize", "Sum", ""))
    elif how == 1 and node.input:
        node.input[dice.randrange(len(node.input))] = dice.choice(("x", "y", "", "0.bias", "a"))
    elif how == 2 and weight.dims:
        weight.dims[dice.randrange(len(weight.dims))] = dice.choice((-1, 0, 1, 2**31, 2**62))
    elif how == 3:
        weight.data_type = dice.randrange(25)
    elif how == 4:
        weight.raw_data = _bytes(weight.raw_data, dice)
    elif how == 5:
        model.graph.input[0].type.tensor_type.shape.dim[dice.randrange(4)].dim_value = dice.choice(
            (-1, 0, 2**40)
        )
    elif how == 6:
        model.opset_import[0].version = dice.choice((0, 1, 9, 11, 21, 99, -1))
    else:
        node.attribute.append(onnx.helper.make_attribute("strides", [dice.choice((0, -1, 2**40)), 1]))
    return model.SerializeToString()


def _safetensors(content: Content, dice: random.Random) -> Content:
    """Its JSON damaged, the length before it right."""
    size = int.from_bytes(content[:8], "little")
    header = _json(content[8 : 8 + size], dice)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


_BEHIND: dict[str, Callable[[Content, random.Random], Content]] = {
    "report": _json, "card": _json, "profile": _lines, "predictions-csv": _lines, "key": _lines,
    "predictions-npz": _zip, "data": _zip, "pt2": _zip, "pth": _zip, "bundle": _zip,
    "onnx": _onnx, "safetensors": _safetensors,
}  # fmt: skip
