"""What a technician reads and runs."""

from __future__ import annotations

import os
import shutil
import struct
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
    device = find_profile(name)
    check = "screen.pyz --about" if device.runner else "shasum -a 256 -c SHA256SUMS"
    for wanted in ("not a diagnosis", "SELF-TEST FAILS", check, "missed 3", "0.2500", "Whom to call: ____"):
        assert wanted in " ".join(text.split())
    assert ("minisign -Vm SHA256SUMS" in text) is signed
    if device.runner:
        for wanted in ("TO REMOVE IT", "this computer's clock", "exFAT", "JPEG-LS", "GNU GPL 3"):
            assert wanted in " ".join(text.split())
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
        ("android-phone", "litert", "CompiledModel.create("),
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
    start = (tmp_path / "START-HERE.txt").read_text()
    assert "install.bat" in start
    assert "py -3.13 screen.pyz RADIOGRAPHS --csv results.csv --excel" in start
    for foreign in ("sha256sum", "venv", "sh install", "python3", "sudo", "apt-get"):
        assert foreign not in start


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
        ("x86_64", 'case "$2" in --install) exit 3;; esac', "see the line above."),
        (
            "x86_64",
            'case "$2" in --about) exit 3;; esac',
            "a file of this bundle is missing or was changed.",
        ),
        (
            "x86_64",
            'case "$2" in --selftest) exit 132;; esac',
            "the self-test failed (code 132; 132 means that the processor is too old).",
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
    assert "Installed." not in ended.stdout


@with_sh
def test_installing_ends_with_what_to_type(spec: BundleSpec, tmp_path: Path) -> None:
    """When all three steps end well, the last line is the command that screens."""
    write_pages(tmp_path, made_for("clinic-laptop", spec))
    stub(tmp_path / "bin", "uname", '[ "$1" = -s ] && echo Linux || echo x86_64')
    stub(tmp_path / "bin", "python3", "exit 0")
    (tmp_path / "bin" / "dirname").symlink_to(str(shutil.which("dirname")))
    ended = subprocess.run(
        [str(SH), "install.sh"],
        cwd=tmp_path, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1].split() == [
        "python3", "screen.pyz", "RADIOGRAPHS", "--csv", "results.csv",
    ]  # fmt: skip


def windows_program(codes: dict[str, int]) -> bytes:
    """A Windows program (PE32+, x86-64) ending with the code for its command line's last letter but two."""
    look = bytes.fromhex(
        "65488b042560000000"  # mov rax, gs:[0x60]: the process environment block
        "488b4020"  # mov rax, [rax + 0x20]: its parameters
        "0fb74870"  # movzx ecx, word [rax + 0x70]: bytes of the command line
        "488b5078"  # mov rdx, [rax + 0x78]: the command line, UTF-16
        "0fb74c0afa"  # movzx ecx, word [rdx + rcx - 6]: its last letter but two
    )
    for letter, code in codes.items():  # cmp ecx, letter; jne over; mov eax, code; ret
        answer = (code & 0xFFFFFFFF).to_bytes(4, "little")
        look += b"\x83\xf9" + letter.encode() + b"\x75\x06\xb8" + answer + b"\xc3"
    look += b"\x31\xc0\xc3"  # xor eax, eax; ret
    dos = b"MZ" + bytes(58) + (64).to_bytes(4, "little")
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x22)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        0x20B, 14, 0, 512, 0, 0, 0x1000, 0x1000, 0x140000000, 0x1000, 512, 6, 0, 0, 0, 6, 0, 0, 0x2000, 512,
        0, 3, 0x8100, 1 << 20, 1 << 12, 1 << 20, 1 << 12, 0, 16,
    ) + bytes(128)  # fmt: skip
    section = struct.pack("<8sIIIIIIHHI", b".text", len(look), 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
    return (dos + coff + optional + section).ljust(512, b"\0") + look.ljust(512, b"\0")


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which Windows programs run here."""
    if shutil.which("wine") is None:
        pytest.skip("wine is not installed (apt-get install wine wine64)")
    place = tmp_path_factory.mktemp("wine")
    environment = {**os.environ, "WINEPREFIX": str(place / "prefix"), "WINEDEBUG": "-all", "DISPLAY": ""}
    made = subprocess.run(["wine", "cmd", "/c", "exit"], env=environment, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"wine does not start here: {made.stderr.decode(errors='replace')[-200:]}")
    return environment


CRASH = -1073741795
"""STATUS_ILLEGAL_INSTRUCTION, as Windows reports it."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codes", "last", "code"),
    [
        ({}, "py -3.13 screen.pyz RADIOGRAPHS --csv results.csv --excel", 0),
        ({"--install": 3}, "NOT INSTALLED: see the line above. Nothing was changed outside this folder.", 1),
        (
            {"--install": CRASH},
            "NOT INSTALLED: see the line above. Nothing was changed outside this folder.",
            1,
        ),
        ({"--about": 3}, "NOT INSTALLED: a file of this bundle is missing or was changed.", 1),
        ({"--selftest": 4}, "NOT INSTALLED: the self-test failed.", 1),
        ({"--selftest": CRASH}, "NOT INSTALLED: the self-test failed.", 1),
        (None, "NOT INSTALLED: it needs Python 3.13, which is not here.", 1),
    ],
)
def test_windows_ends_at_any_code_but_zero(
    codes: dict[str, int] | None, last: str, code: int, wine: dict[str, str], spec: BundleSpec, tmp_path: Path
) -> None:
    """install.bat, run by Wine, is done only where each step ends with 0: a crash is a negative code."""
    folder = tmp_path / "my (x86) stick"
    folder.mkdir()
    write_pages(folder, made_for("clinic-laptop-windows", spec))
    (folder / "screen.pyz").write_bytes(b"")
    if codes is not None:
        (folder / "py.exe").write_bytes(windows_program({one[-3]: code for one, code in codes.items()}))
    ended = subprocess.run(
        ["wine", "cmd", "/c", "install.bat"], cwd=folder, env=wine, capture_output=True, text=True,
        input="\n", timeout=120, check=False,
    )  # fmt: skip
    assert last in ended.stdout
    assert ("Installed. To screen" in ended.stdout) is (code == 0)
    assert ended.returncode == code


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


