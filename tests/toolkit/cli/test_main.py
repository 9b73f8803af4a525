"""The command line as a person meets it: messages, exit codes, help."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from udacimed_edge.cli.main import cli, main
from udacimed_edge.converters import FORMATS
from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.core.files import staging
from udacimed_edge.targets.bundle.signing import verify
from udacimed_edge.targets.devices.profile import load_profiles
from udacimed_edge.validation.report import read_report

COMMAND = [sys.executable, "-m", "udacimed_edge"]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the program in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["udacimed-edge", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("name", ["", *cli.commands])
def test_every_help_has_an_example(name: str) -> None:
    """The program and each of its commands show an example in their help."""
    result = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert f"Example: udacimed-edge {name}".strip() in re.sub(r"\s+", " ", result.output)


def test_help_names_every_target() -> None:
    """The help of convert lists the formats that exist."""
    text = " ".join(CliRunner().invoke(cli, ["convert", "--help"]).output.split())
    assert f"{', '.join(FORMATS)}, all, or a device" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "ortt"], "there is no target 'ortt'; did you mean 'ort'?"),
        (["--target", "cormel"], "did you mean 'coreml'?"),
        (["--target", "ORT"], "there is no target 'ORT'"),
        (["--target", "ort", "--precision", "int-8"], "there is no precision 'int-8'; did you mean 'int8'?"),
        (["--target", "ort", "--mean", "a,b"], "'a,b' is not a list of numbers"),
        (["--target", "ort", "--min-sensitivity", "98"], "98.0 is not in the range 0<=x<=1"),
        ([], "name either --target or --profile"),
        (["--target", "ort", "--profile", "x.toml"], "name either --target or --profile"),
        (["--target", "rasberry-pi-4"], "did you mean 'raspberry-pi-4'?"),
    ],
)
def test_a_wrong_option_is_refused_with_the_nearest(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong name is an error of the command line that suggests the nearest and corrects nothing."""
    assert call(monkeypatch, "convert", *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def _no_data(folder: Path) -> list[str]:
    return ["--data", str(folder / "none.npz")]


def _broken_data(folder: Path) -> list[str]:
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    return ["--data", str(folder / "broken.npz")]


def _one_class(folder: Path) -> list[str]:
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.zeros((400, 64, 64), np.uint8)
        arrays[f"{split}_labels"] = np.ones((400, 1), np.uint8)
    np.savez(folder / "one.npz", **arrays)  # type: ignore[arg-type]
    return ["--data", str(folder / "one.npz")]


def _no_model(folder: Path) -> list[str]:
    return [str(folder / "none.safetensors"), "--data", "synthetic"]


def _unstated_model(folder: Path) -> list[str]:
    (folder / "model.pth").write_bytes(b"anything")
    return [str(folder / "model.pth"), "--data", "synthetic"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_no_data, "no data file at"),
        (_broken_data, "is not a readable .npz file"),
        (_one_class, "only one class is present"),
        (_no_model, "none.safetensors"),
        (_unstated_model, "--mean"),
    ],
)
def test_bad_input_has_its_exit_code_and_no_traceback(
    build: Callable[[Path], list[str]],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bad input is exit code 3 with the file's name, and nothing is written."""
    out = tmp_path / "out"
    assert call(monkeypatch, "convert", *build(tmp_path), "--target", "ort", "--out", str(out)) == 3
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not out.exists() or not list(out.iterdir())


def test_an_output_folder_that_is_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output folder that cannot be written is exit code 7 and names --out."""
    (tmp_path / "file").write_text("in the way")
    code = call(
        monkeypatch, "convert", "--target", "ort", "--data", "synthetic", "--out", str(tmp_path / "file")
    )
    assert code == 7
    assert "--out" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"


def test_validating_nothing_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An artifact that is not there is exit code 3 with its path."""
    assert call(monkeypatch, "validate", str(tmp_path / "none"), "--data", "synthetic") == 3
    assert "there is no artifact at" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["out/a", "out/b", "--report", "r.json"],
        ["out/a", "--artifact", "out/b", "--predictions", "p.csv"],
    ],
)
def test_validate_wants_one_artifact_where_one_file_is_named(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No artifact, or several for one file of predictions or one report, is a wrong command line."""
    assert call(monkeypatch, "validate", *arguments, "--data", "synthetic") == 2
    assert "exactly one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "none"], "there is no report at none"),
        (["report", "."], "holds no report.json"),
        (["compare", "none", "none"], "there is no artifact at none"),
        (["compare", "empty.json", "empty.json"], "is not a report"),
    ],
)
def test_reports_that_are_not_there_are_bad_input(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A report that is missing or none is exit code 3, and no page is written."""
    monkeypatch.chdir(tmp_path)
    Path("empty.json").touch()
    assert call(monkeypatch, *arguments) == 3
    assert message in capsys.readouterr().err
    assert not Path("report.html").exists()


def test_targets_lists_and_explains_devices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every device is listed, and one is explained with what it takes and allows."""
    assert call(monkeypatch, "targets") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in load_profiles())
    assert call(monkeypatch, "targets", "raspberry-pi-4") == 0
    explained = capsys.readouterr().out
    assert "takes, best first: ort int8" in explained
    assert "48 MiB" in explained
    assert call(monkeypatch, "targets", "raspbery-pi-4") == 3
    assert "did you mean 'raspberry-pi-4'" in capsys.readouterr().err


def test_a_signed_file_verifies_and_a_changed_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `sign` signs with a key of `keygen` verifies with its public half, until it is changed."""
    key, file = tmp_path / "hospital.key", tmp_path / "report.json"
    file.write_text("{}")
    assert call(monkeypatch, "keygen", str(key)) == 0
    assert call(monkeypatch, "sign", str(file), "--key", str(key), "--comment", "Dr A") == 0
    assert str(key) in capsys.readouterr().out
    signature, public = tmp_path / "report.json.minisig", tmp_path / "hospital.key.pub"
    assert verify(file, signature, public) == "Dr A"
    file.write_text("{ }")
    with pytest.raises(GateRefusedError):
        verify(file, signature, public)


def test_doctor_names_every_format(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor speaks of every format and of the data."""
    assert call(monkeypatch, "doctor") == 0
    said = capsys.readouterr().out
    for word in (*FORMATS, "UDACIMED_DATA", "numpy"):
        assert word in said


def test_an_interrupt_is_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is exit code 130 and one sentence."""

    def interrupted(context: click.Context) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.commands["doctor"], "invoke", interrupted)
    assert call(monkeypatch, "doctor") == 130
    assert "nothing half-done" in capsys.readouterr().err


def test_a_defect_is_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A defect of the program is exit code 1 and a message that says how to see more."""

    def broken(context: click.Context) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.delenv("UDACIMED_DEBUG", raising=False)
    monkeypatch.setattr(cli.commands["doctor"], "invoke", broken)
    assert call(monkeypatch, "doctor") == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in error
    assert "UDACIMED_DEBUG" in error
    assert "Traceback" not in error


def _start_convert(out: Path) -> subprocess.Popen[str]:
    """The program converting to LiteRT, with whom it starts in a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, "convert", "--target", "litert", "--data", "synthetic", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stderr is not None
    for said in process.stderr:
        if said.strip() == line:
            return
    raise AssertionError(f"it ended without saying {line!r}")


def _is_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_conversion_that_is_stopped_leaves_the_earlier_result(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Ctrl-C or kill -9 in the middle leaves what was there, and no process; the next run cleans up."""
    earlier = tmp_path / "litert-int8"
    earlier.mkdir()
    (earlier / "model.tflite").write_bytes(b"earlier")
    process = _start_convert(tmp_path)
    _wait_for(process, "litert-int8: convert, recipe 1")
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.kill()
    code = process.wait(timeout=30)
    assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
    deadline = time.monotonic() + 20
    while _is_running(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _is_running(process.pid)
    assert (earlier / "model.tflite").read_bytes() == b"earlier"
    with staging(tmp_path):
        pass  # what the next run begins with
    left = {p.name for p in tmp_path.iterdir()} - {"logs", ".udacimed-edge.lock"}  # no lock holds it any more
    assert left == {"litert-int8"}


@pytest.mark.slow
def test_convert_all_passes_on_the_synthetic_set(tmp_path: Path) -> None:
    """The README's main job: eight artifacts of the reference model pass, and each is marked a rehearsal."""
    done = subprocess.run(
        [*COMMAND, "convert", "--target", "all", "--data", "synthetic", "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^ +\w+ +(?:int8|fp16|fp32) +PASS ", done.stdout, re.MULTILINE)) == 8
    assert "REHEARSAL" in done.stdout
    assert "Next: udacimed-edge validate" in done.stderr
    assert "REHEARSAL" in (tmp_path / "report.html").read_text()
    reports = [read_report(path) for path in sorted(tmp_path.glob("*/report.json"))]
    assert len(reports) == 8
    for report in reports:
        assert report.rehearsal
        assert json.loads(report.model_dump_json())["verdict"] == "PASS"


@pytest.mark.slow
def test_an_int8_artifact_passes_on_real_radiographs(real_data: object, tmp_path: Path) -> None:
    """On real radiographs an INT8 artifact passes, and validating it again gives the same predictions."""
    convert = [*COMMAND, "convert", "--target", "ort", "--out", str(tmp_path)]
    assert subprocess.run(convert, check=False).returncode == 0
    first = read_report(tmp_path / "ort-int8" / "report.json")
    assert not first.rehearsal
    assert first.metrics is not None
    assert first.metrics.sensitivity.successes >= 383
    again = [*COMMAND, "validate", str(tmp_path / "ort-int8"), "--report", str(tmp_path / "again.json")]
    assert subprocess.run(again, check=False).returncode == 0
    assert read_report(tmp_path / "again.json").predictions.digest == first.predictions.digest
    page = [*COMMAND, "report", str(tmp_path), "--html", str(tmp_path / "page.html"), "--images"]
    assert subprocess.run(page, check=False).returncode == 0
    assert "REHEARSAL" not in (tmp_path / "page.html").read_text()
    same = [*COMMAND, "compare", str(tmp_path / "ort-int8"), str(tmp_path / "again.json")]
    assert "does not matter" in subprocess.run(same, capture_output=True, text=True, check=True).stdout
