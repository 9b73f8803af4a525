"""A folder as one zip: written so that the same files give the same bytes, read so that no zip does harm.

Writer and reader share one description of a zip's headers. What `unpack` reads is put together again from
the names, sizes and checksums that it took out, and has to come to the same bytes: no entry that is not
listed, no gap, no second name or size in an extra field, nothing in front and nothing behind. So every
program that unpacks it finds the same files. `zipfile` is not used to read: from Python 3.12 on it takes a
member's name from an extra field (0x7075) where there is one.

Names are restricted to what bundles use, which leaves no room for paths that climb out, drive letters,
hidden streams, control characters or look-alikes in Unicode.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.core.files import files_of, output_errors, write_atomic

__all__ = [
    "MAX_BYTES",
    "MAX_MEMBERS",
    "MAX_RATIO",
    "is_as_written",
    "require_plain",
    "unpack",
    "write_zip",
    "zip_of",
]

MAX_BYTES = 512 << 20
"""Most that a zip, and all its members together, may weigh: twice the largest bundle (OpenVINO fp32 for two
Pythons, about 220 MiB), small enough for any disk."""

MAX_MEMBERS = 1000
"""Most members; a bundle has fewer than 100."""

MAX_RATIO = 100
"""Most that a member may be larger than its compressed form: a page of HTML reaches 10, DEFLATE 1032."""

_PROGRAMS = {".sh", ".pyz"}

_PART = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._+-]{0,253}[A-Za-z0-9_+-])?")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
"""What Windows takes for a device, with any suffix (Microsoft, "Naming Files, Paths, and Namespaces")."""
_MAX_PATH = 200
"""Characters of a name: Windows allows 260 for the whole path."""

_STORED, _DEFLATED = 0, 8
_VERSION, _MADE_BY = 20, 3 << 8 | 20
"""What it takes to unpack (2.0), and what made it: Unix, by that version."""
_LONG_AGO = (0, 0x21)
"""Time and date of every member: 1980-01-01, the earliest that a zip can hold."""

_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
"""The three headers of a zip (APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16)."""

_MODES = {
    (stat.S_IFREG | 0o644) << 16: False,
    (stat.S_IFREG | 0o755) << 16: False,
    (stat.S_IFDIR | 0o755) << 16: True,
    (stat.S_IFDIR | 0o755) << 16 | 0x10: True,
}
"""External attributes that a bundle's members may have, and whether they are a folder's."""

_BLOCK = 1 << 20


@dataclass(frozen=True)
class _Member:
    """One file or folder of a zip: all that its headers say.

    Attributes:
        name: Relative POSIX path; a folder's ends in "/".
        size: Of the content in bytes.
        packed: Of what lies in the zip.
        crc: The content's CRC-32.
        attributes: Kind and mode, as Unix has them.
        method: How it is compressed.
        time: MS-DOS time and date.
        start: Where its local header lies, in bytes from the zip's first.
        made_by: The system and version of the program that made it.
    """

    name: str
    size: int
    packed: int
    crc: int
    attributes: int
    method: int = _STORED
    time: tuple[int, int] = _LONG_AGO
    start: int = 0
    made_by: int = _MADE_BY

    @property
    def local(self) -> bytes:
        """The header before its content."""
        name = self.name.encode()
        fields = (b"PK\3\4", _VERSION, 0, self.method, *self.time, self.crc, self.packed, self.size)
        return _LOCAL.pack(*fields, len(name), 0) + name

    @property
    def entry(self) -> bytes:
        """Its entry in the list at the end."""
        name = self.name.encode()
        fields = (b"PK\1\2", self.made_by, _VERSION, 0, self.method, *self.time, self.crc)
        rest = (self.packed, self.size, len(name), 0, 0, 0, 0, self.attributes, self.start)
        return _ENTRY.pack(*fields, *rest) + name

    @property
    def content(self) -> int:
        """Where its content lies."""
        return self.start + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Where what comes after it lies."""
        return self.content + self.packed


def write_zip(folder: Path, out: Path) -> None:
    """Write a folder as one zip; the same files give the same bytes on every machine.

    The members lie below the folder's own name. Wheels, images and INT8 weights would hardly shrink.

    Args:
        folder: Its files, at any depth.
        out: The zip.

    Raises:
        OutputError: It cannot be written.
    """
    with output_errors(out):
        content = b"".join(_pieces(_files(folder)))
    write_atomic(out, content)


def zip_of(files: Mapping[str, bytes], first: bytes = b"") -> bytes:
    """Files as one zip: sorted, without times, and stored, since zlib's output differs between its versions.

    Args:
        files: The content of each, by its name in the zip.
        first: What stands before the zip: the line by which Unix starts a program.
    """
    return first + b"".join(_pieces(files, len(first)))


