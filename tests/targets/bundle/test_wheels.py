"""The wheels of a bundle: for the device, pinned, hashed, and nothing besides."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.core.files import sha256_file
from udacimed_edge.targets.bundle.wheels import Wheel, declared, fetch_wheels, pin, requirements_text
from udacimed_edge.targets.devices.profile import Runner

ARM = "manylinux_2_28_aarch64"
RUNNER = Runner(python=("3.11", "3.13"), platforms=(ARM,), requirements={"ort": ("fake-runtime",)})


@pytest.mark.parametrize(
    ("requirement", "pinned"),
    [
        ("onnxruntime", "onnxruntime==1.20.1"),
        ("onnxruntime>=1.20", "onnxruntime>=1.20,==1.20.1"),
        ("AI_Edge.LiteRT", "AI_Edge.LiteRT==2.3.0"),
        ("pillow", f"pillow=={metadata.version('pillow')}"),
        ("no-such-distribution", "no-such-distribution"),
    ],
)
def test_what_was_validated_is_what_ships(requirement: str, pinned: str) -> None:
    """A version comes from the report, else from this machine, else it is the newest."""
    assert pin([requirement], {"onnxruntime": "1.20.1", "ai-edge-litert": "2.3.0"}) == (pinned,)


def test_each_python_gets_the_device_s_own_wheel(make_wheel: Callable[..., Path], tmp_path: Path) -> None:
    """One wheel for each Python of the device, none for another processor, Python or version."""
    source = tmp_path / "source"
    for tags in (f"cp311-cp311-{ARM}", f"cp313-cp313-{ARM}", f"cp312-cp312-{ARM}"):
        make_wheel(source, "fake-runtime", "1.0", tags)
    make_wheel(source, "fake-runtime", "1.0", "cp311-cp311-manylinux_2_28_x86_64")
    make_wheel(source, "fake-runtime", "2.0", f"cp311-cp311-{ARM}")
    wheels = fetch_wheels(RUNNER, ["fake-runtime==1.0"], tmp_path / "wheels", source)
    assert [wheel.file for wheel in wheels] == [
        f"fake_runtime-1.0-cp311-cp311-{ARM}.whl",
        f"fake_runtime-1.0-cp313-cp313-{ARM}.whl",
    ]
    assert [w.sha256 for w in wheels] == [sha256_file(tmp_path / "wheels" / w.file) for w in wheels]
    assert {(wheel.name, wheel.version) for wheel in wheels} == {("fake-runtime", "1.0")}


def test_a_missing_wheel_is_named(make_wheel: Callable[..., Path], tmp_path: Path) -> None:
    """Without a wheel of the validated version, the message names it, the Python and the platform."""
    make_wheel(tmp_path / "source", "fake-runtime", "1.0", f"cp311-cp311-{ARM}")
    with pytest.raises(
        InputError, match=rf"no wheel of fake-runtime==1.0 for Python 3.13 on {ARM} in .*source"
    ):
        fetch_wheels(RUNNER, ["fake-runtime==1.0"], tmp_path / "wheels", tmp_path / "source")


def test_a_missing_folder_of_wheels_is_named(tmp_path: Path) -> None:
    """A folder that is not there is an error before pip runs."""
    with pytest.raises(InputError, match=r"no folder of wheels at .*none"):
        fetch_wheels(RUNNER, ["fake-runtime==1.0"], tmp_path / "wheels", tmp_path / "none")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'\n"
            "ERROR: No matching distribution found for numpy==2.4.6",
            "the wheel of numpy==2.4.6 for Python 3.11 on manylinux_2_28_aarch64 cannot be fetched: "
            "there is no network",
        ),
        ("ERROR: No matching distribution found for numpy==9", "no wheel of numpy==9 for Python 3.11"),
        ("ERROR: disk I/O error\n", "could not fetch the wheels for Python 3.11 .*: disk I/O error"),
        ("/usr/bin/python3: No module named pip", "No module named pip"),
        ("", "it said nothing"),
    ],
)
def test_what_pip_says_is_put_in_words(
    said: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each way in which pip fails is an error that says what to do."""

    def failed(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", failed)
    with pytest.raises(InputError, match=message) as caught:
        fetch_wheels(RUNNER, ["numpy"], tmp_path / "wheels")
    assert "--wheels" in caught.value.hint


def test_a_full_disk_is_not_the_networks_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where pip finds no space, the error is that of a disk and names the folder."""

    def failed(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
        return subprocess.CompletedProcess(command, 2, "", said)

    monkeypatch.setattr(subprocess, "run", failed)
    with pytest.raises(OutputError, match="no space left") as caught:
        fetch_wheels(RUNNER, ["numpy"], tmp_path / "wheels")
    assert str(tmp_path / "wheels") in caught.value.message


def test_requirements_pin_each_wheel() -> None:
    """A distribution is one line with a hash for each of its wheels; the lines are sorted."""
    wheels = [
        Wheel("pillow", "13.0", "2" * 64, "pillow-311.whl"),
        Wheel("numpy", "2.4", "1" * 64, "numpy-313.whl"),
        Wheel("numpy", "2.4", "0" * 64, "numpy-311.whl"),
    ]
    assert requirements_text(wheels).splitlines() == [
        f"numpy==2.4 --hash=sha256:{'0' * 64} --hash=sha256:{'1' * 64}",
        f"pillow==13.0 --hash=sha256:{'2' * 64}",
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("License-Expression: MIT\nAuthor: A B", ("MIT", "A B")),
        ("License: BSD\nClassifier: License :: OSI Approved :: MIT License\nAuthor-email: A <a@b>",
         ("MIT License", "A <a@b>")),
        ("License: GPL\n  version 3\nMaintainer: C", ("GPL version 3", "C")),
        ("", ("", "")),
    ],
)  # fmt: skip
def test_licence_and_supplier_are_what_a_wheel_states(
    lines: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    """The expression counts most, then the classifiers, then the text; author before maintainer."""
    path = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("a-1.dist-info/METADATA", f"Metadata-Version: 2.4\nName: a\nVersion: 1\n{lines}\n")
    assert declared(path) == expected


def test_what_is_no_wheel_states_nothing(tmp_path: Path) -> None:
    """A damaged file has neither licence nor supplier; that it is refused is the check's work."""
    (tmp_path / "a.whl").write_bytes(b"no zip")
    assert declared(tmp_path / "a.whl") == ("", "")
