"""The doctor: what can be done here, and what to type for the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from udacimed_edge.converters import FORMATS
from udacimed_edge.core import machine
from udacimed_edge.workflow import doctor


def without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> dict[str, doctor.FormatHealth]:
    """What the doctor says where these modules are not installed."""
    monkeypatch.setattr(doctor, "is_installed", lambda module: module not in absent)
    return {health.name: health for health in doctor.format_health()}


def test_with_everything_installed_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every format converts and executes, and no command is named."""
    for health in without(monkeypatch).values():
        assert health.convert
        assert health.execute.startswith("yes")
        assert (health.missing, health.remedy) == ((), "")


@pytest.mark.parametrize(
    ("module", "name", "execute"),
    [
        ("onnxscript", "ort", "yes"),
        ("onnxruntime", "ort", "no"),
        ("nncf", "openvino", "yes"),
        ("openvino", "openvino", "no"),
        ("coremltools", "coreml", "no"),
        ("ai_edge_quantizer", "litert", "yes"),
    ],
)
def test_a_missing_module_costs_its_own_format_alone(
    module: str, name: str, execute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its format cannot convert, its pip command is named, and those of other extras are as before."""
    found = without(monkeypatch, module)
    assert (found[name].convert, found[name].execute, found[name].missing) == (False, execute, (module,))
    assert found[name].remedy == f"pip install '.[{FORMATS[name].extra}]' in the project's folder"
    extra = FORMATS[name].extra
    assert all(health.convert for other, health in found.items() if FORMATS[other].extra != extra)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML itself runs here")
def test_core_ml_says_who_executes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off macOS the doctor says that our executor runs Core ML artifacts, not Core ML."""
    assert "MIL executor" in without(monkeypatch)["coreml"].execute


def test_the_doctor_sees_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named data file is shown, one that is not there is shown as such, and the cached official one too."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    file = tmp_path / "x.npz"
    assert doctor.data_found({"UDACIMED_DATA": str(file)})["UDACIMED_DATA"] == f"{file} (no such file)"
    file.touch()
    assert doctor.data_found({"UDACIMED_DATA": str(file)})["UDACIMED_DATA"] == str(file)
    assert doctor.data_found({})["medmnist"] == "not downloaded yet"
    (tmp_path / ".medmnist").mkdir()
    (tmp_path / ".medmnist" / "pneumoniamnist_64.npz").touch()
    assert doctor.data_found({})["medmnist"].endswith("pneumoniamnist_64.npz")


def test_the_doctor_names_what_a_row_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every processor case can be computed here, or what would help is named."""
    monkeypatch.setattr(machine, "instruction_sets", lambda: ["avx2"])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UDACIMED_ARM_ROOT", str(tmp_path / "arm64"))
    rows = doctor.processor_health()
    assert rows["openvino-native"] == "yes, this machine"
    assert rows["openvino-avx2"].startswith("yes, ")
    assert rows["openvino-avx512"].endswith("no avx512f")
    assert rows["litert-cortex-a72"].startswith("no, ARM Cortex-A72")
    assert rows["litert-cortex-a72"].endswith("apt-get install qemu-user-static")
    assert doctor.arm_root_found() == f"{tmp_path / 'arm64'} (not there; UDACIMED_ARM_ROOT names another)"
    (tmp_path / "arm64").mkdir()
    assert doctor.arm_root_found() == str(tmp_path / "arm64")


def test_reading_dicom_takes_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pydicom the command that installs it is named."""
    monkeypatch.setattr("udacimed_edge.workflow.doctor.is_installed", lambda module: module != "pydicom")
    assert doctor.dicom_found() == "no: pip install '.[dicom]' in the project's folder"
