"""Digests a person can check, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from udacimed_edge.core import files
from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.core.files import (
    files_of,
    output_errors,
    path_digest,
    read_text,
    replace_directory,
    sha256_file,
    size_bytes,
    staging,
    write_atomic,
)


def sha(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def folder_of(path: Path, **contents: str) -> Path:
    """A folder of text files."""
    path.mkdir(parents=True)
    for name, text in contents.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


def texts(path: Path) -> dict[str, str]:
    """What a folder holds, by name."""
    return {f.relative_to(path).as_posix(): f.read_text(encoding="utf-8") for f in files_of(path)}


def full_disk(*_: object) -> None:
    """Fail as a system call does on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Digests.


@pytest.mark.parametrize("content", [b"", b"abc", bytes(3 << 20)], ids=["empty", "small", "several blocks"])
def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path, content: bytes) -> None:
    """A file's digest is the SHA-256 of its bytes, however many blocks it is read in."""
    file = tmp_path / "model.ort"
    file.write_bytes(content)
    assert sha256_file(file) == path_digest(file) == sha(content)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_a_person_can_check_the_digest_of_a_file(tmp_path: Path) -> None:
    """A single file's digest is what sha256sum prints."""
    file = tmp_path / "model.tflite"
    file.write_bytes(b"TFL3")
    printed = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
    assert path_digest(file) == printed.split()[0]


def test_the_digest_of_a_folder_is_that_of_the_list_sha256sum_prints(tmp_path: Path) -> None:
    """A folder is digested as `<hex>  <name>` lines, sorted by name, names from the folder's own on."""
    package = folder_of(tmp_path / "m.mlpackage", **{"Manifest.json": "{}"})
    folder_of(package / "Data", weights="w")
    folder_of(package / "Data-2", notes="n")
    names = ["m.mlpackage/Data-2/notes", "m.mlpackage/Data/weights", "m.mlpackage/Manifest.json"]
    assert names == sorted(names)
    lines = "".join(f"{sha((tmp_path / name).read_bytes())}  {name}\n" for name in names)
    assert path_digest(package) == sha(lines.encode())


