"""The command a clinic runs: `python3 screen.pyz image.png folder/ *.dcm`.

Exit codes: 0 every image screened; 1 some files gave no radiograph, or a folder holds no image; 2 the command
line; 3 the artifact cannot be used, or the bundle was changed; 4 the self-test failed; 5 the results cannot
be written; 130 stopped by Ctrl-C; 141 nobody reads what is printed any more.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from udacimed_edge.runtime import about, image, selftest
from udacimed_edge.runtime.contract import ArtifactError, Predictor
from udacimed_edge.runtime.digest import path_digest
from udacimed_edge.runtime.installer import home as home_of_the_program
from udacimed_edge.runtime.reader import SUFFIXES, open_artifact
from udacimed_edge.runtime.results import NOTICE, Form, Results, ResultsError, ScreeningRecord
from udacimed_edge.runtime.search import Search, find_images

__all__ = ["ArtifactError", "main"]

_ROW = "{:>11}  {:<10}  {:>7}  {}"


@dataclass(frozen=True)
class Model:
    """The artifact that answers.

    Attributes:
        path: Where it is.
        digest: Its SHA-256; of several files, of the list `sha256sum` prints.
        predictor: It, opened.
    """

    path: Path
    digest: str
    predictor: Predictor


class _NobodyReadsError(Exception):
    """The other end of a pipe was closed."""


class _Console:
    """Standard output, which may be closed or full before the batch is done.

    Attributes:
        full: What the system said when it took no more; None while it does.
    """

    def __init__(self) -> None:
        self.full: str | None = None

    def say(self, text: str) -> None:
        """Print a line; where there is no room for it, say so once and go on.

        Raises:
            _NobodyReadsError: The pipe is closed.
        """
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except OSError as error:
            # what waits in the buffer goes nowhere, now and when the process ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if error.errno in (errno.EPIPE, errno.EINVAL):  # Windows says EINVAL
                raise _NobodyReadsError from error
            self.full = str(error.strerror)
            sys.stderr.write(f"what is printed cannot be written ({self.full}); the batch goes on\n")


def main(arguments: Sequence[str] | None = None, home: Path | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line; that of the process by default.
        home: Where the artifact and the self-test lie; beside the zip by default.

    Returns:
        The exit code.
    """
    if hasattr(sys.stdout, "reconfigure"):  # a name that the console cannot show must not end the batch
        sys.stdout.reconfigure(errors="replace")
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.images or options.selftest or options.about):
        parser.error("name an image or a folder, or --selftest, or --about")
    if options.excel and not options.csv:
        parser.error("--excel says how --csv is written: name the file with --csv")
    home, results = home or home_of_the_program(), None
    try:
        if options.csv or options.jsonl:
            form: Form = "jsonl" if options.jsonl else "excel" if options.excel else "csv"
            results = Results(options.csv or options.jsonl, form)
    except ResultsError as error:
        parser.error(str(error))
    console = _Console()
    try:
        code = _run(options, home, results, console)
    except ArtifactError as error:
        return _fail(3, f"the artifact cannot be used: {error}")
    except ResultsError as error:
        return _fail(5, str(error))
    except KeyboardInterrupt:
        return _fail(130, "stopped; the same command goes on with what is left")
    except _NobodyReadsError:
        return 141
    finally:
        if results:
            results.close()
    return 5 if console.full and not results else code


def _run(options: argparse.Namespace, home: Path, results: Results | None, console: _Console) -> int:
    model = _open(options.artifact or _beside(home), options.threads)
    if options.about:
        return _about(home, model, console)
    contract = model.predictor.contract
    console.say(
        f"Looks for pneumonia in chest radiographs with {model.path.name} ({contract.precision}, "
        f"{model.predictor.executor})."
    )
    console.say(
        f'It calls "pneumonia" what has a probability of {contract.threshold:.4f} or more; "normal" never '
        "excludes pneumonia."
    )
    console.say(NOTICE)
    if options.selftest:
        verdict = selftest.check(home / "selftest", model.predictor, model.digest)
        console.say(("self-test passed: " if verdict.passed else "SELF-TEST FAILED: ") + verdict.message)
        if not verdict.passed:
            return 4
    return _screen(options.images, model, results, console) if options.images else 0


