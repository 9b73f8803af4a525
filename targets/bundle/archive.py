"""A folder as one zip: written so that the same files give the same bytes, read so that no zip does harm.

`unpack` reads what a stranger may have made. It looks at every name, kind and size, and reads every byte
once, before it writes the first file. Names are restricted to what bundles use, which leaves no room for
paths that climb out, drive letters, hidden streams, control characters or look-alikes in Unicode.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.core.files import files_of, write_atomic

__all__ = ["MAX_BYTES", "MAX_MEMBERS", "MAX_RATIO", "require_plain", "unpack", "write_zip", "zip_of"]

MAX_BYTES = 512 << 20
"""Most that a zip, and all its members together, may weigh: twice the largest bundle (OpenVINO fp32 for two
Pythons, about 220 MiB), small enough for any disk."""

MAX_MEMBERS = 1000
"""Most members; a bundle has fewer than 100."""

MAX_RATIO = 100
"""Most that a member may be larger than its compressed form: a page of HTML reaches 10, DEFLATE 1032."""

_PROGRAMS = {".sh", ".pyz"}
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold."""

_PART = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._+-]{0,253}[A-Za-z0-9_+-])?")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
"""What Windows takes for a device, with any suffix (Microsoft, "Naming Files, Paths, and Namespaces")."""
_MAX_PATH = 200
"""Characters of a name: Windows allows 260 for the whole path."""

_ENCRYPTED, _PATCH, _STRONGLY_ENCRYPTED, _MASKED = 0x1, 0x20, 0x40, 0x2000
"""Flags of a member that needs more than to be unpacked (APPNOTE.TXT 6.3.10, section 4.4.4)."""
_LOCAL_HEADER = struct.Struct("<4s2xHH16x2H")
_END = struct.Struct("<4s4xHHII2x")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class _Member:
    """A file in a zip that may be unpacked; `start` is where its bytes begin, counted from the zip's."""

    info: zipfile.ZipInfo
    start: int


def write_zip(folder: Path, out: Path) -> None:
    """Write a folder as one zip; the same files give the same bytes on every machine.

    The members lie below the folder's own name. Wheels, images and INT8 weights would hardly shrink.

    Args:
        folder: Its files, at any depth.
        out: The zip.

    Raises:
        OutputError: It cannot be written.
    """
    files = {file.relative_to(folder.parent).as_posix(): file.read_bytes() for file in files_of(folder)}
    write_atomic(out, zip_of(files))


def zip_of(files: Mapping[str, bytes], first: bytes = b"") -> bytes:
    """Files as one zip: sorted, without times, and stored, since zlib's output differs between its versions.

    Args:
        files: The content of each, by its name in the zip.
        first: What stands before the zip: the line by which Unix starts a program.
    """
    stream = io.BytesIO()
    stream.write(first)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system = 3  # Unix, also when it is made on Windows
            # not the file's own mode, which a USB stick does not keep
            program = PurePosixPath(name).suffix in _PROGRAMS
            entry.external_attr = (stat.S_IFREG | (0o755 if program else 0o644)) << 16
            archive.writestr(entry, files[name])
    return stream.getvalue()


def require_plain(folder: Path) -> None:
    """Make sure that a folder holds files and folders alone, and no more of them than a zip may.

    Raises:
        InputError: There is a link, a device or a pipe in it, or too many files.
    """
    for number, path in enumerate(folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise _refused(folder, f"{path.relative_to(folder)} is a link or another special file")
        if number >= 2 * MAX_MEMBERS:
            raise _refused(folder, f"more than {2 * MAX_MEMBERS} files")


def unpack(path: Path, into: Path) -> Path:
    """Unpack a bundle's zip.

    Args:
        path: The zip.
        into: An empty folder.

    Returns:
        The folder in `into` that holds every member.

    Raises:
        InputError: Not a zip, damaged, or not one that a bundle's zip could be; nothing was written.
        OutputError: It cannot be unpacked there.
    """
    try:
        with path.open("rb") as stream:
            members = _members(path, stream)
            for member in members:  # once in full before anything is written
                for _ in _blocks(path, stream, member):
                    pass
            for member in members:
                _write(into / member.info.filename, _blocks(path, stream, member))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return into / PurePosixPath(members[0].info.filename).parts[0]


def _write(file: Path, blocks: Iterable[bytes]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as out:
            out.writelines(blocks)
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror}", "free some space") from error


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"{path} is refused: {why}", "do not unpack or run it; get the bundle again")


def _members(path: Path, stream: BinaryIO) -> list[_Member]:
    """The files in a zip, all of which may be unpacked.

    Raises:
        InputError: Not a zip, or one of the things that no bundle's zip has.
    """
    end = _directory_start(path, stream)
    try:
        entries = zipfile.ZipFile(stream).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise InputError(f"{path} is a damaged zip: {error}", "copy it again") from error
    for entry in entries:
        _require_harmless(path, entry)
    _require_a_tree(path, entries)
    members = [_Member(entry, _start(path, stream, entry)) for entry in entries]
    ordered = sorted(members, key=lambda member: member.info.header_offset)
    limits = [*(member.info.header_offset for member in ordered[1:]), end]
    for member, limit in zip(ordered, limits, strict=True):
        if member.start + member.info.compress_size > limit:
            raise _refused(path, f"{member.info.filename} overlaps what comes after it")
    return [member for member in members if not member.info.is_dir()]


