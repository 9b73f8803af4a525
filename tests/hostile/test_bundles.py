"""Zips that a stranger made of a bundle: refused on every Python, and nothing escapes."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from udacimed_edge.core.errors import InputError
from udacimed_edge.targets.bundle.archive import unpack, zip_of

KEPT = Path(__file__).parents[1] / "targets" / "kept" / "0.1.0.zip"
ROOT = "android-phone-ort-int8"

LOCAL, ENTRY = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I")


@dataclass
class Member:
    """A file in a zip, with what its two headers claim of it."""

    name: str
    content: bytes
    extra: bytes = b""
    local_size: int | None = None
    is_listed: bool = True

    def written(self, at: int) -> tuple[bytes, bytes]:
        """What lies at a place of the zip, and the entry in its list."""
        name, crc, size = self.name.encode(), zlib.crc32(self.content), len(self.content)
        claimed = size if self.local_size is None else self.local_size
        local = LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 33, crc, claimed, claimed, len(name), 0)
        fields = (20, 0, 0, 0, 33, crc, size, size, len(name), len(self.extra), 0, 0, 0, 0o100644 << 16, at)
        entry = ENTRY.pack(b"PK\1\2", 3 << 8 | 20, *fields) + name + self.extra
        return local + name + self.content, entry if self.is_listed else b""


def bundle_files() -> dict[str, bytes]:
    """The files of a kept bundle, by their name in its zip."""
    with zipfile.ZipFile(KEPT) as kept:
        return {name: kept.read(name) for name in kept.namelist() if not name.endswith("/")}


def assembled(members: list[Member]) -> bytes:
    """A zip of these members."""
    body, listed = b"", b""
    for member in members:
        local, entry = member.written(len(body))
        body, listed = body + local, listed + entry
    count = sum(member.is_listed for member in members)
    return body + listed + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(listed), len(body), 0)


def honest() -> list[Member]:
    """The members of the bundle as its writer packs them."""
    return [Member(name, content) for name, content in sorted(bundle_files().items())]


def with_unicode_path() -> bytes:
    """One member more, whose second name climbs out: zipfile takes it from Python 3.12 on."""
    name = f"{ROOT}/zz.txt"
    other = f"{ROOT}/../../escaped.txt".encode()
    field = struct.pack("<HHBI", 0x7075, 5 + len(other), 1, zlib.crc32(name.encode())) + other
    return assembled([*honest(), Member(name, b"escaped", field)])


def with_smuggled_members() -> bytes:
    """A forged page in front of the true one, which no list names; what unpacks a stream finds it."""
    members = honest()
    members.insert(5, Member(f"{ROOT}/report.html", b"<p>forged</p>", is_listed=False))
    return assembled(members)


def with_truncating_header() -> bytes:
    """The header before START-HERE.txt claims fewer bytes than the list does."""
    members = honest()
    at = next(number for number, member in enumerate(members) if member.name.endswith("START-HERE.txt"))
    members[at].local_size = 412
    return assembled(members)


def with_gap() -> bytes:
    """Bytes between two members that belong to none."""
    members = honest()
    members.insert(3, Member("", b"anything", is_listed=False))
    return assembled(members)


def with_prefix() -> bytes:
    """A program in front."""
    return b"#!/bin/sh\nexit\n" + assembled(honest())


def with_one_entry_twice() -> bytes:
    """Two members of one name, of which programs take the first or the last."""
    return assembled([*honest(), Member(f"{ROOT}/report.html", b"<p>forged</p>")])


def with_other_letters() -> bytes:
    """A name that is another's on a disk that takes capitals for small letters."""
    return assembled([*honest(), Member(f"{ROOT}/REPORT.html", b"<p>forged</p>")])


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "unicode path": (with_unicode_path, "extra fields, a comment or other words"),
    "smuggled members": (with_smuggled_members, "something else lies there"),
    "truncating header": (with_truncating_header, "START-HERE.txt is named in its list, and something else"),
    "gap": (with_gap, "something else lies there"),
    "prefix": (with_prefix, "not a zip from its first byte to its last"),
    "one entry twice": (with_one_entry_twice, "is there twice"),
    "other letters": (with_other_letters, "is there twice, perhaps in other letters"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_zip_is_refused_and_nothing_is_written(tmp_path: Path, case: str) -> None:
    """What two programs could unpack otherwise is refused on every Python before anything is written."""
    make, message = CASES[case]
    (tmp_path / "bundle.zip").write_bytes(make())
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(InputError, match=message):
        unpack(tmp_path / "bundle.zip", tmp_path / "a" / "b")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "bundle.zip"]


