"""The doctor: what can be done here, and what to type for the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from udacimed_edge import doctor
from udacimed_edge.converters import FORMATS


def without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> dict[str, doctor.FormatHealth]:
    """What the doctor says where these modules are not installed."""
    for place in ("udacimed_edge.doctor.is_installed", "udacimed_edge.converters.base.is_installed"):
        monkeypatch.setattr(place, lambda module: module not in absent)
    return {health.name: health for health in doctor.examine_formats()}


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
    """One format cannot convert, its pip command is named, and the others are as before."""
    found = without(monkeypatch, module)
    assert (found[name].convert, found[name].execute, found[name].missing) == (False, execute, (module,))
    assert found[name].remedy == f"pip install 'udacimed-edge[{FORMATS[name].extra}]'"
    assert all(health.convert for other, health in found.items() if other != name)


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
