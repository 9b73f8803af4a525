"""Device profiles: ten that come with the toolkit, those of a user, and what is wrong with a broken one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from udacimed_edge.converters import FORMATS
from udacimed_edge.core import machine
from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.targets.devices import profile as module
from udacimed_edge.targets.devices.profile import (
    SCHEMA,
    DeviceProfile,
    FormatChoice,
    find_profile,
    load_profiles,
    read_profile,
    write_schema,
)

PROFILES = load_profiles()
FILES = sorted(SCHEMA.parent.glob("*.toml"))

MEASURED_MIB = {"int8": 10.8, "fp16": 21.3, "fp32": 42.7}
"""The largest artifact of each precision, from README.md."""

GOOD = """
name = "ward-tablet"
title = "Ward tablet"
description = "A tablet."
operating_system = "linux"
architecture = "x86_64"
minimum = "Debian 12"
formats = [{ target = "ort", precision = "int8" }, { target = "openvino", precision = "fp16" }]

[instruction_sets]
has = ["avx2"]
lacks = ["avx_vnni"]

[budget]
size_mib = 24
ram_mib = 200.5
latency_ms = 30
images_per_second = 10

[runner]
python = ["3.11"]
platforms = ["manylinux_2_28_x86_64"]

[runner.requirements]
ort = ["numpy", "onnxruntime>=1.20,<2"]
openvino = ["openvino"]
"""


def write(folder: Path, text: str) -> Path:
    """A profile of one's own."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def put(old: str, new: str) -> Callable[[str], str]:
    """One change of the good profile."""

    def change(text: str) -> str:
        assert text.count(old) == 1
        return text.replace(old, new)

    return change


