"""Which artifact a person means by a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from udacimed_edge.core.artifact import locate, report_of
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
