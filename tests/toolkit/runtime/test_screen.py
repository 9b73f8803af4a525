"""The command a clinic runs."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
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
from udacimed_edge.runtime.results import NOTICE, Results, ResultsError
from udacimed_edge.runtime.search import Search, find_images

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
    rows = [line.split() for line in out.splitlines() if line.startswith("     0.")]
    expected = brightness(IMAGES)
    assert [row[0] for row in rows] == [f"{p:.4f}" for p in expected]
    assert [row[1] for row in rows] == ["pneumonia" if p >= THRESHOLD else "normal" for p in expected]
    assert [row[3] for row in rows] == [str(clinic.images / f"{n:03}.png") for n in range(6)]
    assert {row[1] for row in rows} == {"pneumonia", "normal"}
    assert f'calls "pneumonia" what has a probability of {THRESHOLD:.4f} or more' in out
    assert "\n6 files: 3 pneumonia, 3 normal, 0 unreadable\n" in out


@pytest.mark.parametrize(
    ("probability", "decision"), [(THRESHOLD, "pneumonia"), (float(np.nextafter(THRESHOLD, 0)), "normal")]
)
def test_the_threshold_itself_is_pneumonia(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, probability: float, decision: str
) -> None:
    """A probability equal to the threshold is called pneumonia, as in validation; the next lower is not."""
    contract = Contract("ort", "int8", THRESHOLD, "a test", "small", "0" * 64, None, "0")
    predictor = Predictor(contract, lambda images: np.full(len(images), probability), 1, "a test's runtime")
    monkeypatch.setattr(screen, "open_artifact", lambda path, threads: predictor)
    code, _, _ = clinic.run(clinic.images / "000.png", "--jsonl", clinic.folder / "results")
    assert code == 0
    assert [row["decision"] for row in json_lines(clinic.folder / "results")] == [decision]


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
    assert "8 files: 3 pneumonia, 3 normal, 2 unreadable" in out
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
    assert (code, lines()) == (1, 7), "the failed file is tried again, and its line is there already"
    assert "7 files: 3 pneumonia, 3 normal, 1 unreadable (6 done before)" in out
    Image.fromarray(255 - IMAGES[5]).save(clinic.images / "000.png")
    (clinic.images / "bad.png").write_bytes((clinic.images / "001.png").read_bytes() + b"other")
    out = clinic.run(clinic.images, option, file)[1]
    assert "0 unreadable (5 done before)" in out
    assert lines() == 9
    clinic.artifact.write_bytes(b"other weights")
    assert "0 unreadable\n" in clinic.run(clinic.images, option, file)[1]
    assert lines() == 16


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
    assert (
        "6 files: 3 pneumonia, 3 normal, 0 unreadable (3 done before)"
        in (clinic.run(clinic.images, "--csv", file)[1])
    )


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
    assert not [line for line in out.splitlines() if line.startswith(("999", "0.0001"))]


def test_files_are_found_once(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are searched below, odd names by content; hidden files are left out, others are counted."""
    below = clinic.images / "ward"
    below.mkdir()
    for name in ("IM0001", "1.2.840.7", "B.JPG", "c.heic", "._c.png", "notes.txt", "README", "1.2.9"):
        (below / name).write_bytes(b"BM and more" if name in ("IM0001", "1.2.840.7") else b"text")
    (clinic.images / "empty").mkdir()
    monkeypatch.chdir(clinic.images)
    search = Search()
    found = list(find_images(["00[01].png", "000.png", ".", "none*.png", "empty"], search))
    assert [path.as_posix() for path in found] == [
        "000.png", "001.png", "002.png", "003.png", "004.png", "005.png", "ward/1.2.840.7", "ward/B.JPG",
        "ward/IM0001", "ward/c.heic", "none*.png",
    ]  # fmt: skip
    assert search.passed_over == {".txt": 1, "": 1, ".9": 1}
    assert search.empty == ["empty"]


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
    assert "6 files" in clinic.run("--selftest", clinic.images)[1]


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
    assert " files: " not in out


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


def test_a_folder_without_images_is_no_success(clinic: Clinic) -> None:
    """An empty folder is named and ends with 1, also beside one with images."""
    empty = clinic.folder / "empty"
    empty.mkdir()
    for names in ([empty], [clinic.images, empty]):
        code, out, _ = clinic.run(*names)
        assert code == 1
        assert f"NO IMAGE in the folder {empty}" in out


