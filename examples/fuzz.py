"""Feed every reader of a stranger's file with damaged files, for as long as you let it run.

    python examples/fuzz.py --out fuzz --inputs 10000 --seed 1

Input i of a seed is always the same bytes, so a run that was stopped goes on where it was, and any input can
be made again alone (`--only I`). Each goes to a process of its own kind that may die: a crash, a hang, more
memory than is allowed, an error that is not meant for people, and an answer that cannot be right are counted
and the input is kept. A third and more are damaged behind the container's own checks (checksums of PNG and
zip, JSON's grammar, protobuf's framing): how deep they got is counted too.
"""

from __future__ import annotations

import base64
import io
import json
import select
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from fuzz_inputs import KEPT, damaged, kept, make_seeds

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Content = bytes
Check = Callable[[Path], str]

PATIENCE_S = 30.0
"""How long one input may take on a machine that does other work too."""

MEMORY_MIB = 1024
"""What one input may take above what the reader holds when it is idle."""


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        suffix: Of the files.
        weight: How often it is chosen.
        read: Reads a file as the toolkit does; what is wrong with the answer, in words, or nothing.
        opens: Reads the container alone; raises where that is damaged.
    """

    suffix: str
    weight: int
    read: Check
    opens: Callable[[Content], object]


def _image(path: Path) -> str:
    from udacimed_edge.runtime import image

    pixels = image.load(path).pixels
    return "" if pixels.shape == (64, 64) and pixels.dtype == np.uint8 else f"{pixels.dtype}{pixels.shape}"


def _report(path: Path) -> str:
    from udacimed_edge.validation.report import read_report

    read_report(path)
    theirs, ours = (json.loads(text) for text in (path.read_text("utf-8"), kept("report.json")))
    return "" if theirs == ours else "a changed report was taken"


def _card(path: Path) -> str:
    from udacimed_edge.source.spec import read_spec

    card = read_spec(path)
    return "" if card.threshold is None or 0 < card.threshold < 1 else f"threshold {card.threshold}"


def _profile(path: Path) -> str:
    from udacimed_edge.targets.devices.profile import read_profile

    return "" if read_profile(path).budget.size_mib > 0 else "a budget below nothing"


def _predictions(path: Path) -> str:
    from udacimed_edge.validation.judging.external import read_predictions

    runs = read_predictions(path, 20).runs
    right = all(run.shape == (20,) and ((run >= 0) & (run <= 1)).all() for run in runs)
    return "" if right and runs else "answers that are no probabilities"


def _data(path: Path) -> str:
    from udacimed_edge.core.data import open_data

    data = open_data(str(path))
    data.sizes()
    split = data.read("test")
    return "" if set(np.unique(split.labels)) == {0, 1} else "labels of one class"


def _key(path: Path) -> str:
    from udacimed_edge.targets.bundle.signing import verify

    signed = path.with_name("signed")
    signed.write_bytes(zipfile.ZipFile(KEPT / "0.1.0.zip").read("android-phone-ort-int8/SHA256SUMS"))
    signature = path.with_name("signed.minisig")
    signature.write_bytes(kept("SHA256SUMS.minisig").encode())
    verify(signed, signature, path)
    same = path.read_text("utf-8").split()[-1] == (KEPT / "0.1.0.pub").read_text().split()[-1]
    return "" if same else "a changed key verified the signature"


def _model(path: Path) -> str:
    import torch

    from udacimed_edge.source.load import SourceOptions, load_source

    source = load_source(path, SourceOptions((0.5,), (0.5,), ("normal", "pneumonia"), 0.5))
    with torch.no_grad():
        logits = source.module(torch.full((1, 1, 64, 64), 100.0))
    return "" if logits.shape == (1, 2) and logits.isfinite().all() else f"answers {tuple(logits.shape)}"


def _artifact(path: Path) -> str:
    from udacimed_edge.runtime.reader import open_artifact

    predictor = open_artifact(path, 1)
    answers = predictor.predict(np.full((2, 64, 64), 100, np.uint8))
    finite = answers[np.isfinite(answers)]
    return "" if answers.shape == (2,) and ((finite >= 0) & (finite <= 1)).all() else f"answers {answers}"


def _bundle(path: Path) -> str:
    from udacimed_edge.workflow.verify import verify_bundle

    checks = verify_bundle(path, str(KEPT / "0.1.0.pub"))
    whole = all(check.outcome != "NOT OK" for check in checks)
    same = path.read_bytes() == (KEPT / "0.1.0.zip").read_bytes()
    return "a changed bundle verified" if whole and not same else ""


def _open_zip(content: Content) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if archive.testzip() is not None:
            raise ValueError("a checksum is wrong")


def _open_image(content: Content) -> None:
    from PIL import Image

    if content[128:132] == b"DICM":
        import pydicom

        pydicom.dcmread(io.BytesIO(content))
        return
    with Image.open(io.BytesIO(content)) as picture:
        picture.verify()


def _open_onnx(content: Content) -> None:
    import onnx

    onnx.ModelProto.FromString(content)


def _open_safetensors(content: Content) -> None:
    json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def _open_csv(content: Content) -> None:
    content.decode("utf-8").index("index")


def _open_key(content: Content) -> None:
    base64.b64decode(content.split()[-1], validate=True)


def _open_ort(content: Content) -> None:
    if content[4:8] != b"ORTM":
        raise ValueError("no ORT model")


KINDS = {
    "image": Kind(".png", 30, _image, _open_image),
    "report": Kind(".json", 8, _report, json.loads),
    "card": Kind(".json", 8, _card, json.loads),
    "profile": Kind(".toml", 6, _profile, lambda content: tomllib.loads(content.decode())),
    "predictions-csv": Kind(".csv", 8, _predictions, _open_csv),
    "predictions-npz": Kind(".npz", 8, _predictions, _open_zip),
    "data": Kind(".npz", 6, _data, _open_zip),
    "key": Kind(".pub", 4, _key, _open_key),
    "onnx": Kind(".onnx", 8, _model, _open_onnx),
    "pt2": Kind(".pt2", 4, _model, _open_zip),
    "pth": Kind(".pth", 4, _model, _open_zip),
    "safetensors": Kind(".safetensors", 3, _model, _open_safetensors),
    "ort": Kind(".ort", 5, _artifact, _open_ort),
    "bundle": Kind(".zip", 2, _bundle, _open_zip),
}


def _put(folder: Path, kind: str, content: Content) -> Path:
    """A file for one reader, in a folder of its own: a model would take the JSON beside it for its card."""
    path = folder / f"input-{kind}" / f"input{KINDS[kind].suffix}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


WEIGHTS = {kind: row.weight for kind, row in KINDS.items()}


def attempt(kind: str, path: Path) -> tuple[str, str]:
    """What became of one input, "refused", "taken", "wrong" or "defect", and why."""
    from udacimed_edge.core.errors import EdgeError
    from udacimed_edge.runtime.contract import ArtifactError
    from udacimed_edge.runtime.image import ImageError

    meant = {"image": ImageError, "ort": ArtifactError}.get(kind, EdgeError)
    try:
        problem = KINDS[kind].read(path)
    except meant as error:
        return "refused", str(error)[:200]
    except Exception as error:  # what a person would see as "itself failed"
        return "defect", f"{type(error).__name__}: {error}"[:200]
    return ("wrong", problem) if problem else ("taken", "")


def peak_mib(field: str = "VmHWM") -> float:
    """Resident memory of this process, at its peak by default."""
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def _serve() -> None:
    """The worker: a line with a kind and a path in, a line with the outcome out."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        kind, path = line.rstrip("\n").split("\t")
        Path("/proc/self/clear_refs").write_text(
            "5", "ascii"
        )  # the peak begins anew (proc_pid_clear_refs(5))
        idle, started = peak_mib("VmRSS"), time.process_time()
        outcome, why = attempt(kind, Path(path))
        told = {
            "outcome": outcome,
            "why": why,
            "mib": peak_mib() - idle,
            "seconds": time.process_time() - started,
        }
        answers.write(json.dumps(told) + "\n")
        answers.flush()


