"""What programs read: `--json`, `--quiet`, exit codes, commands to copy; what is refused before the work."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from udacimed_edge.cli.command import EdgeCommand, command_text
from udacimed_edge.cli.main import cli
from udacimed_edge.core.errors import EdgeError, InputError, OutputError
from udacimed_edge.runtime.formats import FORMATS
from udacimed_edge.targets.devices.profile import load_profiles

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "udacimed_edge"]
WITH_JSON = ("convert", "validate", "compare", "verify", "benchmark", "targets", "doctor")


def call(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, arguments)


def valid(text: str) -> Any:
    """A record, held against the published schema."""
    jsonschema = pytest.importorskip("jsonschema")
    record = json.loads(text)
    schema = json.loads((ROOT / "docs" / "output.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(record)
    return record


def test_each_command_for_programs_has_both_options() -> None:
    """--json and --quiet are where they are promised."""
    for name in WITH_JSON:
        options = {option for parameter in cli.commands[name].params for option in parameter.opts}
        assert {"--json", "--quiet"} <= options


@pytest.mark.parametrize("name", cli.commands)
def test_no_option_is_dropped_in_silence(name: str) -> None:
    """Every command counts its options."""
    assert isinstance(cli.commands[name], EdgeCommand)


def test_targets_as_json() -> None:
    """On standard output stands the record alone: the devices, as their profiles say."""
    done = call("targets", "--json", "-")
    record = valid(done.stdout)
    assert [device["name"] for device in record["devices"]] == list(load_profiles())
    assert (record["command"], record["exit_code"], record["error"]) == ("targets", 0, None)


def test_doctor_as_a_file(tmp_path: Path) -> None:
    """With a file and --quiet nothing is shown, and the file holds every format."""
    out = tmp_path / "new folder" / "doctor.json"
    done = call("doctor", "--json", str(out), "--quiet")
    assert (done.output, done.exit_code) == ("", 0)
    assert [row["name"] for row in valid(out.read_text())["formats"]] == list(FORMATS)


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "message"),
    [
        (["targets", "toaster"], 3, "InputError", "there is no device 'toaster'"),
        (["verify", "none.zip"], 3, "InputError", "none.zip"),
        (["compare", "none", "none"], 3, "InputError", "there is no artifact at none"),
        (["benchmark", "none"], 3, "InputError", "there is no artifact at none"),
        (["convert", "--target", "ort", "--data", "none.npz"], 3, "InputError", "no data file at"),
        (["convert"], 2, "UsageError", "name either --target or --profile"),
        (["validate"], 2, "UsageError", "name an artifact"),
    ],
)
def test_an_error_is_in_the_record(
    arguments: list[str], code: int, kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that ends in an error writes which, and its exit code, and ends with it all the same."""
    monkeypatch.chdir(tmp_path)
    done = call(*arguments, "--json", "-")
    record = valid(done.stdout)
    assert (record["command"], record["exit_code"]) == (arguments[0], code)
    assert record["error"]["kind"] == kind
    assert message in record["error"]["message"]
    assert isinstance(done.exception, (EdgeError, SystemExit))


def test_an_item_s_error_is_in_its_result(tmp_path: Path) -> None:
    """Where one artifact cannot be judged, its result says why, and the exit code is that error's."""
    done = call("validate", str(tmp_path / "none"), "--data", "synthetic", "--json", "-", "--quiet")
    record = valid(done.stdout)
    (result,) = record["results"]
    assert (record["exit_code"], record["error"], result["verdict"]) == (3, None, "ERROR")
    assert result["error"]["kind"] == InputError.__name__
    assert done.exit_code == 3
    assert "there is no artifact at" in done.stderr


