"""What the screening found, one line per image on disk: CSV or JSON lines that outlive a power cut.

A line is written, flushed and synchronised before the next image is read. A line cut off half-way is
removed when the file is opened again. Another program that writes to the file keeps this one out; the
system takes a dead program's lock away.
"""

from __future__ import annotations

import csv
import io
import json
import locale
import os
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from udacimed_edge.runtime.contract import Contract

__all__ = ["NOTICE", "Form", "Results", "ResultsError", "ScreeningRecord"]

NOTICE = Contract.notice
"""The limit of use, on every output."""

Form = Literal["csv", "excel", "jsonl"]

_BOM = "\ufeff"


class ResultsError(ValueError):
    """The file named for the results cannot be used, and why, in one line."""


@dataclass(frozen=True)
class ScreeningRecord:
    """One image's line, in the order of the columns.

    Attributes:
        probability: Of pneumonia, 0..1; None when the file gave no radiograph.
        decision: "pneumonia" or "normal" at the threshold; None likewise.
        error: Why there is no probability; empty otherwise.
        warnings: What a person should know, joined by "; ".
        threshold: The artifact's frozen threshold.
        time_ms: From reading the file to the answer.
        screened_at: UTC by the device's clock, ISO 8601.
        notice: The limit of use.
        file: Absolute path; characters that do not print are escaped.
        sha256: Of the file's bytes, 64 hex digits; empty when it could not be read.
        artifact: SHA-256 of the artifact that answered.
    """

    probability: float | None
    decision: str | None
    error: str
    warnings: str
    threshold: float
    time_ms: float
    screened_at: str
    notice: str
    file: str
    sha256: str
    artifact: str

    @property
    def key(self) -> tuple[str, str, str]:
        """By which a rerun knows the line."""
        return self.file, self.sha256, self.artifact


_COLUMNS = [field.name for field in fields(ScreeningRecord)]
_COLUMNS_0_1_0 = ["file", "sha256", "artifact", "probability", "decision", "threshold", "time_ms", "warnings"]
_COLUMNS_0_1_0 += ["error", "screened_at", "notice"]


@dataclass(frozen=True)
class _Dialect:
    """How a CSV file is written: its columns in their order, separator, decimal sign, and first character."""

    columns: tuple[str, ...]
    separator: str = ","
    decimal: str = "."
    mark: str = ""

    def line(self, values: dict[str, object]) -> str:
        """One line; numbers with the decimal sign of the file."""
        cells = ["" if values[name] is None else values[name] for name in self.columns]
        texts = [repr(c).replace(".", self.decimal) if isinstance(c, float) else c for c in cells]
        return self._joined(texts)

    @property
    def header(self) -> str:
        """The first line of such a file, with the names of its columns."""
        return self.mark + self._joined(list(self.columns))

    def _joined(self, cells: list[object] | list[str]) -> str:
        stream = io.StringIO()
        csv.writer(stream, delimiter=self.separator, lineterminator="\n").writerow(cells)
        return stream.getvalue()


def _spreadsheet() -> _Dialect:
    """As this system's spreadsheets read it: a semicolon where its numbers have a decimal comma."""
    kept = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, "")
        comma = locale.localeconv()["decimal_point"] == ","
    except locale.Error:  # a locale is named that is not installed
        comma = False
    finally:
        locale.setlocale(locale.LC_NUMERIC, kept)
    return _Dialect(tuple(_COLUMNS), *((";", ",") if comma else (",", ".")), _BOM)


