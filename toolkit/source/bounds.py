"""How large a model's file may be, and how much may be in it, before any library reads it."""

from __future__ import annotations

import mmap
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from udacimed_edge.core.errors import InputError

if TYPE_CHECKING:
    import onnx

__all__ = [
    "MAX_BYTES",
    "MAX_FIELDS",
    "MAX_NODES",
    "require_bounded_file",
    "require_bounded_functions",
    "require_bounded_onnx",
    "require_bounded_safetensors",
    "require_bounded_zip",
]

MAX_BYTES = 1 << 30
"""Most that a model's file may weigh; ResNet-18 in float32 weighs 45 MB."""

MAX_NODES = 20_000
"""Most operators of an ONNX model with its functions written out; ResNet-18 has 49."""

MAX_FIELDS = 1_000_000
"""Most fields of an ONNX model besides its weights, each of which takes about 100 bytes once it is read."""

_MAX_HEADER = 4 << 20
"""Most that the list of tensors in a .safetensors file may weigh; ResNet-18's weighs 11 kB."""

_PAYLOADS = ("raw_data", "float_data", "double_data")
"""The fields of an ONNX tensor that take no more memory than they weigh."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf (protobuf.dev/programming-guides/encoding)."""


def require_bounded_file(path: Path) -> None:
    """Make sure that a model is a regular file of a size that a model has.

    Raises:
        InputError: It is a pipe, a device or another thing that has no end, or too large.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is no regular file", "copy the model into a file and name that")
    if found.st_size > MAX_BYTES:
        raise InputError(
            f"{path} weighs {found.st_size / 2**30:.1f} GiB, and a model at most {MAX_BYTES >> 30} GiB",
            "no device of ours runs a larger one: check that the file is the model",
        )


def require_bounded_safetensors(path: Path) -> None:
    """Make sure that the list of tensors is no larger than a network's.

    Raises:
        InputError: It is larger.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > min(_MAX_HEADER, path.stat().st_size):
        raise InputError(
            f"{path} cannot be used: it states a list of tensors of {length} bytes",
            "download it again, or save it with safetensors.torch.save_file",
        )


def require_bounded_zip(path: Path) -> None:
    """Make sure that a zip holds about what it weighs, as all that torch writes do; other files pass.

    Raises:
        InputError: Its members would unpack to much more.
        BadZipFile: It is damaged.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > 2 * path.stat().st_size + (16 << 20):
        raise InputError(
            f"{path} unpacks to {total / 2**20:.0f} MiB, far more than it weighs", "do not trust this file"
        )


def require_bounded_onnx(path: Path) -> None:
    """Count what an ONNX file holds without building it.

    Raises:
        InputError: More fields than `MAX_FIELDS`, besides weights.
        ValueError: It is no protobuf message.
    """
    import onnx

    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        waiting, count = [(0, len(content), onnx.ModelProto.DESCRIPTOR)], 0
        while waiting:
            start, end, kind = waiting.pop()
            for number, at, stop in _fields(content, start, end):
                field = kind.fields_by_number.get(number)
                count += 1
                if field is None or field.name in _PAYLOADS:
                    continue
                if field.message_type is not None:
                    waiting.append((at, stop, field.message_type))
                else:
                    count += (stop - at) // 8  # packed numbers take up to eight times what they weigh
                if count > MAX_FIELDS:
                    raise InputError(
                        f"{path} holds more than {MAX_FIELDS:,} fields besides its weights",
                        "no classifier is so large: do not trust this file",
                    )


def _fields(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field of a protobuf message.

    Raises:
        ValueError: It is damaged.
    """
    while at < end:
        tag, at = _varint(content, at, end)
        wire, stop = tag & 7, at
        if wire == _LENGTH:
            length, at = _varint(content, at, end)
            stop = at + length
        elif wire == _VARINT:
            _, stop = _varint(content, at, end)
        elif wire in (_FIXED64, _FIXED32):
            stop = at + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError("it is no ONNX file, or it is damaged")
        if stop > end:
            raise ValueError("it is no ONNX file, or it is cut short")
        yield tag >> 3, at, stop
        at = stop


def _varint(content: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it is no ONNX file, or it is damaged")


def require_bounded_functions(model: onnx.ModelProto, path: Path) -> None:
    """Count the operators that an ONNX model has once its local functions are written out.

    Raises:
        InputError: More than `MAX_NODES`, or more bytes than a model may weigh; a function calls itself.
    """
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    known: dict[tuple[str, str, str], tuple[int, int]] = {}

    def cost(nodes: Any) -> tuple[int, int]:
        """How many operators and bytes a part of the graph comes to."""
        count = size = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            inner = of_function(key) if key in functions else (1, node.ByteSize())
            graphs = [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]
            parts = [inner, *(cost(graph.node) for graph in graphs)]
            count, size = count + sum(p[0] for p in parts), size + sum(p[1] for p in parts)
        return count, size

    def of_function(key: tuple[str, str, str]) -> tuple[int, int]:
        if key not in known:
            known[key] = (MAX_NODES + 1, 0)  # stands while it is counted: only one that calls itself asks
            known[key] = cost(functions[key].node)
        return known[key]

    count, size = cost(model.graph.node)
    if count > MAX_NODES or size > MAX_BYTES:
        raise InputError(
            f"{path} has more than {MAX_NODES:,} operators once its functions are written out",
            "no classifier is so large: do not trust this file",
        )
