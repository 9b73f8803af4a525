"""Which artifact a person means by a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from udacimed_edge.core.artifact import artifacts_below, locate, report_of
from udacimed_edge.core.errors import InputError


@pytest.mark.parametrize("name", ["model.ort", "model.tflite", "model.xml"])
def test_a_folder_stands_for_the_artifact_in_it(name: str, tmp_path: Path) -> None:
    """The folder and the file name the same artifact, and its report lies beside it."""
    artifact = tmp_path / name
    artifact.touch()
    (tmp_path / "report.json").touch()
    assert locate(tmp_path) == locate(artifact) == artifact
    assert report_of(artifact) == tmp_path / "report.json"


def test_a_package_is_an_artifact_although_a_folder(tmp_path: Path) -> None:
    """A Core ML package is the artifact itself."""
    package = tmp_path / "model.mlpackage"
    package.mkdir()
    assert locate(package) == locate(tmp_path) == package


def test_openvino_s_weights_name_their_model(tmp_path: Path) -> None:
    """The .bin beside an .xml stands for the .xml."""
    (tmp_path / "model.xml").touch()
    (tmp_path / "model.bin").touch()
    assert locate(tmp_path / "model.bin") == tmp_path / "model.xml"


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        ([], "none", "there is no artifact at"),
        ([], "", "holds no artifact"),
        (["a.ort", "b.tflite"], "", "holds 2 artifacts"),
        (["notes.txt"], "notes.txt", "is no artifact"),
        (["lone.bin"], "lone.bin", "is no artifact"),
    ],
)
def test_anything_else_is_refused(names: list[str], asked: str, message: str, tmp_path: Path) -> None:
    """A path that names no artifact, or several, is an error."""
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        locate(tmp_path / asked)


def test_a_folder_stands_for_the_artifacts_below_it(tmp_path: Path) -> None:
    """A folder with many artifacts is taken apart; one that is or holds an artifact stays as it is."""
    for name in ("b-fp32/model.ort", "a-int8/model.xml", "a-int8/model.bin", "rejected/c/model.tflite"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d-fp16" / "model.mlpackage" / "Data").mkdir(parents=True)
    (tmp_path / "d-fp16" / "model.mlpackage" / "Data" / "inner.ort").touch()
    (tmp_path / ".staging-1-x" / "e").mkdir(parents=True)
    (tmp_path / ".staging-1-x" / "e" / "model.ort").touch()
    (tmp_path / "pom.xml").touch()
    found = ["a-int8/model.xml", "b-fp32/model.ort", "d-fp16/model.mlpackage", "rejected/c/model.tflite"]
    assert artifacts_below(tmp_path) == [tmp_path / name for name in found]
    assert artifacts_below(tmp_path / "b-fp32") == [tmp_path / "b-fp32"]
    assert artifacts_below(tmp_path / "d-fp16" / "model.mlpackage") == [tmp_path / "d-fp16/model.mlpackage"]
    assert artifacts_below(tmp_path / "none") == [tmp_path / "none"]
    (tmp_path / "empty").mkdir()
    assert artifacts_below(tmp_path / "empty") == [tmp_path / "empty"]