def test_a_defect_writes_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program itself failed at is not passed off as a result."""

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("udacimed_edge.workflow.doctor.format_health", broken)
    done = call("doctor", "--json", str(tmp_path / "record.json"))
    assert isinstance(done.exception, ZeroDivisionError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "--target", "ort", "--data", "a", "--data", "b"], "--data is given 2 times"),
        (
            ["convert", "--target", "ort", "--precision", "int8", "--precision", "fp32"],
            "--precision is given 2",
        ),
        (["package", "x", "--target", "iphone", "--target", "ipad"], "--target is given 2 times"),
        (["benchmark", "x", "--target", "iphone", "--target", "ipad"], "--target is given 2 times"),
        (["validate", "x", "--source", "a", "--source", "b"], "--source is given 2 times"),
        (["verify", "x", "--public-key", "a", "--public-key=a"], "--public-key is given 2 times"),
    ],
)
def test_an_option_given_twice_is_refused(arguments: list[str], message: str) -> None:
    """Where an option takes one value, the second is not taken for the first in silence."""
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_several_targets_mean_all_of_them() -> None:
    """--target twice plans both, each artifact once."""
    from udacimed_edge.workflow.plan import plan_all

    assert [str(item) for item in plan_all(["ort", "openvino", "ort"], None)] == ["ort-int8", "openvino-int8"]
    assert [str(item) for item in plan_all(["all", "triton"], None)][-1] == "triton-fp16"


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "--target", "ort", "--out", "file"],
        ["convert", "--target", "ort", "--out", "file/below"],
        ["convert", "--target", "ort", "--json", "."],
        ["convert", "--target", "ort", "--out", "page"],
        ["validate", "x", "--html", "."],
        ["validate", "x", "--report", "file/r.json"],
        ["validate", "x", "--json", "file/r.json"],
        ["report", "x", "--html", "."],
        ["report", "x", "--markdown", "file/r.md"],
        ["benchmark", "x", "--json", "."],
        ["benchmark", "x", "--svg", "file"],
        ["compare", "x", "y", "--json", "."],
        ["package", "--target", "iphone", "--out", "file"],
        ["optimize", "x.pth", "--out", "file/m.safetensors"],
    ],
)
def test_outputs_are_tried_before_the_work(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that cannot be written is named before inputs are looked at, of which there are none here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UDACIMED_DATA", "none.npz")
    Path("file").write_text("in the way")
    Path("page/report.html").mkdir(parents=True)
    done = call(*arguments)
    assert isinstance(done.exception, OutputError), done.output
    assert "with --" in done.exception.hint


def test_targets_are_completed_in_a_shell() -> None:
    """A shell is told the targets that begin so."""
    program = shutil.which("udacimed-edge", path=str(Path(sys.executable).parent))
    assert program
    asked = {"COMP_WORDS": "udacimed-edge convert --target rasp", "COMP_CWORD": "3"}
    done = subprocess.run(
        [program], capture_output=True, text=True, check=False,
        env={**os.environ, **asked, "_UDACIMED_EDGE_COMPLETE": "bash_complete"},
    )  # fmt: skip
    assert done.stdout.split() == ["plain,raspberry-pi-4", "plain,raspberry-pi-5"]


def test_an_output_is_not_tried_while_somebody_types(tmp_path: Path) -> None:
    """Completion makes nothing and refuses nothing."""
    (tmp_path / "file").touch()
    option = next(p for p in cli.commands["convert"].params if p.name == "out")
    context = click.Context(cli.commands["convert"], resilient_parsing=True)
    assert option.type_cast_value(context, str(tmp_path / "file")) == tmp_path / "file"


def test_a_command_can_be_copied() -> None:
    """Paths with spaces, quotes and dollars come out of a shell as they went in."""
    words = ["validate", Path("two words/it's $HOME"), "--mean=0.5,0.5"]
    assert shlex.split(command_text(words)) == ["udacimed-edge", *map(str, words)]


@pytest.mark.slow
def test_the_next_command_is_the_right_one(small_program: Path, tmp_path: Path) -> None:
    """What convert prints as next, copied, judges the artifact with its model, and so do folders."""
    shutil.copy(small_program, tmp_path / "my model.pt2")
    bounds = ["--min-sensitivity=0", "--min-specificity=0", "--max-specificity-drop=1", "--min-agreement=0"]
    stated = [
        "--mean",
        "0",
        "--std",
        "0.00392156862745098",
        "--labels",
        "normal,pneumonia",
        "--threshold=0.5",
    ]
    asked = ["--target", "ort", "--precision", "fp32", "--data", "synthetic", "--out", "my out"]
    made = subprocess.run(
        [*COMMAND, "convert", "my model.pt2", *asked, *stated, *bounds, "--json", "-"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (result,) = valid(made.stdout)["results"]
    assert (result["item"], result["verdict"], result["stated"]) == ("ort-fp32", "PASS", False)
    assert result["report"]["artifact"]["target"] == "ort"
    (line,) = [line for line in made.stderr.splitlines() if line.startswith("Next: udacimed-edge ")]
    next_words = shlex.split(line)[2:]
    again = subprocess.run(
        [*COMMAND, *next_words, "--json", "again.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert valid((tmp_path / "again.json").read_text())["results"][0]["verdict"] == "PASS"
    at = next_words.index(str(Path("my out/ort-fp32")))
    below = [*next_words[:at], "my out", *next_words[at + 1 :]]
    folder = subprocess.run(
        [*COMMAND, *below, "--quiet"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (folder.returncode, folder.stdout, folder.stderr) == (0, "", "")
