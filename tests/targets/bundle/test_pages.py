"""What a technician reads and runs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from udacimed_edge.targets.bundle.pages import render_pages
from udacimed_edge.targets.bundle.spec import BundleSpec
from udacimed_edge.targets.devices.profile import DeviceProfile, Target, find_profile, load_profiles

SH = shutil.which("sh")
with_sh = pytest.mark.skipif(SH is None, reason="there is no sh")


def write_pages(folder: Path, spec: BundleSpec) -> None:
    """Write the pages into a folder."""
    for name, content in render_pages(spec).items():
        (folder / name).write_bytes(content)


def made_for(name: str, spec: BundleSpec, profile: DeviceProfile | None = None, **report: Any) -> BundleSpec:
    """A bundle for a device, in the device's first format, of a report with some other fields."""
    device = profile or find_profile(name)
    choice = device.formats[0]
    fields = {"format": choice.format, "precision": choice.precision}
    artifact = spec.report.artifact.model_copy(update=fields)
    return replace(
        spec, profile=device, report=spec.report.model_copy(update={"artifact": artifact, **report})
    )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", load_profiles())
def test_start_here_is_one_page(name: str, signed: bool, spec: BundleSpec, tmp_path: Path) -> None:
    """For each device it fits one page of text, and names the limit of use, the self-test and the lists."""
    write_pages(tmp_path, replace(made_for(name, spec), signed=signed))
    text = (tmp_path / "START-HERE.txt").read_text()
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 75
    for wanted in ("not a diagnosis", "SELF-TEST FAILS", "sha256sum -c SHA256SUMS", "missed 3", "0.2500"):
        assert wanted in " ".join(text.split())
    assert ("minisign -Vm SHA256SUMS" in text) is signed
    assert ("{{" in text, "{%" in text) == (False, False)


@pytest.mark.parametrize("name", load_profiles())
def test_a_rehearsal_marks_every_page(name: str, spec: BundleSpec, tmp_path: Path) -> None:
    """Each page that is written says REHEARSAL before anything else a person reads."""
    write_pages(tmp_path, made_for(name, spec, rehearsal=True))
    pages = sorted(tmp_path.iterdir())
    assert len(pages) == 2
    for page in pages:
        lines = [
            line for line in page.read_text().splitlines() if line.startswith(("REH", "> **REH", "echo"))
        ]
        assert "REHEARSAL, no evidence" in lines[0]


@pytest.mark.parametrize(
    ("name", "target", "code"),
    [
        ("android-phone", "litert", "Interpreter(ByteBuffer"),
        ("android-phone", "ort", "environment.createSession"),
        ("iphone", "coreml", "MLModel(contentsOf:"),
        ("mac", "coreml", "MLModel(contentsOf:"),
    ],
)
def test_an_app_s_maker_is_told_how(
    name: str, target: Target, code: str, spec: BundleSpec, tmp_path: Path
) -> None:
    """README.md has the language's few lines with the very threshold, raw pixels and the self-test."""
    artifact = spec.report.artifact.model_copy(update={"format": target})
    write_pages(tmp_path, made_for(name, spec, artifact=artifact))
    text = (tmp_path / "README.md").read_text()
    for wanted in (code, "0.25", "Do not normalise", "selftest/vectors.json", "not run on a device"):
        assert wanted in text
    assert not (tmp_path / "install.sh").exists()


def test_windows_gets_a_batch_file(spec: BundleSpec, tmp_path: Path) -> None:
    """Its lines end as Windows wants them, and it asks for the device's Python."""
    write_pages(tmp_path, made_for("clinic-laptop-windows", spec))
    text = (tmp_path / "install.bat").read_bytes()
    assert text.count(b"\n") == text.count(b"\r\n") > 20
    assert b"py -3.13 " in text
    assert rb"venv\Scripts\python screen.pyz --selftest" in text
    assert "install.bat" in (tmp_path / "START-HERE.txt").read_text()


def stub(folder: Path, name: str, script: str) -> None:
    """A program that does what the script says."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@with_sh
@pytest.mark.parametrize(
    ("machine", "python", "message"),
    [
        ("riscv64", "exit 0", "this computer is riscv64, the bundle is for x86_64."),
        ("x86_64", "exit 1", "it needs Python 3.11, which is not here."),
        ("x86_64", 'case "$2" in *ensurepip*) exit 1;; esac', "this Python cannot make environments."),
        (
            "x86_64",
            'case "$2" in venv) exit 1;; --version) echo Python;; esac',
            "the folder venv could not be made here.",
        ),
    ],
)
def test_what_stands_in_the_way_is_said(
    machine: str, python: str, message: str, spec: BundleSpec, tmp_path: Path
) -> None:
    """From any folder, install.sh ends with what is wrong and what to do, and installs nothing."""
    place, programs = tmp_path / "my stick", tmp_path / "bin"
    place.mkdir()
    write_pages(place, made_for("clinic-laptop", spec))
    stub(programs, "uname", f'[ "$1" = -s ] && echo Linux || echo {machine}')
    stub(programs, "python3", python)
    (programs / "dirname").symlink_to(str(shutil.which("dirname")))
    ended = subprocess.run(
        [str(SH), str(place / "install.sh")],
        cwd=tmp_path, env={"PATH": str(programs)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0] == f"NOT INSTALLED: {message}"
    assert len(ended.stderr.splitlines()) == 2
    assert not (place / "venv").exists()


@with_sh
def test_a_device_of_a_user_s_own_may_be_called_anything(spec: BundleSpec, tmp_path: Path) -> None:
    """Quotes, a dollar sign and a command in a device's title stay text in install.sh."""
    odd = "Dr. O'Neill's \"box\" $HOME $(touch ran) `touch ran`"
    device = find_profile("clinic-laptop").model_copy(update={"title": odd, "minimum": odd})
    write_pages(tmp_path, made_for("clinic-laptop", spec, profile=device))
    stub(tmp_path / "bin", "uname", '[ "$1" = -s ] && echo Linux || echo other')
    (tmp_path / "bin" / "dirname").symlink_to(str(shutil.which("dirname")))
    ended = subprocess.run(
        [str(SH), "install.sh"],
        cwd=tmp_path, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert odd in ended.stderr
    assert not (tmp_path / "ran").exists()
