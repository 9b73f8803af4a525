"""The command a clinic runs."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from udacimed_edge.core.data import open_data
from udacimed_edge.core.files import path_digest
from udacimed_edge.runtime import results as results_module
from udacimed_edge.runtime import screen
from udacimed_edge.runtime.contract import ArtifactError, Contract, Predictor
from udacimed_edge.runtime.results import NOTICE

IMAGES = open_data("synthetic").read("test").images[:6]


def brightness(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A probability that a test can compute: the mean gray level over 255."""
    return images.astype(np.float64).mean(axis=(1, 2)) / 255


THRESHOLD = float(np.median(brightness(IMAGES)))


class Clinic:
    """A folder with an artifact, a self-test and images, and a way to run the command in it.

    Args:
        folder: An empty one.
        out: Takes what the command printed.
    """

    def __init__(self, folder: Path, out: Callable[[], Any]) -> None:
        self.folder, self._out = folder, out
        self.images = folder / "images"
        self.images.mkdir()
        self.artifact = folder / "model.ort"
        self.artifact.write_bytes(b"weights")
        for number, pixels in enumerate(IMAGES):
            Image.fromarray(pixels).save(self.images / f"{number:03}.png")

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of one run."""
        try:
            code = screen.main([str(a) for a in arguments], home=self.folder)
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = self._out()
        return code, printed.out, printed.err

    def vectors(self, **changes: Any) -> None:
        """Write a self-test that passes, but for the changes."""
        folder = self.folder / "selftest"
        folder.mkdir(exist_ok=True)
        for number, pixels in enumerate(IMAGES):
            Image.fromarray(pixels).save(folder / f"{number:03}.png")
        content = {
            "artifact_sha256": path_digest(self.artifact),
            "tolerance": 0.001,
            "images": [f"{number:03}.png" for number in range(len(IMAGES))],
            "probabilities": brightness(IMAGES).tolist(),
        }
        (folder / "vectors.json").write_text(json.dumps({**content, **changes}), encoding="utf-8")


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Clinic:
    """A clinic whose artifact answers with the brightness and decides at their median."""
    contract = Contract("ort", "int8", THRESHOLD, "a test", "small", "0" * 64, None, "0")
    predictor = Predictor(contract, brightness, 1, "a test's runtime")
    monkeypatch.setattr(screen, "open_artifact", lambda path, threads: predictor)
    return Clinic(tmp_path, capsys.readouterr)


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_table_names_what_a_clinic_needs(clinic: Clinic) -> None:
    """Each image has its row: file, probability, decision at the frozen threshold, time, warnings."""
    code, out, _ = clinic.run(clinic.images)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line[:3].isdigit()]
    expected = brightness(IMAGES)
    assert [row[0] for row in rows] == [f"{n:03}.png" for n in range(6)]
    assert [row[1] for row in rows] == [f"{p:.4f}" for p in expected]
    assert [row[2] for row in rows] == ["pneumonia" if p >= THRESHOLD else "normal" for p in expected]
    assert {row[2] for row in rows} == {"pneumonia", "normal"}
    assert f"threshold {THRESHOLD:.4f} (a test)" in out
    assert "6 screened, 0 gave no radiograph" in out


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_every_output_says_what_it_is_not(clinic: Clinic, option: str) -> None:
    """Screen, help, CSV and JSON lines say that this is no diagnosis; in a file every line does."""
    file = clinic.folder / "results"
    _, out, _ = clinic.run(clinic.images, option, file)
    assert out.count(NOTICE) == 2
    assert "not a diagnosis" in NOTICE
    rows: list[Any] = csv_rows(file) if option == "--csv" else json_lines(file)
    assert [row["notice"] for row in rows] == [NOTICE] * 6
    assert NOTICE in " ".join(clinic.run("--help")[1].split())


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_a_bad_file_has_its_line_and_the_batch_goes_on(clinic: Clinic, option: str) -> None:
    """A file that is no image gets a reason, those after it their answers, and the exit code is 1."""
    (clinic.images / "001a.png").write_text("no image", encoding="utf-8")
    file = clinic.folder / "results"
    code, out, _ = clinic.run(clinic.images, clinic.folder / "missing.png", option, file)
    assert code == 1
    assert "6 screened, 2 gave no radiograph" in out
    assert "NO RADIOGRAPH: it is not a PNG, JPEG, TIFF, BMP or DICOM image" in out
    rows: list[Any] = csv_rows(file) if option == "--csv" else json_lines(file)
    assert [bool(row["error"]) for row in rows] == [False, False, True, False, False, False, False, True]
    assert rows[2]["probability"] in (None, "")
    assert rows[2]["decision"] in (None, "")


def test_a_record_names_file_content_and_artifact(clinic: Clinic) -> None:
    """A line can be traced: the file's path and digest, the artifact's digest, threshold, time and clock."""
    file = clinic.folder / "results.jsonl"
    clinic.run(clinic.images / "000.png", "--jsonl", file)
    (row,) = json_lines(file)
    path = clinic.images / "000.png"
    assert row["file"] == str(path)
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert row["artifact"] == path_digest(clinic.artifact)
    assert row["probability"] == pytest.approx(brightness(IMAGES[:1])[0], abs=1e-12)
    assert row["threshold"] == THRESHOLD
    assert row["time_ms"] > 0
    assert row["screened_at"].endswith("+00:00")


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_a_rerun_skips_what_is_done(clinic: Clinic, option: str) -> None:
    """A second run adds nothing; a changed file, another artifact and a failed file are screened again."""
    file = clinic.folder / "results"
    (clinic.images / "bad.png").write_text("no image", encoding="utf-8")

    def lines() -> int:
        return len(file.read_text(encoding="utf-8").splitlines()) - (option == "--csv")

    clinic.run(clinic.images, option, file)
    assert lines() == 7
    code, out, _ = clinic.run(clinic.images, option, file)
    assert (code, lines()) == (1, 8), "the failed file is tried again"
    assert "0 screened, 1 gave no radiograph, 6 done before" in out
    Image.fromarray(IMAGES[5]).save(clinic.images / "000.png")
    (clinic.images / "bad.png").unlink()
    assert "1 screened, 0 gave no radiograph, 5 done before" in clinic.run(clinic.images, option, file)[1]
    clinic.artifact.write_bytes(b"other weights")
    assert "6 screened, 0 gave no radiograph" in clinic.run(clinic.images, option, file)[1]


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_a_power_cut_costs_at_most_the_image_at_work(clinic: Clinic, option: str) -> None:
    """Cut off at any byte, the file is repaired, and a rerun neither loses nor doubles a line."""
    file = clinic.folder / "results"
    clinic.run(clinic.images, option, file)
    whole = file.read_bytes()
    for cut in [0, 1, 20, *range(30, len(whole), 97), len(whole) - 1, len(whole)]:
        for torn in (b"", bytes(50)):  # a file system may leave zeros where data had not reached the disk
            file.write_bytes(whole[:cut] + torn)
            assert clinic.run(clinic.images, option, file)[0] == 0
            rows: list[Any] = csv_rows(file) if option == "--csv" else json_lines(file)
            assert [Path(row["file"]).name for row in rows] == [f"{n:03}.png" for n in range(6)]


def test_each_line_is_on_disk_before_the_next_image(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an image is read, the lines of all before it have been synchronised to the disk."""
    file = clinic.folder / "results.jsonl"
    events: list[str] = []
    fsync, read = results_module.os.fsync, screen.image.read_bytes

    def synchronise(handle: int) -> None:
        events.append(f"synchronised {len(file.read_bytes().splitlines())}")
        fsync(handle)

    monkeypatch.setattr(results_module.os, "fsync", synchronise)
    monkeypatch.setattr(screen.image, "read_bytes", lambda path: (events.append("read"), read(path))[1])
    clinic.run(clinic.images, "--jsonl", file)
    reads = [number for number, event in enumerate(events) if event == "read"]
    assert [events[number - 1] for number in reads[1:]] == [f"synchronised {n}" for n in range(1, 6)]