def test_the_devices_of_the_customer_are_there() -> None:
    """Every device that was asked for has a profile, sorted by file and with its best format first."""
    first = {name: f"{p.formats[0].format} {p.formats[0].precision}" for name, p in PROFILES.items()}
    assert first == {
        "android-phone": "litert int8",
        "android-tablet": "litert int8",
        "clinic-laptop": "ort int8",
        "clinic-laptop-windows": "ort int8",
        "intel-nuc": "openvino int8",
        "ipad": "coreml fp16",
        "iphone": "coreml int8",
        "mac": "coreml fp16",
        "raspberry-pi-4": "ort int8",
        "raspberry-pi-5": "ort int8",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_profile_has_its_files_name(path: Path) -> None:
    """A profile lies in the file of its name, which begins by naming the schema for editors."""
    assert read_profile(path).name == path.stem
    assert path.read_text(encoding="utf-8").startswith(f"#:schema {SCHEMA.name}\n")


def test_a_profile_may_name_every_format_but_a_server_s() -> None:
    """A device takes each format in each of its precisions, and no model repository."""
    for name, row in FORMATS.items():
        for precision in row.precisions:
            choice = json.dumps({"target": name, "precision": precision})
            if row.standard:
                assert FormatChoice.model_validate_json(choice).format == name
            else:
                with pytest.raises(ValidationError, match="Input should be 'ort', 'coreml', 'litert' or"):
                    FormatChoice.model_validate_json(choice)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_format_fits_its_device(profile: DeviceProfile) -> None:
    """No device prefers a format whose measured size its own budget refuses."""
    assert max(MEASURED_MIB[choice.precision] for choice in profile.formats) <= profile.budget.size_mib


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_instruction_sets_are_named_as_on_linux(profile: DeviceProfile) -> None:
    """The instruction sets are among those the toolkit looks for on a machine."""
    known = {*machine._TELLING, *machine._TELLING_ARM}
    assert {*profile.instruction_sets.has, *profile.instruction_sets.lacks} <= known


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_runner_ships_to_computers_only(profile: DeviceProfile) -> None:
    """Linux and Windows devices get the screening program, phones and Apple's devices do not."""
    assert (profile.runner is not None) is (profile.operating_system in ("linux", "windows"))


def test_what_decides_int8_is_stated() -> None:
    """The profiles tell the two Pis, and the laptop and the NUC, apart by their dot product."""
    facts = {name: profile.instruction_sets for name, profile in PROFILES.items()}
    assert "asimddp" in facts["raspberry-pi-4"].lacks
    assert "asimddp" in facts["raspberry-pi-5"].has
    assert "avx_vnni" in facts["clinic-laptop"].lacks
    assert "avx512_vnni" in facts["intel-nuc"].has


def test_the_schema_is_that_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema beside the profiles is what `write_schema` writes now."""
    fresh = tmp_path / SCHEMA.name
    monkeypatch.setattr(module, "SCHEMA", fresh)
    write_schema()
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json.loads(fresh.read_text(encoding="utf-8"))


def test_the_schema_explains_every_field() -> None:
    """Every field has a description in the schema, for the editor of a person's own profile."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    models = [schema, *schema["$defs"].values()]
    assert [n for m in models for n, field in m["properties"].items() if not field.get("description")] == []


def test_a_schema_that_cannot_be_written_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema that has no place to be written to is an error with its path."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "SCHEMA", tmp_path / "file" / "schema.json")
    with pytest.raises(OutputError, match=r"cannot write .*schema\.json"):
        write_schema()


def test_a_profile_of_ones_own_is_read(tmp_path: Path) -> None:
    """A user's file becomes a profile with its values, in its order."""
    profile = read_profile(write(tmp_path, GOOD))
    assert profile.name == "ward-tablet"
    assert [(c.format, c.precision) for c in profile.formats] == [("ort", "int8"), ("openvino", "fp16")]
    assert (profile.budget.size_mib, profile.budget.ram_mib) == (24, 200.5)
    assert (profile.instruction_sets.has, profile.instruction_sets.lacks) == (("avx2",), ("avx_vnni",))
    assert profile.notes == ()
    assert profile.runner
    assert profile.runner.requirements["ort"] == ("numpy", "onnxruntime>=1.20,<2")


def test_a_profile_cannot_be_changed() -> None:
    """What was read stays as it was read."""
    with pytest.raises(ValidationError, match="frozen"):
        PROFILES["mac"].name = "other"  # type: ignore[misc]


def test_the_wheels_of_a_device_can_be_asked_for() -> None:
    """The options for pip name the device's Python and platforms, and allow no building from source."""
    runner = PROFILES["raspberry-pi-4"].runner
    assert runner
    assert " ".join(runner.pip_options("3.13")) == (
        "--only-binary=:all: --implementation cp --python-version 3.13 --abi cp313 --abi abi3 --abi none "
        "--platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 "
        "--platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64"
    )


def test_a_device_is_found_by_its_name() -> None:
    """A known name gives its profile."""
    assert find_profile("raspberry-pi-4") == PROFILES["raspberry-pi-4"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raspberry-pi4", "there is no device 'raspberry-pi4'; did you mean 'raspberry-pi-4'?"),
        ("Mac", "there is no device 'Mac'; did you mean 'mac'?"),
        ("toaster", "there is no device 'toaster'"),
        ("", "there is no device ''"),
    ],
)
def test_an_unknown_device_is_refused_with_the_nearest(name: str, message: str) -> None:
    """A wrong name is never corrected: the error asks about the nearest and names all of them."""
    with pytest.raises(InputError) as caught:
        find_profile(name)
    assert caught.value.message == message
    assert caught.value.hint.startswith("known: android-phone, android-tablet, ")
    assert "--profile FILE" in caught.value.hint