def _files(folder: Path) -> dict[str, Path]:
    return {file.relative_to(folder.parent).as_posix(): file for file in files_of(folder)}


def _pieces(files: Mapping[str, bytes | Path], start: int = 0) -> Iterator[bytes]:
    """What the zip of these files consists of, in its order."""
    entries, at = [], start
    for name in sorted(files):
        source = files[name]
        content = source.read_bytes() if isinstance(source, Path) else source
        # not the file's own mode, which a USB stick does not keep
        mode = stat.S_IFREG | (0o755 if PurePosixPath(name).suffix in _PROGRAMS else 0o644)
        member = _Member(name, len(content), len(content), zlib.crc32(content), mode << 16, start=at)
        entries.append(member.entry)
        at = member.end
        yield member.local
        yield content
    yield b"".join(entries)
    yield _end(len(entries), sum(map(len, entries)), at)


def _end(count: int, length: int, start: int) -> bytes:
    """The record that ends a zip, without a comment."""
    return _END.pack(b"PK\5\6", 0, 0, count, count, length, start, 0)


def is_as_written(path: Path, folder: Path) -> bool:
    """Whether `write_zip` makes of an unpacked folder the very zip that it came from.

    Args:
        path: The zip.
        folder: What was unpacked from it.

    Raises:
        OSError: One of them cannot be read.
    """
    with path.open("rb") as stream:
        same = all(stream.read(len(piece)) == piece for piece in _pieces(_files(folder)))
        return same and not stream.read(1)


def require_plain(folder: Path) -> None:
    """Make sure that a folder holds files and folders alone, and no more of them than a zip may.

    Raises:
        InputError: There is a link, a device or a pipe in it, or too many files or bytes.
    """
    weight = 0
    for number, path in enumerate(folder.rglob("*")):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise _refused(folder, f"{path.relative_to(folder)} is a link or another special file")
        weight += found.st_size if stat.S_ISREG(found.st_mode) else 0
        if number >= 2 * MAX_MEMBERS:
            raise _refused(folder, f"more than {2 * MAX_MEMBERS} files")
        if weight > MAX_BYTES:
            raise _refused(folder, f"its files weigh more than {MAX_BYTES >> 20} MiB together")