class Results:
    """An open results file.

    Args:
        path: Appended to when it exists, as its own first line says; a file of 0.1.0 too.
        form: "csv", "excel" for a CSV file as this system's spreadsheets read it, or "jsonl".

    Attributes:
        known: The last line of each image, by its key.
        repaired: Bytes of a half-written line that were removed.

    Raises:
        ResultsError: It is no regular file, cannot be opened, is in use, or holds something else.
    """

    def __init__(self, path: Path, form: Form) -> None:
        self.path, self._csv = path, form != "jsonl"
        self._dialect = _spreadsheet() if form == "excel" else _Dialect(tuple(_COLUMNS))
        try:
            _require_regular(path)
            # unbuffered: a line is one write, and nothing waits in this process when it is killed
            self._stream = path.open("ab", buffering=0)
            try:
                self._begin()
            except BaseException:
                self._stream.close()
                raise
        except OSError as error:
            hint = "; is it open in another program?" if isinstance(error, PermissionError) else ""
            raise ResultsError(f"{path} cannot be written: {error.strerror}{hint}") from error
        except csv.Error as error:
            raise ResultsError(f"{path} is damaged ({error}): name another file") from error

    def _begin(self) -> None:
        if not _lock(self._stream.fileno()):
            holder = _holder(self._stream.fileno())
            who = f"process {holder}" if holder else "another program"
            raise ResultsError(f"{self.path} is being written by {who}: wait for it, or name another file")
        content = self.path.read_bytes()
        kept = self._whole_lines(content)
        self._by_content: dict[tuple[str, str], ScreeningRecord] = {}
        self.known: dict[tuple[str, str, str], ScreeningRecord] = {}
        for record in self._read(kept.decode("utf-8", "replace")):
            self._remember(record)
        self.repaired = len(content) - len(kept)
        if self.repaired:
            self._stream.truncate(len(kept))
        if not kept and self._csv:
            self._write(self._dialect.header)
        _sync_folder(self.path.parent)

    def answer_for(self, sha256: str, artifact: str) -> ScreeningRecord | None:
        """A line with a probability for the same content and artifact, under whatever path."""
        return self._by_content.get((sha256, artifact))

    def append(self, record: ScreeningRecord) -> None:
        """Write one line; on disk when this returns.

        Raises:
            ResultsError: The disk is full or gone.
        """
        values = asdict(record)
        try:
            self._write(self._dialect.line(values) if self._csv else _json(values))
        except OSError as error:
            raise ResultsError(f"{self.path} cannot be written: {error.strerror}") from error
        self._remember(record)

    def close(self) -> None:
        """Close the file, and let others write to it."""
        self._stream.close()

    def _remember(self, record: ScreeningRecord) -> None:
        self.known[record.key] = record
        if record.probability is not None:
            self._by_content[record.sha256, record.artifact] = record

    def _write(self, line: str) -> None:
        rest = memoryview(line.encode("utf-8"))
        while rest:
            rest = rest[self._stream.write(rest) :]
        os.fsync(self._stream.fileno())

    def _whole_lines(self, content: bytes) -> bytes:
        """The content up to the last line's end; the dialect becomes the file's own.

        Raises:
            ResultsError: It does not begin like a results file of this form.
        """
        text = content.strip(b"\0")
        for start, dialect in self._beginnings():
            if text.startswith(start) or (start.startswith(text) and b"\n" not in content):
                self._dialect = dialect if text.startswith(start) else self._dialect
                return content[: content.rfind(b"\n") + 1]
        form = "CSV" if self._csv else "JSON lines"
        raise ResultsError(f"{self.path} exists and holds no {form} of this program: name another file")

    def _beginnings(self) -> list[tuple[bytes, _Dialect]]:
        """How a file of this form may begin, the one that would be written now first."""
        if not self._csv:
            return [(f'{{"{name}": '.encode(), self._dialect) for name in (_COLUMNS[0], _COLUMNS_0_1_0[0])]
        columns = tuple(_COLUMNS)
        others = [_Dialect(columns), _Dialect(tuple(_COLUMNS_0_1_0))]
        others += [_Dialect(columns, *signs, _BOM) for signs in ((";", ","), (",", "."))]
        return [(dialect.header.encode(), dialect) for dialect in (self._dialect, *others)]

    def _read(self, text: str) -> list[ScreeningRecord]:
        """The records of whole lines; a damaged line's image is screened again."""
        lines = text.removeprefix(_BOM).replace("\0", "").split("\n")  # Python 3.10's csv refuses a zero byte
        rows = csv.DictReader(lines, delimiter=self._dialect.separator) if self._csv else map(_parsed, lines)
        return [record for row in rows if (record := self._record(dict(row))) is not None]

    def _record(self, row: dict[str, object]) -> ScreeningRecord | None:
        decimal = self._dialect.decimal if self._csv else "."
        try:
            numbers = {
                name: None if row[name] in (None, "") else float(str(row[name]).replace(decimal, "."))
                for name in ("probability", "threshold", "time_ms")
            }
            texts = {name: str(row[name] or "") for name in _COLUMNS if name not in numbers}
        except (KeyError, ValueError):
            return None
        return ScreeningRecord(**{**texts, **numbers, "decision": texts["decision"] or None})  # type: ignore[arg-type]


def _require_regular(path: Path) -> None:
    """Refuse a device, which may never end, a pipe, which may never begin, and a folder.

    Raises:
        ResultsError: It is there and is no regular file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise ResultsError(f"{path} is not a file: name a file for the results")


def _lock(handle: int) -> bool:
    """Keep others out until the file is closed or this process ends; False where another has it."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(handle, 1 << 40, os.SEEK_SET)  # a lock hides its bytes from readers: far behind the end
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # some network file systems have no locks
        pass
    return True


def _holder(handle: int) -> int | None:
    """The process that holds the lock, where Linux tells."""
    number = f":{os.fstat(handle).st_ino} "
    try:
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    return next((int(line.split()[4]) for line in locks if number in line and " FLOCK " in line), None)


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