def _directory_start(path: Path, stream: BinaryIO) -> int:
    """Where a zip's list of members begins, which ends the zip without a comment, Zip64 or anything else.

    `zipfile` reads the whole list at once: how long it is has to be known before.

    Raises:
        InputError: Not a zip, or not a plain one.
    """
    size = stream.seek(0, io.SEEK_END)
    if size > MAX_BYTES:
        raise _refused(path, f"it weighs {size >> 20} MiB, and no bundle more than {MAX_BYTES >> 20}")
    stream.seek(max(0, size - _END.size - 20))
    tail = stream.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\5\6"):
        raise InputError(f"{path} is not a zip, or is cut off", "copy it again")
    _, _, count, length, start = _END.unpack(tail[-_END.size :])
    if start + length + _END.size != size or tail.startswith(b"PK\6\7"):
        raise _refused(path, "it is not a zip from its first byte to its last")
    if count > MAX_MEMBERS or length > MAX_MEMBERS * 1024:
        raise _refused(path, f"{count} members, and no bundle has more than {MAX_MEMBERS}")
    if not count:
        raise InputError(f"{path} is an empty zip")
    return int(start)


def _require_harmless(path: Path, entry: zipfile.ZipInfo) -> None:
    """Look at one member's name, kind and claims.

    Raises:
        InputError: It is nothing that a bundle holds.
    """
    name, kind = entry.orig_filename, stat.S_IFMT(entry.external_attr >> 16)
    parts = name.removesuffix("/").split("/")
    if len(name) > _MAX_PATH or not all(_PART.fullmatch(part) for part in parts):
        raise _refused(path, f"the name {name[:_MAX_PATH]!r} is none that a bundle holds")
    if any(_RESERVED.fullmatch(part.lower()) for part in parts):
        raise _refused(path, f"{name} is a device's name on Windows")
    if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
        raise _refused(path, f"{name} is a link or another special file")
    if entry.flag_bits & (_ENCRYPTED | _PATCH | _STRONGLY_ENCRYPTED | _MASKED):
        raise _refused(path, f"{name} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(path, f"{name} is compressed by a method that no bundle uses")
    if entry.file_size > MAX_RATIO * entry.compress_size or (entry.is_dir() and entry.file_size):
        raise _refused(path, f"{name} claims {entry.file_size} bytes out of {entry.compress_size}")


def _require_a_tree(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Make sure that the names are one folder's, also where a disk takes capitals for small letters.

    Raises:
        InputError: A name occurs twice, a file is used as a folder, there are several folders or none, or
            the files weigh too much together.
    """
    files: set[str] = set()
    folders: dict[str, str] = {}
    for entry in entries:
        whole = PurePosixPath(entry.filename)
        above = [str(p) for p in (whole, *whole.parents) if str(p) != "."]
        if not entry.is_dir():
            if (key := above.pop(0).lower()) in files:
                raise _refused(path, f"{entry.filename} is there twice, perhaps in other letters")
            files.add(key)
        for folder in above:
            if folders.setdefault(folder.lower(), folder) != folder:
                raise _refused(path, f"the folder {folder} is there twice, in other letters")
    if both := sorted(files & folders.keys()):
        raise _refused(path, f"{both[0]} is a file and a folder")
    if not files or not folders or len({name.partition("/")[0] for name in (*files, *folders)}) != 1:
        raise InputError(f"{path} is not a bundle: its files do not lie in one folder")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise _refused(path, f"its files weigh more than {MAX_BYTES >> 20} MiB together")


def _start(path: Path, stream: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin.

    Raises:
        InputError: What stands before them does not say what the list of members says.
    """
    stream.seek(entry.header_offset)
    header = stream.read(_LOCAL_HEADER.size)
    if len(header) == _LOCAL_HEADER.size and header.startswith(b"PK\3\4"):
        _, flags, method, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        name = stream.read(name_length)
        same = name == entry.orig_filename.encode() and method == entry.compress_type
        if same and not flags & _ENCRYPTED:
            after: int = entry.header_offset + len(header) + name_length + extra_length
            return after
    raise _refused(path, f"{entry.filename} is named in its list, and something else lies there")


def _blocks(path: Path, stream: BinaryIO, member: _Member) -> Iterator[bytes]:
    """A member's content; zipfile would stop at the size that the member claims and not see the rest.

    Raises:
        InputError: It is not what the member claims, byte for byte.
    """
    info, size, checksum = member.info, 0, 0
    raw = _stored(stream, member)
    try:
        for block in raw if info.compress_type == zipfile.ZIP_STORED else _inflated(raw):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
            if size > info.file_size:
                break
            yield block
    except zlib.error as error:
        raise InputError(f"{path} is damaged at {info.filename}: {error}", "copy it again") from error
    if size != info.file_size:
        raise _refused(path, f"{info.filename} is not of the size that it claims")
    if checksum != info.CRC:
        raise InputError(f"{path} is damaged at {info.filename}: its checksum is wrong", "copy it again")


def _stored(stream: BinaryIO, member: _Member) -> Iterator[bytes]:
    """A member's bytes as they lie in the zip."""
    stream.seek(member.start)
    left = member.info.compress_size
    while block := stream.read(min(left, _BLOCK)):
        left -= len(block)
        yield block


def _inflated(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """What DEFLATE made of them, no more than a block at a time.

    Raises:
        zlib.error: They are no whole DEFLATE stream, or something lies behind it.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for block in blocks:
        rest = block
        while rest:
            yield inflater.decompress(rest, _BLOCK)
            rest = inflater.unconsumed_tail
    yield inflater.flush()
    if not inflater.eof or inflater.unused_data:
        raise zlib.error("its compressed bytes do not end where they should")
