"""What the screening found, one line per image on disk: CSV or JSON lines that outlive a power cut.

A line is written, flushed and synchronised before the next image is read. A line cut off half-way is
removed when the file is opened again. An image counts as done when a line for the same path, the same
content and the same artifact holds a probability: a changed file, another artifact and a file that
could not be read are screened again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from udacimed_edge.runtime.contract import Contract

__all__ = ["NOTICE", "Results", "ResultsError", "ScreeningRecord"]

NOTICE = Contract.notice
"""The limit of use, on every output."""


class ResultsError(ValueError):
    """The file named for the results cannot be used, and why, in one line."""


@dataclass(frozen=True)
class ScreeningRecord:
    """One image's line.

    Attributes:
        file: Absolute path; characters that do not print are escaped.
        sha256: Of the file's bytes, 64 hex digits; empty when it could not be read.
        artifact: SHA-256 of the artifact that answered.
        probability: Of pneumonia, 0..1; None when the file gave no radiograph.
        decision: "pneumonia" or "normal" at the threshold; None likewise.
        threshold: The artifact's frozen threshold.
        time_ms: From reading the file to the answer.
        warnings: What a person should know, joined by "; ".
        error: Why there is no probability; empty otherwise.
        screened_at: UTC by the device's clock, ISO 8601.
        notice: The limit of use.
    """

    file: str
    sha256: str
    artifact: str
    probability: float | None
    decision: str | None
    threshold: float
    time_ms: float
    warnings: str
    error: str
    screened_at: str
    notice: str = NOTICE

    @property
    def key(self) -> tuple[str, str, str]:
        """By which a rerun knows it."""
        return self.file, self.sha256, self.artifact


_COLUMNS = [field.name for field in fields(ScreeningRecord)]


class Results:
    """An open results file.

    Args:
        path: Appended to when it exists.
        form: "csv" or "jsonl".

    Attributes:
        done: Keys of the images that hold a probability.
        repaired: Bytes of a half-written line that were removed.

    Raises:
        ResultsError: It cannot be opened, or holds something else.
    """

    def __init__(self, path: Path, form: str) -> None:
        self.path, self._csv = path, form == "csv"
        try:
            content = path.read_bytes() if path.exists() else b""
            kept = self._whole_lines(content)
            self.done = self._done(kept.decode("utf-8", "replace"))
            self.repaired = len(content) - len(kept)
            # unbuffered: a line is one write, and nothing waits in this process when it is killed
            self._stream = path.open("ab", buffering=0)
            if self.repaired:
                self._stream.truncate(len(kept))
            if not kept and self._csv:
                self._write(_csv_line(_COLUMNS))
            _sync_folder(path.parent)
        except OSError as error:
            raise ResultsError(f"{path} cannot be written: {error.strerror}") from error
        except csv.Error as error:
            raise ResultsError(f"{path} is damaged ({error}): name another file") from error

    def append(self, record: ScreeningRecord) -> None:
        """Write one line; on disk when this returns.

        Raises:
            ResultsError: The disk is full or gone.
        """
        values = asdict(record)
        line = _csv_line(["" if v is None else v for v in values.values()]) if self._csv else _json(values)
        try:
            self._write(line)
        except OSError as error:
            raise ResultsError(f"{self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _write(self, line: str) -> None:
        rest = memoryview(line.encode("utf-8"))
        while rest:
            rest = rest[self._stream.write(rest) :]
        os.fsync(self._stream.fileno())

    def _whole_lines(self, content: bytes) -> bytes:
        """The content up to the last line's end.

        Raises:
            ResultsError: It does not begin like a results file of this form.
        """
        start = (_csv_line(_COLUMNS) if self._csv else '{"file": "').encode()
        if content.strip(b"\0") and not (content.startswith(start) or start.startswith(content.strip(b"\0"))):
            form = "CSV" if self._csv else "JSON lines"
            raise ResultsError(f"{self.path} exists and holds no {form} of this program: name another file")
        return content[: content.rfind(b"\n") + 1]

    def _done(self, text: str) -> set[tuple[str, str, str]]:
        found = set()
        lines = text.replace("\0", "").split("\n")  # the csv module of Python 3.10 refuses a zero byte
        rows = csv.DictReader(lines) if self._csv else map(_parsed, lines)
        for row in rows:
            if row.get("probability") not in (None, ""):
                found.add((str(row.get("file")), str(row.get("sha256")), str(row.get("artifact"))))
        return found


def _csv_line(values: list[object] | list[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(values)
    return stream.getvalue()


def _json(values: dict[str, object]) -> str:
    return json.dumps(values, allow_nan=False) + "\n"


def _parsed(line: str) -> dict[str, object]:
    """A JSON line's object; empty for a damaged one, whose image is then screened again."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _sync_folder(folder: Path) -> None:
    """Make a new file's name survive too; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse it for folders
        pass
    finally:
        os.close(handle)
