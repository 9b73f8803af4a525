"""Bundles in the field: installed and run where there is no network, no toolkit and no environment."""

from __future__ import annotations

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from udacimed_edge.targets.bundle.archive import unpack
from udacimed_edge.targets.devices.profile import find_profile
from udacimed_edge.validation.judging.emulation import Emulator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

OFFLINE = ("unshare", "--user", "--map-root-user", "--net")
"""Runs a command without any network."""

ALONE = (*OFFLINE, "env", "-i")
"""And with no variable but the one that every shell sets."""

AARCH64 = 183
"""EM_AARCH64, the machine in an ELF header (System V ABI; Arm, "ELF for the Arm 64-bit Architecture")."""


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as an INT8 artifact that passed a rehearsal."""
    out = tmp_path_factory.mktemp("made")
    ended = run(sys.executable, Path(__file__).with_name("make_kept_bundle.py"), out)
    assert ended.returncode == 0, ended.stderr
    return out / "ort-int8"


def packaged(artifact: Path, device: str, out: Path) -> Path:
    """The zip of a bundle, its wheels fetched from the package index."""
    command = (sys.executable, "-m", "udacimed_edge", "package", artifact, "--target", device, "--rehearsal")
    ended = run(*command, "--out", out)
    if "there is no network" in ended.stderr:
        pytest.skip("the wheels cannot be fetched: there is no network")
    assert ended.returncode == 0, ended.stderr
    return next(out.glob("*.zip"))


@pytest.fixture(scope="module")
def laptop_zip(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for a clinic's laptop."""
    return packaged(artifact, "clinic-laptop", tmp_path_factory.mktemp("laptop"))


@pytest.fixture(scope="module")
def clinic(laptop_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bundle as a technician left it: unpacked and installed, without a network."""
    if run(*ALONE, "true").returncode:
        pytest.skip("this system does not let us make a network namespace (unshare --user --net)")
    folder = unpack(laptop_zip, tmp_path_factory.mktemp("a clinic") / "on the disk")
    installed = run(*ALONE, "sh", "install.sh", cwd=folder)
    if "NOT INSTALLED: it needs Python" in installed.stderr:
        pytest.skip("the Python that the bundle carries wheels for is not on this machine")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert "self-test passed: 32 images" in installed.stdout
    yield folder
    shutil.rmtree(folder)  # 200 MB


def screen(clinic: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What a clinic types, without a network."""
    return run(*ALONE, "python3.11", "-I", "-S", "screen.pyz", *arguments, cwd=clinic)


def test_nothing_else_is_reached(clinic: Path) -> None:
    """The namespace has no network but its own loopback, and no variable of ours."""
    devices = run(*ALONE, "cat", "/proc/net/dev").stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert run(*ALONE, "env").stdout == ""
    ended = run(*ALONE, "python3.11", "-I", "-S", "-c", "import udacimed_edge")
    assert "No module named 'udacimed_edge'" in ended.stderr


def test_it_computes_as_validated(clinic: Path) -> None:
    """The self-test passes on what was installed, and says what it is not."""
    ended = screen(clinic, "--selftest")
    assert ended.returncode == 0, ended.stderr
    assert "self-test passed: 32 images" in ended.stdout
    assert "not a diagnosis" in ended.stdout


def test_it_screens_what_a_clinic_has(clinic: Path, tmp_path: Path) -> None:
    """Images in folders with spaces, of several kinds, get the probabilities that the self-test expects."""
    vectors = json.loads((clinic / "selftest" / "vectors.json").read_text(encoding="utf-8"))
    ward = tmp_path / "ward 3"
    ward.mkdir()
    for number in (0, 31):
        Image.open(clinic / "selftest" / vectors["images"][number]).save(ward / f"chest {number}.png")
    Image.open(ward / "chest 0.png").resize((900, 900)).save(ward / "large.jpg")
    (ward / "notes.png").write_text("no image", encoding="utf-8")
    results = tmp_path / "results of today.csv"
    ended = screen(clinic, ward, "--csv", results)
    assert ended.returncode == 1  # one file gave no radiograph
    assert ", 1 unreadable\n" in ended.stdout
    with results.open(encoding="utf-8", newline="") as stream:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(stream)}
    for number in (0, 31):
        row, expected = rows[f"chest {number}.png"], vectors["probabilities"][number]
        assert float(row["probability"]) == pytest.approx(expected, abs=vectors["tolerance"])
        assert row["decision"] == ("pneumonia" if expected >= vectors["threshold"] else "normal")
    assert rows["notes.png"]["error"]
    again = screen(clinic, ward, "--csv", results)
    assert ", 1 unreadable (3 done before)" in again.stdout


