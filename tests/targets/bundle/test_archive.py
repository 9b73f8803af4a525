"""A bundle's zip: the same bytes from the same files, and no harm from a stranger's."""

from __future__ import annotations

import io
import os
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.targets.bundle import archive
from udacimed_edge.targets.bundle.archive import is_as_written, require_plain, unpack, write_zip, zip_of

FILES = {"b/install.sh": b"#!/bin/sh\n", "b/model.ort": bytes(range(256)) * 20, "b/wheels/x.whl": b"wheel"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as a bundle could be."""
    for name, content in FILES.items():
        file = tmp_path / "made" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "made" / "b"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its name relative to the folder above."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in files}


def zipped(path: Path, *names: str, content: bytes = b"content", method: int = zipfile.ZIP_STORED) -> Path:
    """A zip whose members have these names, whatever they are."""
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.create_system = name, 3
            kind = stat.S_IFDIR | 0o755 if name.endswith("/") else stat.S_IFREG | 0o644
            entry.external_attr = kind << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith("/") else method
            made.writestr(entry, b"" if name.endswith("/") else content)
    return path


# What holds.


def test_a_zip_gives_back_what_went_in(folder: Path, tmp_path: Path) -> None:
    """Unpacking makes the folder under its own name, with every file as it was."""
    write_zip(folder, tmp_path / "b.zip")
    assert contents(unpack(tmp_path / "b.zip", tmp_path / "out")) == FILES


def test_the_same_files_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Times, modes and the order in which files were written leave no trace."""
    write_zip(folder, tmp_path / "first.zip")
    other = tmp_path / "other" / "b"
    for name in sorted(FILES, reverse=True):
        copy = other.parent / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(FILES[name])
        os.utime(copy, (1e9, 1e9))
        copy.chmod(0o600)
    write_zip(other, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_members_are_sorted_and_programs_can_be_started(folder: Path, tmp_path: Path) -> None:
    """The names are sorted below the folder's own, and what unzip makes of install.sh can be run."""
    write_zip(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as made:
        modes = {entry.filename: stat.filemode(entry.external_attr >> 16) for entry in made.infolist()}
    assert list(modes) == sorted(FILES)
    assert modes["b/install.sh"] == "-rwxr-xr-x"
    assert modes["b/model.ort"] == "-rw-r--r--"


def test_a_member_says_nothing_of_when_and_where(folder: Path, tmp_path: Path) -> None:
    """Every member is of the first second that a zip can hold, made on Unix, and stored."""
    write_zip(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as made:
        said = {(e.date_time, e.create_system, e.compress_type, e.extra) for e in made.infolist()}
    assert said == {((1980, 1, 1, 0, 0, 0), 3, zipfile.ZIP_STORED, b"")}


def test_an_extra_field_before_a_member_is_refused(tmp_path: Path) -> None:
    """What other programs write before a member's bytes, such as times, is in no bundle's zip."""
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as made:
        entry = zipfile.ZipInfo("b/x")
        entry.extra = struct.pack("<HH4s", 0x5455, 4, b"time")
        made.writestr(entry, b"content")
    with pytest.raises(InputError, match="has extra fields"):
        unpack(tmp_path / "b.zip", tmp_path / "out")


def test_the_longest_name(tmp_path: Path) -> None:
    """A name of 200 characters is taken, one more is refused."""
    name = "b/" + "x" * 198
    assert list(contents(unpack(zipped(tmp_path / "b.zip", name), tmp_path / "out"))) == [name]
    with pytest.raises(InputError, match="none that a bundle holds"):
        unpack(zipped(tmp_path / "c.zip", f"{name}x"), tmp_path / "other")


def test_a_zip_that_somebody_packed_again_is_read(tmp_path: Path) -> None:
    """DEFLATE and entries for folders, as other programs write them, are read too."""
    text, names = b"as other programs write it", ("b/", "b/x", "b/sub/", "b/sub/y")
    path = zipped(tmp_path / "b.zip", *names, content=text, method=zipfile.ZIP_DEFLATED)
    assert contents(unpack(path, tmp_path / "out")) == {"b/x": text, "b/sub/y": text}


def test_a_member_of_many_blocks_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files larger than a block come out as they went in, stored or compressed."""
    monkeypatch.setattr(archive, "_BLOCK", 100)
    content = bytes(i * i % 251 for i in range(5000))
    for number, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)):
        path = zipped(tmp_path / f"{number}.zip", "b/x", content=content, method=method)
        assert contents(unpack(path, tmp_path / str(number))) == {"b/x": content}


def test_a_full_disk_is_an_error_for_people(tmp_path: Path) -> None:
    """Where a file cannot be written the message names it."""
    zipped(tmp_path / "b.zip", "b/x")
    (tmp_path / "out").write_bytes(b"in the way")
    with pytest.raises(OutputError, match=r"cannot write .*out"):
        unpack(tmp_path / "b.zip", tmp_path / "out")


def test_the_zip_is_the_one_that_zipfile_writes() -> None:
    """Our own headers are those that Python's zipfile writes, also behind the line that starts a program."""
    stream = io.BytesIO()
    stream.write(b"#!/bin/sh\n")
    with zipfile.ZipFile(stream, "w") as made:
        for name in sorted(FILES):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            mode = 0o755 if name.endswith(".sh") else 0o644
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | mode) << 16
            made.writestr(entry, FILES[name])
    assert zip_of(FILES, b"#!/bin/sh\n") == stream.getvalue()


def test_what_the_writer_wrote_is_known_again(folder: Path, tmp_path: Path) -> None:
    """A zip is as written where packing its folder again gives the same bytes, and only there."""
    path = tmp_path / "b.zip"
    write_zip(folder, path)
    assert is_as_written(path, unpack(path, tmp_path / "out"))
    content = path.read_bytes()
    for number, other in enumerate(
        (
            zipped(tmp_path / "o.zip", *sorted(FILES), content=b"x").read_bytes(),
            content.replace(b"wheel", b"Wheel"),
            content + b"x",
            content[:-1],
        )
    ):
        path.write_bytes(other)
        assert not is_as_written(path, folder), number


# Names that no bundle holds.


@pytest.mark.parametrize(
    "name",
    [
        "../x", "b/../../x", "b/..", "/etc/x", "//server/x", "C:/x", "b/C:x", "b\\x", "b/..\\x", "b/./x",
        "b//x", "b/x:stream", "b/x\0y", "b/x\ny", "b/x\x1b[2J", "b/\u202ex", "b/\u00e9", "b/e\u0301", "b/x ",
        "b/x.", "b/.x", "b/~x", "b/x*", "b/" + "x" * 300, "b/" + "x/" * 150 + "x",
        "b/NUL", "b/con.txt", "b/Lpt1/x", "b/AUX.tar.gz",
    ],
)  # fmt: skip
def test_a_dangerous_name_is_refused(tmp_path: Path, name: str) -> None:
    """Paths that climb out, drives, streams, control characters, look-alikes, devices: nothing is written."""
    path = zipped(tmp_path / "b.zip", "b/good", name)
    with pytest.raises(InputError, match=r"none that a bundle holds|a device's name"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("b/x", "b/x"), "is there twice"),
        (("b/x", "b/X"), "is there twice, perhaps in other letters"),
        (("b/s/x", "b/S/y"), "the folder .* is there twice"),
        (("b/x", "b/x/y"), "b/x is a file and a folder"),
        (("b/x/y", "b/X"), "b/x is a file and a folder"),
        (("b/x", "c/x"), "do not lie in one folder"),
        (("b/x", "x"), "do not lie in one folder"),
        (("x",), "do not lie in one folder"),
        (("b/",), "do not lie in one folder"),
        ((), "is an empty zip"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_do_not_make_one_tree_are_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    """Duplicates, also in other letters, files that are folders too, and several folders are refused."""
    with pytest.raises(InputError, match=message):
        unpack(zipped(tmp_path / "b.zip", *names), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Zips that lie.


def central(at: int, layout: str, value: int, which: int = 0) -> Callable[[bytearray], bytearray]:
    """A change of one number in a member's entry in the list at the end."""

    def change(content: bytearray) -> bytearray:
        start = -1
        for _ in range(which + 1):
            start = content.index(b"PK\1\2", start + 1)
        struct.pack_into(layout, content, start + at, value)
        return content

    return change


def end_of(content: bytes) -> tuple[int, int, int]:
    """Where the list at the end begins, its length, and the number of its entries."""
    count, length, start = struct.unpack_from("<H2I", content, len(content) - 12)
    return start, length, count


def assembled(body: bytes, listed: bytes, count: int) -> bytes:
    """A zip of these members and this list."""
    return body + listed + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(listed), len(body), 0)


def smuggled(content: bytes) -> bytes:
    """A member behind the last one that no list names; what reads a zip as a stream unpacks it."""
    start, length, count = end_of(content)
    more = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 3, 0) + b"b/z"
    return assembled(content[:start] + more, content[start : start + length], count)


UNICODE_PATH = struct.pack("<HHBI", 0x7075, 5 + 12, 1, 0) + b"b/../escaped"
"""Info-ZIP's Unicode path (APPNOTE.TXT 6.3.10, section 4.6.9): zipfile takes the name from it."""


def with_extra_field(content: bytes) -> bytes:
    """A second name for the last member, in its entry of the list alone."""
    start, length, count = end_of(content)
    at = content.rindex(b"PK\1\2")
    entry = bytearray(content[at : start + length])
    struct.pack_into("<H", entry, 30, len(UNICODE_PATH))
    return assembled(content[:start], content[start:at] + bytes(entry) + UNICODE_PATH, count)


def with_local_extra_field(content: bytes) -> bytes:
    """The same before the content of the last member alone."""
    start, length, count = end_of(content)
    at = content.rindex(b"PK\3\4")
    body = bytearray(content[:start])
    struct.pack_into("<H", body, at + 28, len(UNICODE_PATH))
    body[at + 33 : at + 33] = UNICODE_PATH
    return assembled(bytes(body), content[start : start + length], count)


def without_entry(content: bytes) -> bytes:
    """The list without its last entry."""
    start, _, count = end_of(content)
    return assembled(content[:start], content[start : content.rindex(b"PK\1\2")], count - 1)


def with_count(content: bytes, count: int) -> bytes:
    """Another number of members in the record at the end."""
    start, length, _ = end_of(content)
    return assembled(content[:start], content[start : start + length], count)


def both(at: int, layout: str, value: int) -> Callable[[bytearray], bytearray]:
    """The same change in the header before the first member's content, where it stands two bytes earlier."""

    def change(content: bytearray) -> bytearray:
        struct.pack_into(layout, content, at - 2, value)
        return central(at, layout, value)(content)

    return change


MADE_BY, FLAGS, METHOD, TIME, PACKED, SIZE, DISK, KIND, ATTRIBUTES, OFFSET = (
    4,
    8,
    10,
    12,
    20,
    24,
    34,
    36,
    38,
    42,
)
"""Where in an entry the numbers lie (APPNOTE.TXT 6.3.10, section 4.3.12)."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (central(ATTRIBUTES, "<I", (stat.S_IFLNK | 0o777) << 16), "is a link or another special file"),
        (central(ATTRIBUTES, "<I", (stat.S_IFIFO | 0o644) << 16), "is a link or another special file"),
        (central(ATTRIBUTES, "<I", (stat.S_IFDIR | 0o755) << 16), "is a link or another special file"),
        (central(FLAGS, "<H", 1), "is encrypted"),
        (central(FLAGS, "<H", 64), "is encrypted"),
        (central(METHOD, "<H", 12), "compressed by a method that no bundle uses"),
        (central(SIZE, "<I", 7_000_000), "claims 7000000 bytes out of 7"),
        (central(SIZE, "<I", 8), "claims 8 bytes out of 7"),
        (central(SIZE, "<I", 6), "claims 6 bytes out of 7"),
        (central(FLAGS, "<H", 8), "in another way that no bundle uses"),
        (central(FLAGS, "<H", 0x800), "in another way that no bundle uses"),
        (central(DISK, "<H", 1), "or other words that no bundle's zip has"),
        (central(KIND, "<H", 1), "or other words that no bundle's zip has"),
        (central(METHOD, "<H", 8), "something else lies there"),
        (central(TIME, "<H", 9), "something else lies there"),
        (central(ATTRIBUTES, "<I", (stat.S_IFREG | 0o4755) << 16), "is a link or another special file"),
        (lambda content: smuggled(content), "33 bytes in it belong to no file in its list"),
        (lambda content: with_extra_field(content), "or other words that no bundle's zip has"),
        (lambda content: with_local_extra_field(content), "something else lies there"),
        (lambda content: without_entry(content), "bytes in it belong to no file in its list"),
        (lambda content: with_count(content, 1), "claims 1 members and lists 2"),
        (lambda content: with_count(content, 3), "claims 3 members and lists 2"),
        (central(OFFSET, "<I", 0, which=1), "b/y is named in its list, and something else lies there"),
        (central(OFFSET, "<I", 3), "b/x is named in its list, and something else lies there"),
        (central(PACKED, "<I", 60), "b/x claims 7 bytes out of 60"),
        (central(PACKED, "<I", 60, which=1), "b/y claims 7 bytes out of 60"),
        (lambda content: content.replace(b"b/x", b"b/z", 1), "something else lies there"),
        (lambda content: content.replace(b"content", b"Content", 1), "b/x: its checksum is wrong"),
        (lambda content: b"#!/bin/sh\n" + content, "not a zip from its first byte to its last"),
        (lambda content: content + b"more", "not a zip, or is cut off"),
        (lambda content: content[:-1], "not a zip, or is cut off"),
        (lambda content: content[:30], "not a zip, or is cut off"),
        (lambda content: b"", "not a zip, or is cut off"),
        (lambda content: content.replace(b"PK\1\2", b"PK\1\3", 1), "is a damaged zip"),
    ],
)  # fmt: skip
def test_a_zip_that_lies_is_refused(
    tmp_path: Path, change: Callable[[bytearray], bytes], message: str
) -> None:
    """Links, encryption, false sizes, overlaps, other names inside, damage: nothing is written."""
    path = zipped(tmp_path / "b.zip", "b/x", "b/y")
    path.write_bytes(change(bytearray(path.read_bytes())))
    with pytest.raises(InputError, match=message):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    """What unpacks to a hundred times its size is not unpacked."""
    path = zipped(tmp_path / "b.zip", "b/x", content=bytes(1 << 20), method=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="claims 1048576 bytes out of 1"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bomb_that_claims_to_be_small_is_refused(tmp_path: Path) -> None:
    """The bytes that come out count, not those that the zip says will."""
    path = zipped(tmp_path / "b.zip", "b/x", content=bytes(1 << 20), method=zipfile.ZIP_DEFLATED)
    path.write_bytes(both(SIZE, "<I", 1000)(bytearray(path.read_bytes())))
    with pytest.raises(InputError, match="b/x is not of the size that it claims"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bytes_behind_a_compressed_member_are_refused(tmp_path: Path) -> None:
    """Nothing hides between the end of a member's data and the size that is claimed for it."""
    path = zipped(tmp_path / "b.zip", "b/x", "b/y", content=b"abc" * 99, method=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    content[content.index(b"b/x") + 3] = 0x03  # an empty last block where the data begin (RFC 1951, 3.2.3)
    path.write_bytes(both(SIZE, "<I", 0)(content))
    with pytest.raises(InputError, match=r"do not end where they should|not of the size"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip64_list_does_not_pass_for_another(tmp_path: Path) -> None:
    """A comment that looks like the locator of a second, larger list is refused."""
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as made:
        entry = zipfile.ZipInfo("b/x")
        entry.comment = b"PK\6\7" + bytes(16)
        made.writestr(entry, b"content")
    with pytest.raises(InputError, match="or other words that no bundle's zip has"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("bound", "value", "message"),
    [
        ("MAX_MEMBERS", 1, "2 members, and no bundle has more than 1"),
        ("MAX_BYTES", 500, "files weigh more than 0 MiB together"),
        ("MAX_BYTES", 100, "it weighs 0 MiB, and no bundle more than 0"),
    ],
)
def test_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, message: str
) -> None:
    """There are bounds on the number of members, on what they weigh together, and on the zip."""
    path = zipped(tmp_path / "b.zip", "b/x", "b/y", content=b"abc" * 99, method=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archive, bound, value)
    with pytest.raises(InputError, match=message):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_zip_is_an_error_for_people(tmp_path: Path) -> None:
    """A path where nothing is gives a message that names it."""
    with pytest.raises(InputError, match=r"cannot read .*none\.zip: No such file"):
        unpack(tmp_path / "none.zip", tmp_path / "out")


# Folders.


def test_a_folder_of_files_is_plain(folder: Path) -> None:
    """Files and folders alone pass."""
    require_plain(folder)


def test_a_folder_with_a_link_or_pipe_is_refused(folder: Path) -> None:
    """A link or a pipe is refused, also deep inside and when it leads nowhere."""
    (folder / "wheels" / "y.whl").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"wheels/y\.whl is a link or another special file"):
        require_plain(folder)
    (folder / "wheels" / "y.whl").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="pipe is a link or another special file"):
        require_plain(folder)


def test_a_folder_of_huge_files_is_refused_at_once(folder: Path) -> None:
    """A sparse file of 20 GiB is refused by its size: nothing of it is read."""
    with (folder / "model.ort").open("wb") as stream:
        os.truncate(stream.fileno(), 20 << 30)
    started = time.monotonic()
    with pytest.raises(InputError, match="weigh more than 512 MiB"):
        require_plain(folder)
    assert time.monotonic() - started < 5


def test_a_folder_of_very_many_files_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder, named by mistake, is not searched to its end."""
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    require_plain(folder)  # three files and a folder
    (folder / "one-more").write_bytes(b"")
    with pytest.raises(InputError, match="more than 4 files"):
        require_plain(folder)