def test_a_stopped_batch_goes_on(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130 and a line; the same command then does the rest."""
    file = clinic.folder / "results.csv"
    read = screen.image.read_bytes

    def interrupted(path: Path) -> bytes:
        if path.name == "003.png":
            raise KeyboardInterrupt
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(screen.image, "read_bytes", interrupted)
        code, _, err = clinic.run(clinic.images, "--csv", file)
    assert (code, err) == (130, "stopped; the same command goes on with what is left\n")
    assert "3 screened, 0 gave no radiograph, 3 done before" in clinic.run(clinic.images, "--csv", file)[1]


def test_a_full_disk_ends_the_batch(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that cannot be written end the run with 5 and the reason."""

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    file = clinic.folder / "results.jsonl"
    file.touch()
    monkeypatch.setattr(results_module.os, "fsync", full)
    code, _, err = clinic.run(clinic.images, "--jsonl", file)
    assert (code, err) == (5, f"{file} cannot be written: No space left on device\n")


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_another_file_is_not_overwritten(clinic: Clinic, option: str) -> None:
    """A file with other content, named by mistake for the results, stays as it is."""
    victim = clinic.images / "000.png"
    before = victim.read_bytes()
    code, _, err = clinic.run(clinic.images, option, victim)
    assert code == 2
    assert "name another file" in err
    assert victim.read_bytes() == before


def test_a_file_name_cannot_forge_a_line(clinic: Clinic) -> None:
    """A line break or a terminal's control code in a file name is written escaped."""
    name = "x\n999.png  0.0001  normal\x1b[2J.png"
    (clinic.images / "000.png").rename(clinic.images / name)
    file = clinic.folder / "results.csv"
    _, out, _ = clinic.run(clinic.images, "--csv", file)
    assert "\x1b" not in out
    assert len(file.read_bytes().splitlines()) == 7
    assert not [line for line in out.splitlines() if line.startswith("999")]


def test_files_are_found_once(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are searched below, names without a suffix by content; hidden and other files are left out."""
    below = clinic.images / "ward"
    below.mkdir()
    for name in ("IM0001", "B.JPG", "._c.png", "notes.txt", "README"):
        (below / name).write_bytes(b"BM and more" if name == "IM0001" else b"text")
    monkeypatch.chdir(clinic.images)
    found = list(screen.find_images(["00[01].png", "000.png", ".", "none*.png"]))
    assert [path.as_posix() for path in found] == [
        "000.png", "001.png", "002.png", "003.png", "004.png", "005.png", "ward/B.JPG", "ward/IM0001",
        "none*.png",
    ]  # fmt: skip


def test_an_answer_that_is_no_number_is_no_decision(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN from the artifact becomes an error, not "normal"."""
    contract = Contract("ort", "int8", THRESHOLD, "a test", "small", "0" * 64, None, "0")
    broken = Predictor(contract, lambda images: np.full(len(images), np.nan), 1, "a test")
    monkeypatch.setattr(screen, "open_artifact", lambda path, threads: broken)
    code, out, _ = clinic.run(clinic.images / "000.png")
    assert code == 1
    assert "NO RADIOGRAPH: the model's answer is not a finite number" in out


@pytest.mark.parametrize(
    "arguments", [[], ["--threads", "0", "x.png"], ["--csv", "a", "--jsonl", "b", "x.png"], ["--nonsense"]]
)
def test_a_wrong_command_line_ends_with_2(clinic: Clinic, arguments: list[str]) -> None:
    """What cannot be understood is refused before anything is opened."""
    assert clinic.run(*arguments)[0] == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ArtifactError("model.ort is damaged"), "model.ort is damaged"),
        (ModuleNotFoundError("No module", name="onnxruntime"), "onnxruntime is not installed on this device"),
    ],
)
def test_an_artifact_that_cannot_be_used_ends_with_3(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """A damaged artifact and a missing runtime are named."""

    def refuse(path: Path, threads: int) -> Predictor:
        raise error

    monkeypatch.setattr(screen, "open_artifact", refuse)
    code, _, err = clinic.run(clinic.images)
    assert (code, err) == (3, f"the artifact cannot be used: {message}\n")


def test_the_artifact_lies_beside_the_program(clinic: Clinic) -> None:
    """None or two beside the program end with 3, unless one is named."""
    (clinic.folder / "model.tflite").write_bytes(b"")
    assert clinic.run(clinic.images)[0] == 3
    assert clinic.run(clinic.images, "--artifact", clinic.artifact)[0] == 0
    (clinic.folder / "model.tflite").unlink()
    clinic.artifact.unlink()
    code, _, err = clinic.run(clinic.images)
    assert code == 3
    assert "no model in" in err
    assert clinic.run(clinic.images, "--artifact", clinic.artifact)[0] == 3


@pytest.mark.parametrize("files", [["m.ort"], ["m.xml", "m.bin"], ["m.mlpackage/a", "m.mlpackage/b/c"]])
def test_the_digest_is_that_of_the_reports(tmp_path: Path, files: list[str]) -> None:
    """The device names an artifact by the digest that its report has."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 99)
    artifact = tmp_path / files[0].split("/")[0]
    assert screen.path_digest(artifact) == path_digest(artifact)
    digests = {name: hashlib.sha256(name.encode() * 99).hexdigest() for name in sorted(files)}
    listed = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    expected = digests[files[0]] if len(files) == 1 else hashlib.sha256(listed.encode()).hexdigest()
    assert screen.path_digest(artifact) == expected


def test_a_device_that_computes_as_validated_passes(clinic: Clinic) -> None:
    """The self-test ends with 0 and its figures, and may be followed by a batch."""
    clinic.vectors()
    code, out, _ = clinic.run("--selftest")
    assert code == 0
    assert "self-test passed: 6 images, largest difference 0 (allowed 0.001), 0 decisions changed" in out
    assert NOTICE in out
    assert "6 screened" in clinic.run("--selftest", clinic.images)[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": (brightness(IMAGES) + 0.01).tolist()}, "largest difference 0.01 (allowed 0.001)"),
        ({"probabilities": [0.1] * 6, "tolerance": 0.9}, "decisions changed"),
        ({"artifact_sha256": "0" * 64}, "belong to another artifact"),
        ({"images": ["none.png"] * 6}, "there is no such file"),
        ({"images": []}, "0 images and 6 probabilities"),
        ({"probabilities": [None] * 6}, "outside 0..1"),
        ({"tolerance": float("nan")}, "outside 0..1"),
        ({"tolerance": "wide"}, "are damaged"),
    ],
)
def test_a_failed_selftest_ends_with_4(clinic: Clinic, changes: dict[str, Any], message: str) -> None:
    """A difference, a changed decision, foreign or damaged vectors fail, and nothing is screened after."""
    clinic.vectors(**changes)
    code, out, _ = clinic.run("--selftest", clinic.images)
    assert code == 4
    assert "SELF-TEST FAILED" in out
    assert message in out
    assert "screened" not in out


def test_a_runtime_that_fails_is_no_answer(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime's own exception ends a batch with 3 and a self-test with 4."""

    def fail(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        raise RuntimeError("out of memory")

    contract = Contract("ort", "int8", THRESHOLD, "a test", "small", "0" * 64, None, "0")
    monkeypatch.setattr(
        screen, "open_artifact", lambda path, threads: Predictor(contract, fail, 1, "a test's runtime")
    )
    clinic.vectors()
    assert clinic.run("--selftest")[0] == 4
    code, _, err = clinic.run(clinic.images)
    assert (code, err) == (3, "the artifact cannot be used: it failed while computing: out of memory\n")


def test_a_missing_selftest_is_a_failed_one(clinic: Clinic) -> None:
    """Without vectors nothing was shown."""
    assert clinic.run("--selftest")[0] == 4