def _about(home: Path, model: Model, console: _Console) -> int:
    lines = list(about.describe(home, model.path, model.digest, model.predictor))
    for line in (*lines, NOTICE):
        console.say(line)
    return 3 if any("CHANGED OR MISSING" in line or "WRONG:" in line for line in lines) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="screen.pyz",
        description=f"Screens chest radiographs for pneumonia. {NOTICE}",
        epilog="Exit codes: 0 all screened, 1 some files gave no radiograph or there was none, "
        "2 wrong command line, 3 the artifact cannot be used, 4 self-test failed, "
        "5 results cannot be written. "
        "With --csv or --jsonl the same command, given again, goes on where it was interrupted.",
    )
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP or DICOM file, or folder"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--csv", type=Path, metavar="FILE", help="append the results to a CSV file")
    output.add_argument("--jsonl", type=Path, metavar="FILE", help="append the results as JSON lines")
    parser.add_argument(
        "--excel", action="store_true", help="write the CSV file as this computer's spreadsheets read it"
    )
    parser.add_argument(
        "--artifact", type=Path, metavar="FILE", help="the model; by default the one beside this program"
    )
    parser.add_argument(
        "--selftest", action="store_true", help="check that this device computes as validated"
    )
    parser.add_argument(
        "--about", action="store_true", help="say what this is, whether it was changed, and who signed it"
    )
    parser.add_argument(
        "--install",
        action="store_true",
        help="install the wheels beside this program, once, without a network",
    )
    parser.add_argument(
        "--threads", type=_count, default=1, metavar="N", help="processor threads (default 1)"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError("expected a number from 1 to 1024")
    return int(text)


def _beside(home: Path) -> Path:
    """The one `model.*` in a folder.

    Raises:
        ArtifactError: None, or several.
    """
    found = sorted(path for path in home.glob("model.*") if path.suffix in SUFFIXES)
    if len(found) != 1:
        what = f"{len(found)} models" if found else "no model"
        raise ArtifactError(f"{what} in {home}: name one with --artifact")
    return found[0]


def _open(path: Path, threads: int) -> Model:
    try:
        if path.exists() and (wrong := about.difference(path)):
            raise ArtifactError(
                f"{wrong}, says {about.SUMS} beside it: do not use it, copy the whole bundle again"
            )
        return Model(path, path_digest(path), open_artifact(path, threads))
    except ModuleNotFoundError as error:
        raise ArtifactError(f"{error.name or error} is not installed on this device") from error
    except ImportError as error:
        raise ArtifactError(_not_loaded(error)) from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    except (ArtifactError, RuntimeError) as error:
        raise ArtifactError(str(error)) from error


def _not_loaded(error: ImportError) -> str:
    """A library that is there and does not load; on Windows mostly for want of Microsoft's C++ runtime."""
    if "DLL load failed" in str(error):
        return (
            "its runtime does not load: Windows lacks the Microsoft Visual C++ runtime; install "
            "vc_redist.x64.exe, which Microsoft gives away, once"
        )
    return f"its runtime does not load here: {error}"


def _screen(names: Sequence[str], model: Model, results: Results | None, console: _Console) -> int:
    """Screen one file after the other; 1 when one of them gave no radiograph, or a folder holds none."""
    if results and results.repaired:
        console.say(f"{results.path}: a line of {results.repaired} bytes was half-written and is removed")
    console.say(_ROW.format("probability", "decision", "ms", "file"))
    search, totals, ways = Search(), Counter[str](), Counter[str]()
    for path in find_images(names, search):
        record, way = _examine(path, model, results)
        totals[record.decision or "unreadable"] += 1
        ways[way] += 1
        if way == "done before":
            continue
        console.say(_row(path, record))
        # a file that gives no radiograph is tried at each run, and has one line for one reason
        known = results.known.get(record.key) if results else None
        if results and not (known and known.error == record.error):
            results.append(record)
    for line in (*_summary(totals, ways), *_passed_over(search), NOTICE):
        console.say(line)
    return 1 if totals["unreadable"] or search.empty or not totals else 0


def _summary(totals: Counter[str], ways: Counter[str]) -> Iterator[str]:
    """For example "5 files: 2 pneumonia, 2 normal, 1 unreadable (1 done before)"."""
    shown = [
        "pneumonia",
        "normal",
        *sorted(totals.keys() - {"pneumonia", "normal", "unreadable"}),
        "unreadable",
    ]
    words = ("done before", "copied from a file of the same content")
    notes = ", ".join(f"{ways[way]} {way}" for way in words if ways[way])
    plural = "files" if totals.total() != 1 else "file"
    yield (
        f"{totals.total()} {plural}: "
        + ", ".join(f"{totals[name]} {name}" for name in shown)
        + (f" ({notes})" if notes else "")
    )


def _passed_over(search: Search) -> Iterator[str]:
    if search.passed_over:
        kinds = ", ".join(
            f"{suffix or 'without a suffix'} {n}" for suffix, n in sorted(search.passed_over.items())
        )
        yield f"{search.passed_over.total()} other files were passed over: {_printable(kinds)}"
    for folder in search.empty:
        yield f"NO IMAGE in the folder {_printable(folder)}"


def _examine(path: Path, model: Model, results: Results | None) -> tuple[ScreeningRecord, str]:
    """One file's record, and how it came about: "screened", "done before" or "copied from ..."."""
    start = time.perf_counter()
    name, digest, error, warnings = _printable(os.path.abspath(path)), "", "", ""
    probability = math.nan
    try:
        content = image.read_bytes(path)
        digest = hashlib.sha256(content).hexdigest()
        if results and (same := results.answer_for(digest, model.digest)):
            known = results.known.get((name, digest, model.digest))
            if known and known.probability is not None:
                return known, "done before"
            copied = replace(same, file=name, time_ms=_ms_since(start), screened_at=_now())
            return copied, "copied from a file of the same content"
        radiograph = image.decode(content)
        warnings = "; ".join(radiograph.warnings)
        probability = _ask(model, radiograph)
        if not math.isfinite(probability):
            error = "the model's answer is not a finite number"
    except image.ImageError as problem:
        error = _printable(str(problem))
    contract = model.predictor.contract
    record = ScreeningRecord(
        probability=None if error else probability,
        decision=None if error else contract.labels[probability >= contract.threshold],
        error=error,
        warnings=_printable(warnings),
        threshold=contract.threshold,
        time_ms=_ms_since(start),
        screened_at=_now(),
        notice=NOTICE,
        file=name,
        sha256=digest,
        artifact=model.digest,
    )
    return record, "screened"


def _ms_since(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 2)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _ask(model: Model, radiograph: image.Radiograph) -> float:
    """The probability of pneumonia, 0..1; NaN when the artifact answers so.

    Raises:
        ArtifactError: The runtime failed.
    """
    try:
        return float(model.predictor.predict(radiograph.pixels[None])[0])
    except Exception as error:  # each runtime has exceptions of its own, some derived from Exception alone
        raise ArtifactError(f"it failed while computing: {error}") from error


def _printable(text: str) -> str:
    """The text with what does not print escaped, so that no file name can forge a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _row(path: Path, record: ScreeningRecord) -> str:
    """The path is as it was found: of two files with one name each folder is seen."""
    file, ms = _printable(str(path)), f"{record.time_ms:.1f}"
    if record.probability is None:
        return _ROW.format("-", "unreadable", ms, f"{file}  NO RADIOGRAPH: {record.error}")
    shown = f"{record.probability:.4f}"
    return _ROW.format(shown, record.decision, ms, f"{file}  {record.warnings}".rstrip())


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return code
