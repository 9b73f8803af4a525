"""Kill convert, package and screen -9 at many moments, and look at what is left.

    python examples/kill_test.py --moments 50

Nothing half-written may stand where results stand; the next run must remove what the killed one left and
end well; a table of screened images must hold each image once, on whole lines. Moments are spread evenly
over the time that an undisturbed run takes. It works on a student model and synthetic images.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

SCREEN = "import sys; from udacimed_edge.runtime.screen import main; sys.exit(main(sys.argv[1:]))"
IMAGES = 200
PROFILE = "android-phone"
"""A device whose bundle carries no wheels, so that nothing is fetched."""


@dataclass(frozen=True)
class Victim:
    """A command that is killed.

    Attributes:
        words: Its arguments after the interpreter.
        out: What it writes; removed before the first run and never between the others.
        half: What is half-written there, in words.
    """

    words: Sequence[str]
    out: Path
    half: Callable[[Path], list[str]]


def half_artifacts(out: Path) -> list[str]:
    """Folders of artifacts that are not whole: a report that is not of these bytes, or no card."""
    from udacimed_edge.core.artifact import locate
    from udacimed_edge.core.errors import EdgeError
    from udacimed_edge.core.files import path_digest
    from udacimed_edge.validation.report import read_report

    problems = []
    for folder in (f for f in _shown(out) if f.is_dir()):
        try:
            whole = read_report(folder / "report.json").artifact.digest == path_digest(locate(folder))
            if not whole or not (folder / "model-card.md").is_file():
                problems.append(f"{folder} is not whole")
        except EdgeError as error:
            problems.append(str(error))
    return problems


def half_bundles(out: Path) -> list[str]:
    """Bundles whose sums do not hold, and zips that do not open."""
    import zipfile

    from udacimed_edge.core.files import sha256_file

    problems = []
    for entry in _shown(out):
        if entry.is_dir():
            for line in (entry / "SHA256SUMS").read_text().splitlines():
                digest, _, name = line.partition("  ")
                if sha256_file(entry / name) != digest:
                    problems.append(f"{entry / name} is not what SHA256SUMS says")
        elif zipfile.ZipFile(entry).testzip() is not None:
            problems.append(f"{entry} is damaged")
    return problems


def half_rows(table: Path) -> list[str]:
    """Lines of a table that hold another number of cells than its head, but for a last one without an end."""
    if not table.exists():
        return []
    rows = list(csv.reader(table.read_bytes().decode().rpartition("\n")[0].splitlines()))
    return [f"line {i} has {len(row)} cells" for i, row in enumerate(rows, 1) if len(row) != len(rows[0])]


def _shown(out: Path) -> list[Path]:
    return [p for p in out.iterdir() if not p.name.startswith(".")] if out.is_dir() else []


def victims(place: Path) -> dict[str, Victim]:
    """The three commands, with what they need made before."""
    from PIL import Image

    from udacimed_edge.core.data import open_data

    edge = ["-m", "udacimed_edge"]
    model = ["--model", "student", "--target", "ort", "--precision", "int8", "--data", "synthetic"]
    _run([*edge, "convert", *model, "--out", str(place / "made")])
    artifact = place / "made" / "ort-int8"
    (place / "images").mkdir()
    for number, pixels in enumerate(open_data("synthetic").read("test").images[:IMAGES]):
        Image.fromarray(pixels).save(place / "images" / f"{number:03}.png")
    table = place / "rows.csv"
    package = ["package", str(artifact), "--target", PROFILE, "--rehearsal", "--out", str(place / "bundles")]
    screen = ["-c", SCREEN, str(place / "images"), "--artifact", str(artifact / "model.ort")]
    return {
        "convert": Victim(
            [*edge, "convert", *model, "--out", str(place / "out")], place / "out", half_artifacts
        ),
        "package": Victim([*edge, *package], place / "bundles", half_bundles),
        "screen": Victim([*screen, "--csv", str(table)], table, half_rows),
    }


def _run(words: Sequence[str]) -> float:
    """Run a command to its end: how many seconds it took."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(words)}\n{done.stderr}")
    return time.monotonic() - started


def kill_at(victim: Victim, moment_s: float) -> bool:
    """Start a command and kill it -9 after so many seconds; False where it had ended before."""
    process = subprocess.Popen(
        [sys.executable, *victim.words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(moment_s)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() == -9


def leftovers(victim: Victim, begun: int) -> list[str]:
    """What the run after a killed one must have made good."""
    if victim.out.is_dir():
        return [f"{p} is left" for p in victim.out.iterdir() if p.name.startswith(".") or p.name == "logs"]
    names = [row["file"] for row in csv.DictReader(victim.out.read_text().splitlines())]
    return [] if len(names) == len(set(names)) == begun else [f"{len(names)} rows, {len(set(names))} images"]


@click.command()
@click.option("--moments", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--what", type=click.Choice(["convert", "package", "screen"]), multiple=True)
@click.option("--finish-every", type=click.IntRange(min=1), default=10, show_default=True)
def main(moments: int, what: Sequence[str], finish_every: int) -> None:
    """Kill, look, and count."""
    bad = 0
    with tempfile.TemporaryDirectory(prefix="kill-test-") as folder:
        for name, victim in victims(Path(folder)).items():
            if what and name not in what:
                continue
            whole_s = _run(victim.words)
            killed, problems = 0, list[str]()
            for number in range(moments):
                if name == "screen" and number % finish_every == 0:
                    victim.out.unlink()
                killed += kill_at(victim, whole_s * (number + 0.5) / moments)
                problems += victim.half(victim.out)
                if number % finish_every == finish_every - 1 or number == moments - 1:
                    _run(victim.words)
                    problems += victim.half(victim.out) + leftovers(victim, IMAGES)
            bad += len(problems)
            click.echo(f"{name}: {killed} of {moments} killed before its end, {len(problems)} problems")
            for problem in problems:
                click.echo(f"  {problem}")
            shutil.rmtree(victim.out, ignore_errors=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