def unpack(path: Path, into: Path) -> Path:
    """Unpack a bundle's zip: each member under the very name that was checked.

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
            if not stat.S_ISREG(path.stat().st_mode):
                raise InputError(f"{path} is not a file", "name a bundle's folder or zip")
            files = [member for member in _members(path, stream) if not member.name.endswith("/")]
            for member in files:  # once in full before anything is written
                for _ in _blocks(path, stream, member):
                    pass
            for member in files:
                _write(into / member.name, _blocks(path, stream, member))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return into / files[0].name.partition("/")[0]


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
    """The members of a zip, all of which may be unpacked, and which are all there is in it.

    Raises:
        InputError: Not a zip, or one of the things that no bundle's zip has.
    """
    listed, count, start = _list(path, stream)
    members: list[_Member] = []
    while listed:
        member = _member(path, listed)
        _require_harmless(path, member)
        listed = listed[len(member.entry) :]
        members.append(member)
    if len(members) != count:
        raise _refused(path, f"it claims {count} members and lists {len(members)}")
    _require_a_tree(path, members)
    at = 0
    for member in members:
        stream.seek(at)
        if member.start != at or stream.read(len(member.local)) != member.local:
            raise _refused(path, f"{member.name} is named in its list, and something else lies there")
        if member.end > start:
            raise _refused(path, f"{member.name} overlaps what comes after it")
        at = member.end
    if at != start:
        raise _refused(path, f"{start - at} bytes in it belong to no file in its list")
    return members


def _list(path: Path, stream: BinaryIO) -> tuple[bytes, int, int]:
    """A zip's list of members, how many it claims, and where the list begins.

    Behind the list and its record the zip ends, without a comment or Zip64.

    Raises:
        InputError: Not a zip, or not a plain one.
    """
    size = stream.seek(0, io.SEEK_END)
    if size > MAX_BYTES:
        raise _refused(path, f"it weighs {size >> 20} MiB, and no bundle more than {MAX_BYTES >> 20}")
    stream.seek(max(0, size - _END.size))
    tail = stream.read()
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        raise InputError(f"{path} is not a zip, or is cut off", "copy it again")
    count, length, start = struct.unpack_from("<H2I", tail, 10)
    if start + length + _END.size != size or tail != _end(count, length, start):
        raise _refused(path, "it is not a zip from its first byte to its last")
    if count > MAX_MEMBERS or length > MAX_MEMBERS * (_ENTRY.size + _MAX_PATH):
        raise _refused(path, f"{count} members, and no bundle has more than {MAX_MEMBERS}")
    if not count:
        raise InputError(f"{path} is an empty zip")
    stream.seek(start)
    return stream.read(length), count, start


def _member(path: Path, listed: bytes) -> _Member:
    """The first member of a list.

    Raises:
        InputError: Its entry is cut off, or says something that no bundle's says.
    """
    if len(listed) < _ENTRY.size or not listed.startswith(b"PK\1\2"):
        raise InputError(f"{path} is a damaged zip: its list is not whole", "copy it again")
    fields = _ENTRY.unpack_from(listed)
    flags, method, time, date, crc, packed, size, length = fields[3:11]
    attributes, start = fields[-2:]
    made_by = fields[1]
    raw = listed[_ENTRY.size : _ENTRY.size + length]
    name = raw.decode("ascii", "backslashreplace")
    member = _Member(name, size, packed, crc, attributes, method, (time, date), start, made_by)
    _require_name(path, name)
    if flags:
        raise _refused(path, f"{name} is encrypted, or packed in another way that no bundle uses")
    if member.entry != listed[: _ENTRY.size + length]:
        raise _refused(path, f"{name} has extra fields, a comment or other words that no bundle's zip has")
    return member


def _require_name(path: Path, name: str) -> None:
    """Look at a member's name.

    Raises:
        InputError: No bundle holds it.
    """
    parts = name.removesuffix("/").split("/")
    if len(name) > _MAX_PATH or not all(_PART.fullmatch(part) for part in parts):
        raise _refused(path, f"the name {name[:_MAX_PATH]!r} is none that a bundle holds")
    if any(_RESERVED.fullmatch(part.lower()) for part in parts):
        raise _refused(path, f"{name} is a device's name on Windows")


def _require_harmless(path: Path, member: _Member) -> None:
    """Look at a member's kind and claims.

    Raises:
        InputError: It is nothing that a bundle holds.
    """
    name, is_folder = member.name, member.name.endswith("/")
    if _MODES.get(member.attributes) is not is_folder:
        raise _refused(path, f"{name} is a link or another special file")
    if member.method not in (_STORED, _DEFLATED):
        raise _refused(path, f"{name} is compressed by a method that no bundle uses")
    stored = member.method == _STORED and member.size != member.packed
    if stored or member.size > MAX_RATIO * member.packed or (is_folder and member.packed):
        raise _refused(path, f"{name} claims {member.size} bytes out of {member.packed}")


def _require_a_tree(path: Path, members: Sequence[_Member]) -> None:
    """Make sure that the names are one folder's, also where a disk takes capitals for small letters.

    Raises:
        InputError: A name occurs twice, a file is used as a folder, there are several folders or none, or
            the files weigh too much together.
    """
    files: set[str] = set()
    folders: dict[str, str] = {}
    for member in members:
        whole = PurePosixPath(member.name)
        above = [str(p) for p in (whole, *whole.parents) if str(p) != "."]
        if not member.name.endswith("/"):
            if (key := above.pop(0).lower()) in files:
                raise _refused(path, f"{member.name} is there twice, perhaps in other letters")
            files.add(key)
        for folder in above:
            if folders.setdefault(folder.lower(), folder) != folder:
                raise _refused(path, f"the folder {folder} is there twice, in other letters")
    if both := sorted(files & folders.keys()):
        raise _refused(path, f"{both[0]} is a file and a folder")
    if not files or not folders or len({name.partition("/")[0] for name in (*files, *folders)}) != 1:
        raise InputError(f"{path} is not a bundle: its files do not lie in one folder")
    if sum(member.size for member in members) > MAX_BYTES:
        raise _refused(path, f"its files weigh more than {MAX_BYTES >> 20} MiB together")


def _blocks(path: Path, stream: BinaryIO, member: _Member) -> Iterator[bytes]:
    """A member's content.

    Raises:
        InputError: It is not what the member claims, byte for byte.
    """
    size, checksum = 0, 0
    raw = _stored(stream, member)
    try:
        for block in raw if member.method == _STORED else _inflated(raw):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
            if size > member.size:
                break
            yield block
    except zlib.error as error:
        raise InputError(f"{path} is damaged at {member.name}: {error}", "copy it again") from error
    if size != member.size:
        raise _refused(path, f"{member.name} is not of the size that it claims")
    if checksum != member.crc:
        raise InputError(f"{path} is damaged at {member.name}: its checksum is wrong", "copy it again")


def _stored(stream: BinaryIO, member: _Member) -> Iterator[bytes]:
    """A member's bytes as they lie in the zip."""
    at, left = member.content, member.packed
    while left:
        stream.seek(at)
        block = stream.read(min(left, _BLOCK))
        if not block:
            return
        at, left = at + len(block), left - len(block)
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