STAND_INS = {
    "android/content/res": "class AssetManager",
    "com/google/ai/edge/litert": """
enum class Accelerator { CPU }
class TensorBuffer { fun writeFloat(data: FloatArray) {}; fun readFloat() = FloatArray(2) }
class CompiledModel {
    class Options(vararg accelerators: Accelerator)
    fun createInputBuffers() = listOf(TensorBuffer())
    fun createOutputBuffers() = listOf(TensorBuffer())
    fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>) {}
    companion object {
        fun create(assets: android.content.res.AssetManager, name: String, options: Options) = CompiledModel()
    }
}""",
    "ai/onnxruntime": """
open class OnnxValue { val value: Any = arrayOf(FloatArray(2)) }
class OnnxTensor : OnnxValue(), java.io.Closeable {
    override fun close() {}
    companion object {
        fun createTensor(e: OrtEnvironment, data: java.nio.FloatBuffer, shape: LongArray) = OnnxTensor()
    }
}
class OrtEnvironment {
    fun createSession(path: String) = OrtSession()
    companion object { fun getEnvironment() = OrtEnvironment() }
}
class OrtSession {
    val inputNames: Set<String> = setOf("input")
    fun run(inputs: Map<String, OnnxTensor>) = Result()
    class Result : java.io.Closeable { operator fun get(index: Int) = OnnxValue(); override fun close() {} }
}""",
}
"""The classes that the lines use, with the signatures in the libraries' own documentation.

Closeable stands for AutoCloseable, which Debian's Kotlin 1.3 cannot `use` without another library.
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", ["litert", "ort"])
def test_the_lines_of_kotlin_compile(target: Target, spec: BundleSpec, tmp_path: Path) -> None:
    """A Kotlin compiler takes the lines in README.md, against stand-ins of the libraries' classes."""
    compiler = shutil.which("kotlinc")
    if compiler is None:
        pytest.skip("kotlinc is not installed (apt-get install kotlin)")
    artifact = spec.report.artifact.model_copy(update={"format": target})
    write_pages(tmp_path, made_for("android-phone", spec, artifact=artifact))
    code = (tmp_path / "README.md").read_text().partition("```kotlin\n")[2].partition("```")[0]
    (tmp_path / "App.kt").write_text(code)
    for number, (place, text) in enumerate(STAND_INS.items()):
        (tmp_path / f"{number}.kt").write_text(f"package {place.replace('/', '.')}\n{text}\n")
    files = sorted(str(file) for file in tmp_path.glob("*.kt"))
    ended = subprocess.run(
        [compiler, *files, "-d", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert "error:" not in ended.stderr, ended.stderr
    assert ended.returncode == 0
    assert list((tmp_path / "out").rglob("AppKt.class"))
