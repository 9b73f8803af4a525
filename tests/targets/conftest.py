"""What a bundle is made of, made up."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from udacimed_edge.targets.bundle.facts import DataFacts, Facts, Figure


@pytest.fixture
def facts() -> Facts:
    """An artifact that was judged on real radiographs."""
    return Facts(
        title="ort int8 of source",
        rehearsal=False,
        created="2026-11-22T11:06:53+00:00",
        toolkit_version="0.1.0",
        format="ort",
        precision="int8",
        artifact="model.ort",
        artifact_digest="a" * 64,
        input="gray radiograph",
        output="two logits",
        source_name="source",
        source_digest="5" * 64,
        threshold=0.25,
        threshold_origin="a test",
        policy_digest="b" * 64,
        report_digest="c" * 64,
        summary="Of 390 radiographs with pneumonia, this artifact missed 3.",
        figures=(Figure("sensitivity", 0.9923, 0.9777, 0.9984), Figure("AUC", 0.97)),
        datasets=(
            DataFacts("file.npz, test split", "d" * 64, "judged it"),
            DataFacts("calibration images", "e" * 64, "calibrated INT8"),
        ),
        limits=("Not a medical device.", "Elsewhere it may fail."),
        notice="Not a diagnosis.",
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
