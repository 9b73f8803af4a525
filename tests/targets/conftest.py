"""What a bundle is made of, made up."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from udacimed_edge.targets.bundle.spec import BundleSpec
from udacimed_edge.targets.devices.profile import find_profile
from udacimed_edge.validation.report import Report, read_report

KEPT = Path(__file__).parent / "kept" / "0.1.0.zip"


@pytest.fixture(scope="session")
def kept_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a kept bundle: an ORT INT8 artifact that passed a rehearsal."""
    folder = tmp_path_factory.mktemp("kept")
    with zipfile.ZipFile(KEPT) as kept:
        name = next(name for name in kept.namelist() if name.endswith("/report.json"))
        (folder / "report.json").write_bytes(kept.read(name))
    return read_report(folder / "report.json")


@pytest.fixture
def spec(kept_report: Report) -> BundleSpec:
    """A bundle for a laptop, as if its artifact had been judged on real radiographs."""
    data = kept_report.data.model_copy(update={"origin": "custom", "name": "file.npz"})
    changes = {"rehearsal": False, "title": "ort int8 of source", "data": data, "threshold": 0.25}
    return BundleSpec(
        profile=find_profile("clinic-laptop"),
        report=kept_report.model_copy(update=changes),
        artifact="model.ort",
        summary="Of 390 radiographs with pneumonia, this artifact missed 3.",
        executor="a test",
        signed=False,
        budgets={"latency_ms": "held on the machine that packaged, not on the device: at most 30"},
        toolkit_version="0.1.0",
    )


MakeWheel = Callable[[Path, str, str, str], Path]


@pytest.fixture
def make_wheel() -> MakeWheel:
    """Makes a wheel that pip takes and that holds nothing: (folder, name, version, tags)."""

    def make(folder: Path, name: str, version: str, tags: str = "py3-none-any") -> Path:
        folder.mkdir(exist_ok=True)
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(folder / f"{stem}-{tags}.whl", "w") as wheel:
            info = f"{stem}.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n")
            wheel.writestr(f"{info}/RECORD", "")
        return folder / f"{stem}-{tags}.whl"

    return make
