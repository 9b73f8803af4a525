"""The program that goes to the device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from udacimed_edge import runtime
from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import run
from udacimed_edge.core.data import open_data
from udacimed_edge.core.files import path_digest
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.runtime.reader import open_artifact
from udacimed_edge.targets.bundle.runner import build_runner

IMAGES = open_data("synthetic").read("test").images[:4]

_ISOLATED = """
import runpy, sys
sys.path.insert(0, {packages!r})
sys.argv = [{runner!r}, *{arguments!r}]
runpy.run_path({runner!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def device(small_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a device has it: the runner, an ORT artifact of the small network, its self-test."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("device")
    contract = Contract("ort", "fp32", 0.5, "a test", "small", "0" * 64, None, "0")
    artifact = folder / "model.ort"
    run(FORMATS["ort"], small_program, contract, None, artifact)
    build_runner(folder)
    (folder / "selftest").mkdir()
    names = [f"{number:03}.png" for number in range(len(IMAGES))]
    for name, pixels in zip(names, IMAGES, strict=True):
        Image.fromarray(pixels).save(folder / "selftest" / name)
    vectors = {
        "artifact_sha256": path_digest(artifact),
        "tolerance": 1e-4,
        "images": names,
        "probabilities": open_artifact(artifact).predict(IMAGES).tolist(),
    }
    (folder / "selftest" / "vectors.json").write_text(json.dumps(vectors), encoding="utf-8")
    return folder


def link_packages(folder: Path, *names: str) -> Path:
    """Make a folder that holds links to a few installed packages and their shared libraries, no more."""
    folder.mkdir()
    for name in names:
        spec = find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        package = Path(spec.submodule_search_locations[0])
        for there in {package, *package.parent.glob("*.libs"), *package.parent.glob(f"{name}-*.dist-info")}:
            if not (folder / there.name).exists():
                (folder / there.name).symlink_to(there)
    return folder


def isolated(device: Path, packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the runner without site-packages and environment: only with what is linked."""
    script = _ISOLATED.format(packages=str(packages), runner=str(device / "screen.pyz"), arguments=arguments)
    command = [sys.executable, "-I", "-S", "-c", script]
    return subprocess.run(command, cwd=device, env={}, capture_output=True, text=True, check=False)


def test_the_runner_needs_neither_toolkit_nor_environment(device: Path, tmp_path: Path) -> None:
    """With numpy, Pillow and one runtime alone it passes its self-test and screens as validated."""
    packages = link_packages(tmp_path / "packages", "numpy", "PIL", "onnxruntime")
    ended = isolated(device, packages, "--selftest", "selftest", "--jsonl", str(tmp_path / "out"))
    assert ended.returncode == 0, ended.stderr
    assert "self-test passed: 4 images" in ended.stdout
    rows = [json.loads(line) for line in (tmp_path / "out").read_text(encoding="utf-8").splitlines()]
    expected = open_artifact(device / "model.ort").predict(IMAGES)
    np.testing.assert_allclose([row["probability"] for row in rows], expected, atol=1e-6, rtol=0)
    assert ended.stderr == ""


def test_the_runner_decompresses_dicom(device: Path, tmp_path: Path) -> None:
    """A compressed DICOM file is read by the process that the zip starts of itself, without the toolkit."""
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = "1.2.840.10008.5.1.4.1.1.1", "1.2.3", "DX"
    data.PhotometricInterpretation, data.SamplesPerPixel, data.PixelRepresentation = "MONOCHROME2", 1, 0
    data.Rows = data.Columns = 64
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelData = 7, IMAGES[0].tobytes()
    data.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom")
    data.save_as(tmp_path / "rle.dcm", enforce_file_format=True)
    packages = link_packages(tmp_path / "packages", "numpy", "PIL", "onnxruntime", "pydicom")
    ended = isolated(device, packages, str(tmp_path / "rle.dcm"), "--jsonl", str(tmp_path / "out"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (row,) = (json.loads(line) for line in (tmp_path / "out").read_text(encoding="utf-8").splitlines())
    assert row["probability"] == pytest.approx(
        float(open_artifact(device / "model.ort").predict(IMAGES[:1])[0]), abs=1e-6
    )


def test_a_missing_runtime_is_named(device: Path, tmp_path: Path) -> None:
    """Without the artifact's runtime it says what is missing, and exits with 3."""
    ended = isolated(device, link_packages(tmp_path / "packages", "numpy", "PIL"), "selftest")
    assert ended.returncode == 3
    assert ended.stderr == "the artifact cannot be used: onnxruntime is not installed on this device\n"


def test_it_runs_as_a_file(device: Path) -> None:
    """`python screen.pyz --help` names the options and the limit of use."""
    ended = subprocess.run(
        [sys.executable, str(device / "screen.pyz"), "--help"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert "--selftest" in ended.stdout
    assert Contract.notice in " ".join(ended.stdout.split())


def test_the_same_sources_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folder, clock, time zone and file times leave no trace."""
    first = build_runner(tmp_path / "a").read_bytes()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    if hasattr(time, "tzset"):
        time.tzset()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    second = build_runner(tmp_path / "b" / "screen.pyz").read_bytes()
    monkeypatch.undo()
    if hasattr(time, "tzset"):
        time.tzset()
    assert second == first
    assert os.fsencode(tmp_path) not in first


def test_the_runner_holds_the_runtime_and_nothing_else(tmp_path: Path) -> None:
    """The members are the runtime's modules as they were validated, and the two files that start them."""
    modules = Path(runtime.__file__).parent
    with zipfile.ZipFile(build_runner(tmp_path)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        for module in modules.glob("*.py"):
            assert archive.read(f"udacimed_edge/runtime/{module.name}") == module.read_bytes()
    own = {"__main__.py", "udacimed_edge/__init__.py"}
    assert set(names) == own | {f"udacimed_edge/runtime/{module.name}" for module in modules.glob("*.py")}
    assert names == sorted(names)