def test_pictures_that_are_not_read_are_named(clinic: Clinic) -> None:
    """A phone's or browser's picture in a folder is counted, named with the way out, and ends with 1."""
    (clinic.images / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    Image.fromarray(IMAGES[0]).save(clinic.images / "b.gif")
    Image.fromarray(IMAGES[0]).save(clinic.images / "c.webp")
    (clinic.images / "report.txt").write_text("text", encoding="utf-8")
    code, out, _ = clinic.run(clinic.images)
    assert code == 1
    for name, kind in (("a.heic", "HEIC"), ("b.gif", "GIF"), ("c.webp", "WebP")):
        assert f"{name}  NO RADIOGRAPH: it is a {kind} file, which is not read: save it as PNG" in out
    assert "9 files: 3 pneumonia, 3 normal, 3 unreadable" in out
    assert "1 other files were passed over: .txt 1" in out


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_a_renamed_folder_is_not_computed_again(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Known content under a new path gets a row of its own with the known answer, and nothing is computed."""
    file = clinic.folder / "results"
    clinic.run(clinic.images, option, file)
    moved = clinic.images.rename(clinic.folder / "moved")
    with monkeypatch.context() as patch:
        patch.setattr(screen.image, "decode", lambda content: pytest.fail("decoded again"))
        code, out, _ = clinic.run(moved, option, file)
    assert code == 0
    assert "(6 copied from a file of the same content)" in out
    rows: list[Any] = csv_rows(file) if option == "--csv" else json_lines(file)
    assert [Path(row["file"]).parent.name for row in rows] == ["images"] * 6 + ["moved"] * 6
    for before, after in zip(rows[:6], rows[6:], strict=True):
        for name in ("probability", "decision", "warnings", "threshold", "sha256", "artifact"):
            assert before[name] == after[name]


def test_two_children_may_have_the_same_name_or_the_same_file(clinic: Clinic) -> None:
    """Each file of one name in two folders is shown with its folder; equal files have a row each."""
    for ward in ("ward 1", "ward 2"):
        (clinic.folder / "all" / ward).mkdir(parents=True)
        Image.fromarray(IMAGES[0]).save(clinic.folder / "all" / ward / "1.png")
    _, out, _ = clinic.run(clinic.folder / "all", "--csv", clinic.folder / "results.csv")
    for ward in ("ward 1", "ward 2"):
        assert str(Path("all", ward, "1.png")) in out
    assert len(csv_rows(clinic.folder / "results.csv")) == 2


def test_the_answer_comes_first_and_the_path_last(clinic: Clinic) -> None:
    """The columns of a results file are in the order in which people read them."""
    file = clinic.folder / "results.csv"
    clinic.run(clinic.images, "--csv", file)
    assert file.read_text(encoding="utf-8").splitlines()[0] == (
        "probability,decision,error,warnings,threshold,time_ms,screened_at,notice,file,sha256,artifact"
    )


def test_what_was_just_screened_is_known(clinic: Clinic) -> None:
    """Of two files with one content, in one run, the second has the first's answer."""
    folder = clinic.folder / "twice"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(clinic.images / "000.png", folder / name)
    _, out, _ = clinic.run(folder, "--jsonl", clinic.folder / "results")
    assert "(1 copied from a file of the same content)" in out
    first, second = json_lines(clinic.folder / "results")
    assert (first["probability"], Path(second["file"]).name) == (second["probability"], "b.png")


def test_lines_of_version_0_1_0_are_gone_on_with(tmp_path: Path) -> None:
    """A JSON lines file that begins as the first version wrote it is taken, and nothing of it is lost."""
    line = '{"file": "a.png", "sha256": "0", "artifact": "1"}\n'
    (tmp_path / "results").write_text(line)
    Results(tmp_path / "results", "jsonl").close()
    assert (tmp_path / "results").read_text() == line


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_line_of_something_else_is_not_overwritten(tmp_path: Path, form: Any) -> None:
    """A file without a line's end that does not begin like results is refused, and stays as it is."""
    (tmp_path / "notes").write_text("to do: call the radiologist")
    with pytest.raises(ResultsError, match="name another file"):
        Results(tmp_path / "notes", form)
    assert (tmp_path / "notes").read_text() == "to do: call the radiologist"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such call and needs none")
def test_the_name_of_a_new_file_survives_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is put on disk when the file is made, and the file with every line."""
    synced: list[bool] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    Results(tmp_path / "results.csv", "csv").close()
    assert synced == [False, True]


OLD_HEADER = "file,sha256,artifact,probability,decision,threshold,time_ms,warnings,error,screened_at,notice\n"


def test_a_results_file_of_the_first_version_is_continued(clinic: Clinic) -> None:
    """A CSV file of 0.1.0 keeps its header and order of columns, and its images count as done."""
    path, file = clinic.images / "000.png", clinic.folder / "results.csv"
    known = f"{path},{hashlib.sha256(path.read_bytes()).hexdigest()},{path_digest(clinic.artifact)}"
    first = f'{OLD_HEADER}{known},0.75,pneumonia,{THRESHOLD},1.5,,,2026-11-01T00:00:00+00:00,"{NOTICE}"\n'
    file.write_text(first, encoding="utf-8")
    assert "(1 done before)" in clinic.run(clinic.images, "--csv", file)[1]
    assert file.read_text(encoding="utf-8").startswith(first)
    rows = csv_rows(file)
    assert [Path(row["file"]).name for row in rows] == [f"{n:03}.png" for n in range(6)]
    assert {row["notice"] for row in rows} == {NOTICE}


@pytest.mark.parametrize("comma", [True, False])
def test_a_spreadsheet_opens_its_variant(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, comma: bool
) -> None:
    """With --excel the file has a byte order mark, and a semicolon where numbers have a decimal comma."""
    sign, separator = (",", ";") if comma else (".", ",")
    monkeypatch.setattr(results_module.locale, "localeconv", lambda: {"decimal_point": sign})
    file = clinic.folder / "results.csv"
    clinic.run(clinic.images, "--csv", file, "--excel")
    clinic.run(clinic.images, "--csv", file)  # goes on as the file began
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(f"\ufeffprobability{separator}decision{separator}")
    rows = list(csv.DictReader([lines[0][1:], *lines[1:]], delimiter=separator))
    assert [float(row["probability"].replace(sign, ".")) for row in rows] == pytest.approx(brightness(IMAGES))
    assert all(sign in row["probability"] for row in rows)


def test_libreoffice_shows_columns(clinic: Clinic) -> None:
    """LibreOffice, where it is installed, finds each column of both variants."""
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("LibreOffice is not installed (apt-get install libreoffice-calc)")
    file = clinic.folder / "results.csv"
    clinic.run(clinic.images, "--csv", file)
    out = clinic.folder / "out"
    command = [office, f"-env:UserInstallation=file://{clinic.folder}/office", "--headless", "--convert-to"]
    subprocess.run([*command, "ods", "--outdir", out, file], check=True, capture_output=True, timeout=120)
    content = zipfile.ZipFile(out / "results.ods").read("content.xml").decode()
    assert 'office:value-type="float"' in content
    assert "<text:p>probability</text:p>" in content


@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
@pytest.mark.parametrize("name", ["/dev/full", "/dev/zero", "pipe", "folder"])
def test_results_go_into_a_regular_file_or_nowhere(clinic: Clinic, option: str, name: str) -> None:
    """A device, a pipe and a folder are refused at once."""
    place = Path(name) if name.startswith("/") else clinic.folder / name
    if name == "folder":
        place.mkdir()
    elif name == "pipe" and hasattr(os, "mkfifo"):
        os.mkfifo(place)
    elif not place.exists():
        pytest.skip(f"this system has no {name}")
    code, _, err = clinic.run(clinic.images, option, place)
    assert code == 2
    assert f"{place} is not a file: name a file for the results" in err


def test_two_programs_do_not_write_into_one_file(clinic: Clinic) -> None:
    """The second is told who writes; a program that died holds nothing."""
    file = clinic.folder / "results.csv"
    script = (
        "import sys, time; from pathlib import Path; from udacimed_edge.runtime.results import Results\n"
        "kept = Results(Path(sys.argv[1]), 'csv'); print('open', flush=True); time.sleep(99)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        code, _, err = clinic.run(clinic.images, "--csv", file)
        assert code == 2
        assert "is being written by" in err
        if Path("/proc/locks").exists():
            assert f"process {other.pid}: wait for it" in err
    finally:
        other.kill()
        other.communicate()
    assert clinic.run(clinic.images, "--csv", file)[0] == 0
    assert len(csv_rows(file)) == 6


def run_apart(clinic: Clinic, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own, with the clinic's artifact faked."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); import pathlib; import test_screen as t\n"
        "from udacimed_edge.runtime import screen\n"
        "contract = t.Contract('ort', 'int8', 0.5, 'a test', 'small', '0' * 64, None, '0')\n"
        "screen.open_artifact = lambda path, threads: t.Predictor(contract, t.brightness, 1, 'a test')\n"
        "sys.exit(screen.main(sys.argv[3:], home=pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, str(clinic.folder), str(Path(__file__).parent), *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, **options)


def test_a_closed_pipe_ends_it_quietly(clinic: Clinic) -> None:
    """Where nobody reads any more it ends with 141 and without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = run_apart(clinic, str(clinic.images), stdout=writer)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_output_does_not_end_the_batch(clinic: Clinic) -> None:
    """With a results file every image is screened; without one it ends with 5, for nothing is kept."""
    file = clinic.folder / "results.csv"
    with Path("/dev/full").open("wb") as full:
        ended = run_apart(clinic, str(clinic.images), "--csv", str(file), stdout=full)
        assert run_apart(clinic, str(clinic.images), stdout=full).returncode == 5
    assert ended.returncode == 0
    assert ended.stderr == b"what is printed cannot be written (No space left on device); the batch goes on\n"
    assert len(csv_rows(file)) == 6


def test_a_changed_model_is_not_screened_with(clinic: Clinic) -> None:
    """Where the bundle's list of digests lies beside the model, the model must be as listed."""
    sums = clinic.folder / "SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(b'weights').hexdigest()}  model.ort\n", encoding="utf-8")
    assert clinic.run(clinic.images)[0] == 0
    clinic.artifact.write_bytes(b"other weights")
    code, out, err = clinic.run(clinic.images)
    assert (code, out) == (3, "")
    assert "model.ort was changed, says SHA256SUMS beside it: do not use it, copy the whole bundle" in err
    sums.write_text("", encoding="utf-8")
    assert "model.ort is not in the list" in clinic.run(clinic.images)[2]


def test_about_says_what_lies_here(clinic: Clinic) -> None:
    """--about names the model and its threshold, and whether the files are as listed."""
    code, out, _ = clinic.run("--about")
    assert code == 0
    assert "files:      there is no SHA256SUMS here" in out
    lines = {"model.ort": b"weights", "screen.pyz": b"program"}
    (clinic.folder / "screen.pyz").write_bytes(b"program")
    text = "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in lines.items())
    (clinic.folder / "SHA256SUMS").write_text(text, encoding="utf-8")
    code, out, _ = clinic.run("--about")
    assert code == 0
    assert "files:      all 2 are as SHA256SUMS lists them" in out
    assert "signature:  none: the list shows damage, not who made it" in out
    assert f'"pneumonia" from a probability of {THRESHOLD:.4f} on' in out
    (clinic.folder / "screen.pyz").write_bytes(b"another program")
    code, out, _ = clinic.run("--about")
    assert code == 3
    assert "CHANGED OR MISSING: screen.pyz" in out


def test_a_missing_c_runtime_is_named(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Windows without Microsoft's C++ runtime the line says what to install."""

    def refuse(path: Path, threads: int) -> Predictor:
        raise ImportError("DLL load failed while importing onnxruntime_pybind11_state")

    monkeypatch.setattr(screen, "open_artifact", refuse)
    code, _, err = clinic.run(clinic.images)
    assert code == 3
    assert "vc_redist.x64.exe" in err


def test_results_that_cannot_be_understood_are_refused_by_name(tmp_path: Path) -> None:
    """A header that this program never wrote is refused."""
    file = tmp_path / "results.csv"
    file.write_text("file,probability\n", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"results.csv exists and holds no CSV of this program"):
        Results(file, "csv")