def test_the_builder_makes_an_honest_zip(tmp_path: Path) -> None:
    """Without harm, what the cases are built from is the writer's own zip: each is refused for its harm."""
    assert assembled(honest()) == zip_of(bundle_files())
    (tmp_path / "bundle.zip").write_bytes(assembled(honest()))
    assert unpack(tmp_path / "bundle.zip", tmp_path).name == ROOT


def listed_anew(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files with a manifest and a list of digests that fit them; not signed."""
    manifest = json.loads(files[f"{ROOT}/manifest.json"])
    unlisted = ("manifest.json", "SHA256SUMS", "SHA256SUMS.minisig")
    inside = {name.removeprefix(f"{ROOT}/"): content for name, content in files.items()}
    kept = {name: content for name, content in sorted(inside.items()) if name not in unlisted}
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        for name, content in kept.items()
    }
    kept["manifest.json"] = json.dumps(manifest).encode()
    sums = "".join(f"{hashlib.sha256(kept[name]).hexdigest()}  {name}\n" for name in sorted(kept))
    kept["SHA256SUMS"] = sums.encode()
    return {f"{ROOT}/{name}": content for name, content in kept.items()}


def deflated(files: dict[str, bytes], path: Path) -> None:
    """Pack them as a program does that compresses."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            entry.external_attr = 0o100644 << 16
            made.writestr(entry, content)


def filler(size: int) -> str:
    """JSON text that shrinks no more than 90 times, so that no bound on bombs meets it."""
    words = [hashlib.sha256(str(number).encode()).hexdigest()[:6] for number in range(8)]
    items: list[str] = []
    while size > 0:
        items.append(f'"{words[len(items) % 8]}":{len(items) // 700}')
        size -= len(items[-1]) + 3
    return ",".join(f"{{{item}}}" for item in items)


def missing_fields(size: int) -> bytes:
    """A report whose every part lacks every field, so that each error could carry the whole input."""
    return f'{{"schema_version": 1, "rungs": [{filler(size)}]}}'.encode()


BOMBS: dict[str, Callable[[], bytes]] = {
    "a report of 15 MiB": lambda: missing_fields(15 << 20),
    "a report just below the bound": lambda: missing_fields(7 << 20),
    "a report that is deep": lambda: b'{"a":' * 60_000 + b"1" + b"}" * 60_000,
    "a report that names one key twice": lambda: b'{"schema_version": 1, "title": "a", "title": "b"}',
    "a report with a number of a million digits": lambda: b'{"schema_version": ' + b"1" * 1_000_000 + b"}",
}

MEASURED = """
import re, sys, time
from udacimed_edge.cli.main import main
sys.argv = ["udacimed-edge", "verify", "--brief", sys.argv[1]]
try:
    main()
finally:
    used = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
    print("USED", used, time.process_time(), file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells a process's peak")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_zip_takes_little(tmp_path: Path, bomb: str) -> None:
    """A zip of a few hundred kB never takes more than 1 GB or 10 s, and is refused with its reason."""
    pytest.importorskip("onnxruntime")
    files = bundle_files()
    files[f"{ROOT}/report.json"] = BOMBS[bomb]()
    deflated(listed_anew(files), tmp_path / "bundle.zip")
    assert (tmp_path / "bundle.zip").stat().st_size < 600_000
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "bundle.zip")],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode in (3, 6), ended.stderr[-2000:]
    assert "itself failed" not in ended.stderr
    assert "Traceback" not in ended.stderr
    kib, seconds = ended.stderr.split("USED ")[1].split()
    assert int(kib) < 1_000_000, f"{kib} KiB"
    assert float(seconds) < 10, f"{seconds} s"
