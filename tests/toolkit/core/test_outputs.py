"""Whether results can be written, asked before the work."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from udacimed_edge.core.errors import OutputError
from udacimed_edge.core.outputs import require_writable_file, require_writable_folder


def test_what_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    """A file, a new file in new folders, and a folder pass, and nothing is made or changed."""
    (tmp_path / "there").write_text("kept")
    require_writable_file(tmp_path / "there")
    require_writable_file(tmp_path / "a" / "b" / "new")
    require_writable_folder(tmp_path)
    require_writable_folder(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_text() == "kept"


@pytest.mark.parametrize(
    ("check", "path", "message"),
    [
        (require_writable_file, ".", "something that is no file stands there"),
        (require_writable_file, "file/new", "a file stands where a folder is needed"),
        (require_writable_folder, "file", "a file stands where a folder is needed"),
        (require_writable_folder, "file/a/b", "a file stands where a folder is needed"),
        (require_writable_file, "/proc/none/new", "cannot write /proc/none/new"),
    ],
)
def test_what_cannot_be_written_is_refused(
    check: object, path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place that takes no result is named, with the option to change."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    assert callable(check)
    with pytest.raises(OutputError) as caught:
        check(Path(path), "--html")
    assert message in str(caught.value)
    assert caught.value.hint.endswith("with --html")


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a person may not write, they are told so."""

    def refused(dir: Path) -> None:  # noqa: A002
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(OutputError, match="new: Permission denied"):
        require_writable_file(tmp_path / "new")