def test_a_missing_profile_is_an_input_error(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(InputError, match=r"cannot read .*mine\.toml: No such file"):
        read_profile(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (put('"linux"', "linux"), "is not TOML: Invalid value (at line 5, column 20)"),
        (lambda text: text + "name = 1", "is not a device profile: runner.requirements.name"),
        (lambda text: "[" * 5000, "is not TOML: "),
        (lambda text: "", "is not a device profile: name: Field required; title: Field required"),
        (put("latency_ms = 30\n", ""), "budget.latency_ms: Field required"),
        (put("size_mib", "size_mb"), "budget.size_mb: there is no such field; did you mean 'size_mib'?"),
        (put("latency_ms", "latency_s"), "latency_s: there is no such field; did you mean 'latency_ms'?"),
        (put("title", "zzz"), "zzz: there is no such field"),
        (put("= 30", '= "30 ms"'), "budget.latency_ms: Input should be a valid number"),
        (put("= 30", '= "30"'), "budget.latency_ms: Input should be a valid number"),
        (put("= 30", "= true"), "budget.latency_ms: Input should be a valid number"),
        (put("= 30", "= 2024-01-01"), "budget.latency_ms: Input should be a valid number"),
        (put("= 30", "= -30"), "budget.latency_ms: Input should be greater than 0"),
        (put("= 30", "= 0"), "budget.latency_ms: Input should be greater than 0"),
        (put("= 30", "= inf"), "budget.latency_ms: Input should be a finite number"),
        (put("= 30", "= nan"), "budget.latency_ms: Input should be a finite number"),
        (
            put('"ort", prec', '"tflite", prec'),
            "formats[0].target: Input should be 'ort', 'coreml', 'litert' or",
        ),
        (put('"int8"', '"int4"'), "formats[0].precision: Input should be 'fp32', 'fp16' or 'int8'"),
        (put('"int8"', '"fp16"'), "formats[0]: ort has no fp16; it has int8, fp32"),
        (
            put('"openvino", precision = "fp16"', '"ort", precision = "int8"'),
            "formats names one choice twice",
        ),
        (put('"openvino", prec', '"coreml", prec'), "coreml does not run on linux"),
        (put('openvino = ["openvino"]', ""), "runner.requirements does not say what openvino needs"),
        (put('["openvino"]', "[]"), "runner.requirements.openvino: Tuple should have at least 1 item"),
        (put('["openvino"]', '["--index-url=x"]'), "runner.requirements.openvino[0]: String should match"),
        (put('"linux"', '"android"'), "the runner does not run on android; leave [runner] out"),
        (put('"linux"', '"macos"'), "the runner does not run on macos; leave [runner] out"),
        (
            put('"linux"', '"Linux"'),
            "operating_system: Input should be 'linux', 'windows', 'android', 'ios',",
        ),
        (put('"x86_64"\n', '"armv7l"\n'), "architecture: Input should be 'x86_64', 'aarch64' or 'arm64'"),
        (put('["avx_vnni"]', '["avx2"]'), "instruction_sets: avx2 cannot be both there and missing"),
        (put('["avx_vnni"]', '["AVX VNNI"]'), "instruction_sets.lacks[0]: String should match pattern"),
        (put('"3.11"', '"3"'), "runner.python[0]: String should match pattern"),
        (put('["3.11"]', "[]"), "runner.python: Tuple should have at least 1 item"),
        (put('"manylinux_2_28_x86_64"', '"linux"'), "runner.platforms[0]: String should match pattern"),
        (put('"Ward tablet"', '" "'), "title: String should match pattern"),
        (put('"ward-tablet"', '"../ward"'), "name: String should match pattern"),
        (put('"ward-tablet"', '"Ward Tablet"'), "name: String should match pattern"),
        (
            put('"ward-tablet"', '"ort"'),
            "name: 'ort' is a format's name on the command line; name the device",
        ),
        (
            put('"ward-tablet"', '"all"'),
            "name: 'all' is a format's name on the command line; name the device",
        ),
    ],
)
def test_a_broken_profile_says_what_is_wrong(
    tmp_path: Path, harm: Callable[[str], str], message: str
) -> None:
    """A profile that cannot be used is an error with its file, the field and what is wrong with it."""
    path = write(tmp_path, harm(GOOD))
    with pytest.raises(InputError) as caught:
        read_profile(path)
    assert caught.value.message.startswith(f"{path} is not ")
    assert message in caught.value.message


def test_bytes_that_are_no_text_are_an_input_error(tmp_path: Path) -> None:
    """A file that is not UTF-8 is named."""
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"mine\.toml is not UTF-8 text"):
        read_profile(path)