def test_it_is_verified_without_a_network(laptop_zip: Path, clinic: Path) -> None:
    """`verify` needs no network for the zip, and sha256sum finds the installed folder unchanged."""
    verify = (sys.executable, "-m", "udacimed_edge", "verify", "--unsigned", laptop_zip)
    ended = run(*OFFLINE, *verify)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    wheels = "numpy, onnxruntime, pillow, pydicom, pylibjpeg, pylibjpeg-libjpeg, pylibjpeg-openjpeg: 7 wheels"
    assert f"ok           wheels     {wheels}, pinned, for x86_64" in ended.stdout
    assert "ok           self-test" in ended.stdout
    assert run("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS", cwd=clinic).returncode == 0


def test_packaging_again_gives_the_same_bytes(artifact: Path, laptop_zip: Path, tmp_path: Path) -> None:
    """The same artifact and report give the same zip; the wheels come from the first one."""
    wheels = unpack(laptop_zip, tmp_path / "first") / "wheels"
    command = (sys.executable, "-m", "udacimed_edge", "package", artifact, "--target", "clinic-laptop")
    ended = run(*command, "--rehearsal", "--wheels", wheels, "--out", tmp_path / "again")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "again" / laptop_zip.name).read_bytes() == laptop_zip.read_bytes()


@pytest.fixture(scope="module")
def board(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for a Raspberry Pi 4, unpacked."""
    out = tmp_path_factory.mktemp("board")
    return unpack(packaged(artifact, "raspberry-pi-4", out), out / "on the card")


def test_the_wheels_of_a_board_are_aarch64(board: Path) -> None:
    """Every library in a compiled wheel is for aarch64, and every Python of the board has its wheels."""
    machines: dict[str, set[int]] = {}
    compiled = [wheel for wheel in (board / "wheels").iterdir() if not wheel.name.endswith("-any.whl")]
    for wheel in compiled:
        with zipfile.ZipFile(wheel) as inside:
            heads = [inside.open(name).read(20) for name in inside.namelist() if ".so" in name]
        machines[wheel.name] = {struct.unpack_from("<H", h, 18)[0] for h in heads if h[:4] == b"\x7fELF"}
    assert set(map(frozenset, machines.values())) == {frozenset({AARCH64})}
    runner = find_profile("raspberry-pi-4").runner
    assert runner is not None
    for python in runner.python:
        tag = f"-cp{python.replace('.', '')}-"
        assert len([name for name in machines if tag in name]) == len(
            {"numpy", "pillow", "onnxruntime", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg"}
        )


def test_a_board_s_self_test_passes_under_emulation(board: Path, tmp_path: Path) -> None:
    """On an emulated Cortex-A72 the program, with the bundle's own wheels, computes as validated."""
    emulator = Emulator("qemu-aarch64-static", "cortex-a72", foreign=True)
    if why := emulator.missing():
        pytest.skip(why)
    asked = run(*emulator.python(), "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    assert asked.returncode == 0, asked.stderr
    runner = find_profile("raspberry-pi-4").runner
    assert runner is not None
    if (python := asked.stdout.strip()) not in runner.python:
        pytest.skip(f"the ARM root has Python {python}, the board {' or '.join(runner.python)}")
    offline = (
        "--no-index",
        "--find-links",
        "wheels",
        "--require-hashes",
        "--no-deps",
        "-r",
        "requirements.txt",
    )
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--target", tmp_path / "installed")
    installed = run(*pip, *offline, *runner.pip_options(python), cwd=board)
    assert installed.returncode == 0, installed.stderr
    command = [*emulator.python(), "screen.pyz", "--selftest"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "installed")}
    ended = subprocess.run(
        command, cwd=board, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "self-test passed: 32 images" in ended.stdout
    shutil.rmtree(tmp_path / "installed")  # 150 MB
