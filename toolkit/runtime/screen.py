"""The command a clinic runs: `python screen.pyz image.png folder/ *.dcm`.

Exit codes: 0 every image screened; 1 some files gave no radiograph; 2 the command line; 3 the artifact
cannot be used; 4 the self-test failed; 5 the results cannot be written; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from udacimed_edge.runtime import image, selftest
from udacimed_edge.runtime.contract import ArtifactError, Predictor
from udacimed_edge.runtime.digest import path_digest
from udacimed_edge.runtime.reader import SUFFIXES, open_artifact
from udacimed_edge.runtime.results import NOTICE, Results, ResultsError, ScreeningRecord

__all__ = ["ArtifactError", "find_images", "main"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom"})

_FILE_WIDTH = 36
_ROW = f"{{:<{_FILE_WIDTH}}}  {{:>11}}  {{:<9}}  {{:>7}}  {{}}"


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
    if not options.images and not options.selftest:
        parser.error("name an image or a folder, or --selftest")
    home = home or _home()
    results = None
    try:
        if options.csv or options.jsonl:
            results = Results(options.csv or options.jsonl, "csv" if options.csv else "jsonl")
    except ResultsError as error:
        parser.error(str(error))
    try:
        return _run(options, home, results)
    except ArtifactError as error:
        return _fail(3, f"the artifact cannot be used: {error}")
    except ResultsError as error:
        return _fail(5, str(error))
    except KeyboardInterrupt:
        return _fail(130, "stopped; the same command goes on with what is left")
    finally:
        if results:
            results.close()


def _run(options: argparse.Namespace, home: Path, results: Results | None) -> int:
    model = _open(options.artifact or _beside(home), options.threads)
    contract = model.predictor.contract
    _say(
        f"{model.path.name}: {contract.precision}, {model.predictor.executor}; threshold "
        f"{contract.threshold:.4f} ({contract.threshold_origin})"
    )
    _say(NOTICE)
    if options.selftest:
        verdict = selftest.check(home / "selftest", model.predictor, model.digest)
        _say(("self-test passed: " if verdict.passed else "SELF-TEST FAILED: ") + verdict.message)
        if not verdict.passed:
            return 4
    return _screen(options.images, model, results) if options.images else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="screen.pyz",
        description=f"Screens chest radiographs for pneumonia. {NOTICE}",
        epilog="Exit codes: 0 all screened, 1 some files gave no radiograph, 2 wrong command line, "
        "3 the artifact cannot be used, 4 self-test failed, 5 results cannot be written. "
        "With --csv or --jsonl the same command, given again, goes on where it was interrupted.",
    )
    parser.add_argument(
        "images", nargs="*", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP or DICOM file, or folder"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--csv", type=Path, metavar="FILE", help="append the results to a CSV file")
    output.add_argument("--jsonl", type=Path, metavar="FILE", help="append the results as JSON lines")
    parser.add_argument(
        "--artifact", type=Path, metavar="FILE", help="the model; by default the one beside this program"
    )
    parser.add_argument(
        "--selftest", action="store_true", help="check that this device computes as validated"
    )
    parser.add_argument(
        "--threads", type=_count, default=1, metavar="N", help="processor threads (default 1)"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError("expected a number from 1 to 1024")
    return int(text)


def _home() -> Path:
    """The folder of the zip this runs from; the working directory when it is no zip."""
    return next((above.parent for above in Path(__file__).absolute().parents if above.is_file()), Path.cwd())


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
        return Model(path, path_digest(path), open_artifact(path, threads))
    except ImportError as error:
        raise ArtifactError(f"{error.name or error} is not installed on this device") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    except (ArtifactError, RuntimeError) as error:
        raise ArtifactError(str(error)) from error


def _screen(names: Sequence[str], model: Model, results: Results | None) -> int:
    """Screen one file after the other; 1 when one of them gave no radiograph."""
    if results and results.repaired:
        _say(f"{results.path}: a line of {results.repaired} bytes was half-written and is removed")
    _say(_ROW.format("file", "probability", "decision", "ms", "warnings").rstrip())
    screened = skipped = failed = 0
    for path in find_images(names):
        record = _examine(path, model, results.done if results else frozenset())
        if record is None:
            skipped += 1
            continue
        _say(_row(record))
        if results:
            results.append(record)
        screened, failed = screened + (not record.error), failed + bool(record.error)
    _say(
        f"{screened} screened, {failed} gave no radiograph" + (f", {skipped} done before" if skipped else "")
    )
    _say(NOTICE)
    return 1 if failed else 0


def find_images(names: Sequence[str]) -> Iterator[Path]:
    """Every file that was named, each once; folders with all below them, sorted.

    From a folder come the files with an image's suffix, and those without any whose content is an
    image's: a DICOM file on a clinic's disk often has none. Hidden files are left out.

    Args:
        names: Files, folders, or patterns such as "*.dcm", which Windows passes on as they are.
    """
    seen: set[str] = set()
    for name in names:
        matches = [name] if os.path.lexists(name) or not glob.has_magic(name) else sorted(glob.glob(name))
        for path in map(Path, matches or [name]):
            for file in _below(path) if path.is_dir() else [path]:
                if (key := os.path.abspath(file)) not in seen:
                    seen.add(key)
                    yield file


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in (Path(place, name) for name in sorted(files) if not name.startswith(".")):
            if file.suffix.lower() in IMAGE_SUFFIXES or (not file.suffix and _begins_like_an_image(file)):
                yield file


def _begins_like_an_image(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            return image.kind_of(stream.read(132)) is not None
    except OSError:
        return False


def _examine(path: Path, model: Model, done: Set[tuple[str, str, str]]) -> ScreeningRecord | None:
    """One file's record; None when it is done already."""
    start = time.perf_counter()
    name, digest, error, warnings = _printable(os.path.abspath(path)), "", "", ""
    probability = math.nan
    try:
        content = image.read_bytes(path)
        digest = hashlib.sha256(content).hexdigest()
        if (name, digest, model.digest) in done:
            return None
        radiograph = image.decode(content)
        warnings = "; ".join(radiograph.warnings)
        probability = _ask(model, radiograph)
        if not math.isfinite(probability):
            error = "the model's answer is not a finite number"
    except image.ImageError as problem:
        error = _printable(str(problem))
    contract = model.predictor.contract
    return ScreeningRecord(
        file=name,
        sha256=digest,
        artifact=model.digest,
        probability=None if error else probability,
        decision=None if error else contract.labels[probability >= contract.threshold],
        threshold=contract.threshold,
        time_ms=round((time.perf_counter() - start) * 1000, 2),
        warnings=_printable(warnings),
        error=error,
        screened_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


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


def _row(record: ScreeningRecord) -> str:
    name = Path(record.file).name
    short = name if len(name) <= _FILE_WIDTH else f"...{name[3 - _FILE_WIDTH :]}"
    if record.probability is None:
        return _ROW.format(short, "-", "-", f"{record.time_ms:.1f}", f"NO RADIOGRAPH: {record.error}")
    shown = f"{record.probability:.4f}"
    return _ROW.format(short, shown, record.decision, f"{record.time_ms:.1f}", record.warnings).rstrip()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(code: int, message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return code