class Worker:
    """The process that reads; begun again whenever it died or was ended."""

    process: subprocess.Popen[str] | None = None

    def ask(self, kind: str, path: Path) -> dict[str, Any]:
        """What became of one input."""
        if self.process is None:
            command = [sys.executable, __file__, "--worker"]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{kind}\t{path}\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], 4 * PATIENCE_S)[0]:
            self.end()
            return {
                "outcome": "hang",
                "why": f"no answer within {4 * PATIENCE_S:g} s",
                "mib": 0,
                "seconds": 0,
            }
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process = None
            return {"outcome": "crash", "why": f"exit code {code}"}
        told: dict[str, Any] = json.loads(line)
        if told["seconds"] > PATIENCE_S:
            told |= {"outcome": "hang", "why": f"{told['seconds']:.0f} s of processor time"}
        elif told["mib"] > MEMORY_MIB:
            told |= {"outcome": "memory", "why": f"{told['mib']:.0f} MiB above idle"}
        return told

    def end(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def walk(folder: Path) -> dict[str, Any]:
    """Every reader on every file of a folder: what was no answer for people, processor time and memory."""
    problems, count = [], 0
    with tempfile.TemporaryDirectory(prefix="walk-") as place:
        sound = Path(place) / "seeds"
        make_seeds(sound)
        for kind in KINDS:  # so that all libraries are loaded
            attempt(kind, _put(Path(place), kind, (sound / kind / "0").read_bytes()))
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        idle, started = peak_mib("VmRSS"), time.process_time()
        for file in sorted(folder.iterdir()):
            for kind in KINDS:
                outcome, why = attempt(kind, _put(Path(place), kind, file.read_bytes()))
                count += 1
                if outcome in BAD:
                    problems.append(f"{file.name} as {kind}: {outcome}: {why}")
    spent = {"seconds": time.process_time() - started, "mib": peak_mib() - idle}
    return {"readings": count, "problems": problems, **spent}


BAD = ("crash", "hang", "memory", "defect", "wrong")


def run(out: Path, inputs: int, seed: int) -> Counter[str]:
    """Go on to so many inputs, and keep the count after every hundred."""
    seeds, state = out / "seeds", out / f"state-{seed}.json"
    if not seeds.exists():
        make_seeds(seeds)
    kept = json.loads(state.read_text()) if state.exists() else {"next": 0, "counts": {}}
    counts, worker = Counter[str](kept["counts"]), Worker()
    try:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
            for number in range(kept["next"], inputs):
                kind, content = damaged(seeds, number, seed, WEIGHTS)
                path = _put(Path(place), kind, content)
                told = worker.ask(kind, path)
                counts[f"{kind} {told['outcome']}"] += 1
                counts[f"{kind} {'behind' if _is_open(kind, content) else 'at'} the container"] += 1
                if told["outcome"] in BAD:
                    (out / "found").mkdir(exist_ok=True)
                    (out / "found" / f"{seed}-{number}-{told['outcome']}{path.suffix}").write_bytes(content)
                    click.echo(f"{number} {kind}: {told['outcome']}: {told['why']}")
                if number % 100 == 99 or number == inputs - 1:
                    state.write_text(json.dumps({"next": number + 1, "counts": counts}))
    finally:
        worker.end()
    return counts


def _is_open(kind: str, content: Content) -> bool:
    try:
        KINDS[kind].opens(content)
    except Exception:  # whatever a library says of a damaged container
        return False
    return True


def table(counts: Counter[str]) -> str:
    """The counts as a Markdown table."""
    columns = ["behind the container", "refused", "taken", *BAD]
    lines = ["| kind | inputs | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for kind in [*KINDS, ""]:
        found = [sum(counts[f"{k} {c}"] for k in ([kind] if kind else KINDS)) for c in columns]
        lines.append(f"| {kind or 'all'} | {sum(found[1:])} | " + " | ".join(map(str, found)) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("fuzz"), show_default=True)
@click.option("--inputs", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--only", type=int, help="Make this one input again and say what becomes of it here.")
@click.option(
    "--walk", "folder", type=click.Path(path_type=Path), help="Every reader on every file of a folder."
)
@click.option("--worker", is_flag=True, hidden=True)
def main(out: Path, inputs: int, seed: int, only: int | None, folder: Path | None, worker: bool) -> None:
    """Damage, read, count."""
    warnings.simplefilter("ignore")
    if worker:
        _serve()
    elif folder is not None:
        click.echo(json.dumps(walk(folder)))
    elif only is not None:
        kind, content = damaged(out / "seeds", only, seed, WEIGHTS)
        path = _put(out, kind, content)
        click.echo(f"{kind}, {path}: {': '.join(attempt(kind, path))}")
    else:
        counts = run(out, inputs, seed)
        click.echo(table(counts))
        sys.exit(any(counts[f"{kind} {bad}"] for kind in KINDS for bad in BAD))


if __name__ == "__main__":
    main()