def test_an_openvino_model_is_digested_with_its_weights(tmp_path: Path) -> None:
    """The digest and size of an `.xml` cover the `.bin` of the same name, and nothing else beside it."""
    folder = folder_of(tmp_path / "model", **{"model.xml": "<net/>", "model.bin": "12", "other.bin": "3"})
    xml, weights = folder / "model.xml", folder / "model.bin"
    lines = f"{sha(b'12')}  model.bin\n{sha(b'<net/>')}  model.xml\n"
    assert files_of(xml) == [weights, xml]
    assert path_digest(xml) == sha(lines.encode())
    assert size_bytes(xml) == len("<net/>") + len("12")


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A folder or a device at the path is refused and stays: root could replace /dev/null itself."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(OutputError, match=rf"cannot write .*{name}: something that is no file"):
            write_atomic(tmp_path / name, b"new")
    assert (tmp_path / "folder").is_dir()
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: (p / "a").write_text("changed", encoding="utf-8"),
        lambda p: (p / "a").rename(p / "c"),
        lambda p: (p / "b").unlink(),
        lambda p: (p / "new").write_text("", encoding="utf-8"),
    ],
    ids=["content", "name", "fewer", "more"],
)
def test_any_change_of_a_folder_changes_its_digest(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """Another content, another name, a file less or a file more give another digest."""
    folder = folder_of(tmp_path / "m.mlpackage", a="1", b="2")
    before = path_digest(folder)
    change(folder)
    assert path_digest(folder) != before


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    """The size of an artifact is that of all its files, at any depth."""
    folder = folder_of(tmp_path / "m.mlpackage", a="123")
    folder_of(folder / "deeper", b="4567")
    assert size_bytes(folder) == 7


def nothing(path: Path) -> None:
    """There is nothing at the path."""


def not_utf8(path: Path) -> None:
    """Latin-1 text."""
    path.write_bytes("Röntgen".encode("latin-1"))


@pytest.mark.parametrize(
    ("read", "build", "fragment"),
    [
        (sha256_file, nothing, "cannot read .*input: No such file"),
        (sha256_file, Path.mkdir, "cannot read .*input: Is a directory"),
        (path_digest, nothing, "cannot read .*input: No such file"),
        (path_digest, Path.mkdir, "input is an empty folder"),
        (read_text, nothing, "cannot read .*input: No such file"),
        (read_text, Path.mkdir, "input is not a text file of ours: it is not a file"),
        (read_text, not_utf8, "input is not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, read: Callable[[Path], str], build: Callable[[Path], None], fragment: str
) -> None:
    """A path that cannot be read is an input error that names it."""
    build(tmp_path / "input")
    with pytest.raises(InputError, match=fragment):
        read(tmp_path / "input")


def test_text_is_read_as_utf8(tmp_path: Path) -> None:
    """Text comes back as it was written, in UTF-8."""
    (tmp_path / "card.json").write_bytes("Röntgen".encode())
    assert read_text(tmp_path / "card.json") == "Röntgen"


# Files, whole or not at all.


def test_a_file_is_written_with_the_folders_it_needs(tmp_path: Path) -> None:
    """The content arrives, readable by everybody, with nothing else beside it."""
    file = tmp_path / "a" / "b" / "report.json"
    write_atomic(file, b"{}")
    assert file.read_bytes() == b"{}"
    assert list(file.parent.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_file_is_replaced(tmp_path: Path) -> None:
    """A shorter content replaces a longer one completely."""
    file = tmp_path / "report.json"
    write_atomic(file, b"long content")
    write_atomic(file, b"short")
    assert file.read_bytes() == b"short"


def on_writing(patch: pytest.MonkeyPatch) -> None:
    """The disk is full at the first byte."""

    class Full:
        """A stream on a full disk."""

        write = staticmethod(full_disk)

        def __enter__(self) -> Full:
            """Open it."""
            return self

        def __exit__(self, *_: object) -> None:
            """Close it."""

    def opened(handle: int, mode: str) -> Full:
        os.close(handle)
        return Full()

    patch.setattr(os, "fdopen", opened)


def on_flushing(patch: pytest.MonkeyPatch) -> None:
    """The disk is full when the system writes its cache out."""
    patch.setattr(os, "fsync", full_disk)


def on_renaming(patch: pytest.MonkeyPatch) -> None:
    """The disk is full when the folder is written."""
    patch.setattr(os, "replace", full_disk)


@pytest.mark.parametrize("moment", [on_writing, on_flushing, on_renaming])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """On a full disk the old content stays, nothing is left behind, and the error says what to do."""
    file = tmp_path / "report.json"
    file.write_bytes(b"old")
    moment(monkeypatch)
    with pytest.raises(OutputError, match=r"disk is full.*--out") as caught:
        write_atomic(file, b"new")
    assert str(file) in caught.value.message
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_interruption_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while writing passes on, leaves the old content and leaves nothing behind."""

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "report.json"
    file.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "the disk is full: free some space, or name another folder with --out"),
        (errno.EACCES, "you may not write there: name another folder with --out"),
        (errno.EROFS, "that disk is read-only: name another folder with --out"),
        (errno.ENOTDIR, "a file stands where a folder is needed: name another folder with --out"),
        (errno.EEXIST, "a file stands where a folder is needed: name another folder with --out"),
        (errno.EIO, "name another folder with --out"),
    ],
)
def test_a_failure_to_write_says_what_to_do(code: int, hint: str) -> None:
    """Each way the system refuses to write has its own advice."""
    with pytest.raises(OutputError) as caught, output_errors(Path("out")):
        raise OSError(code, "refused")
    assert caught.value.message == "cannot write out: refused"
    assert caught.value.hint == hint


def write_below(path: Path) -> None:
    """Write a file."""
    write_atomic(path / "file", b"")


def stage_below(path: Path) -> None:
    """Open a staging folder."""
    with staging(path):
        pass


def replace_below(path: Path) -> None:
    """Put a folder in its place."""
    replace_directory(folder_of(path.parent.parent / "staged"), path / "final")


@pytest.mark.parametrize("write", [write_below, stage_below, replace_below])
@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_a_file_in_place_of_a_folder_is_named(
    tmp_path: Path, write: Callable[[Path], None], below: str
) -> None:
    """Where a folder is needed and a file stands, the error says so and the file stays."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").write_bytes(b"kept")
    with pytest.raises(OutputError, match=r"a file stands where a folder is needed.*--out"):
        write(place / below)
    assert (place / "file").read_bytes() == b"kept"


# Folders, whole or not at all.


@pytest.fixture(params=["one system call", "two steps"])
def replacing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways a folder is replaced: where the system can exchange two folders, and where it cannot."""
    if request.param == "two steps":
        monkeypatch.setattr(files, "_exchange", lambda a, b: False)


@pytest.mark.usefixtures("replacing")
def test_a_folder_is_put_where_nothing_was(tmp_path: Path) -> None:
    """A finished folder moves to a place whose parents do not exist yet."""
    staged = folder_of(tmp_path / "staged", new="1")
    replace_directory(staged, tmp_path / "out" / "ort-int8")
    assert texts(tmp_path / "out" / "ort-int8") == {"new": "1"}
    assert not staged.exists()


@pytest.mark.usefixtures("replacing")
def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    """Nothing of the old folder stays in the new one, and nothing is left beside it."""
    staged, final = folder_of(tmp_path / "staged", new="1"), folder_of(tmp_path / "final", old="0")
    replace_directory(staged, final)
    assert texts(final) == {"new": "1"}
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.usefixtures("replacing")
def test_a_file_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    """A file where the folder should go is refused by name, and stays."""
    staged, final = folder_of(tmp_path / "staged", new="1"), tmp_path / "final"
    final.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="final: a file is in the way"):
        replace_directory(staged, final)
    assert final.read_text(encoding="utf-8") == "mine"


@pytest.mark.usefixtures("replacing")
def test_a_failure_to_replace_leaves_the_old_folder(tmp_path: Path) -> None:
    """When the new folder cannot be moved, the old one is as it was, with nothing beside it."""
    final = folder_of(tmp_path / "final", old="0")
    with pytest.raises(OutputError, match="cannot write"):
        replace_directory(tmp_path / "not there", final)
    assert texts(final) == {"old": "0"}
    assert list(tmp_path.iterdir()) == [final]


# The staging folder.


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Another process that lives."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_staging_folder_is_gone_afterwards(tmp_path: Path) -> None:
    """The folder is fresh, lies inside its parent, and is removed with what is in it."""
    with staging(tmp_path / "out") as folder:
        assert folder.parent == tmp_path / "out"
        assert list(folder.iterdir()) == []
        (folder / "model.ort").write_bytes(b"half")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_staging_folder_is_gone_after_an_error(tmp_path: Path) -> None:
    """An error in the body passes on as it is, and the folder is removed."""
    with pytest.raises(KeyboardInterrupt), staging(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_was_moved_into_place_stays(tmp_path: Path) -> None:
    """A folder moved out of staging is not removed with it."""
    with staging(tmp_path) as folder:
        replace_directory(folder_of(folder / "ort-int8", model="1"), tmp_path / "ort-int8")
    assert [p.name for p in tmp_path.iterdir()] == ["ort-int8"]
    assert texts(tmp_path / "ort-int8") == {"model": "1"}


def test_two_staging_folders_of_one_process_are_apart(tmp_path: Path) -> None:
    """A second staging folder neither is nor removes the first."""
    with staging(tmp_path) as first, staging(tmp_path) as second:
        assert first != second
        assert first.is_dir()


def test_only_what_dead_processes_left_is_removed(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """A dead process's folder goes, a living one's stays, and so does whatever is not ours."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    abandoned = folder_of(tmp_path / f".staging-{dead.pid}-abc", model="half")
    kept = {
        folder_of(tmp_path / f".staging-{sleeper.pid}-abc", model="being written"),
        folder_of(tmp_path / ".staging-mine-abc", notes="1"),
        folder_of(tmp_path / "ort-int8", model="1"),
    }
    with staging(tmp_path) as folder:
        assert not abandoned.exists()
        assert set(tmp_path.iterdir()) == {*kept, folder}


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from udacimed_edge.core.files import replace_directory, staging, write_atomic

    out = Path(sys.argv[1])
    with staging(out) as folder:
        (folder / "ort-int8").mkdir()
        (folder / "ort-int8" / "model").write_text("half")
        if sys.argv[2] == "while a folder is replaced":
            os.fsencode = lambda path: os.kill(os.getpid(), signal.SIGKILL)
            replace_directory(folder / "ort-int8", out / "ort-int8")
        if sys.argv[2] == "while a file is written":
            os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
            write_atomic(folder / "ort-int8" / "report.json", b"{}")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    "moment", ["while converting", "while a file is written", "while a folder is replaced"]
)
def test_kill_9_leaves_the_earlier_result(tmp_path: Path, moment: str) -> None:
    """A process killed in the middle leaves the earlier result untouched, and the next one cleans up."""
    final = folder_of(tmp_path / "ort-int8", model="whole")
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), moment]
    assert subprocess.run(script, check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2, "the killed process left its staging folder"
    assert texts(final) == {"model": "whole"}
    with staging(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == [final]
    assert texts(final) == {"model": "whole"}


def test_kill_9_leaves_the_earlier_file(tmp_path: Path) -> None:
    """A process killed while it writes a file leaves the earlier content untouched."""
    file = tmp_path / "report.json"
    file.write_bytes(b"old")
    script = (
        "import os, signal, sys; from pathlib import Path; from udacimed_edge.core.files import write_atomic;"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL);"
        "write_atomic(Path(sys.argv[1]), b'new')"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(file)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
