"""The Python API: what `import udacimed_edge` gives, costs and promises."""

from __future__ import annotations

import ast
import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import LENIENT

import udacimed_edge as edge

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parent.parent
RAW = {"mean": 0.0, "std": 1 / 255, "labels": ("normal", "pneumonia")}
"""The small network takes raw pixels."""


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script in a fresh Python, given as a notebook's cells are: without a file."""
    return subprocess.run(
        [sys.executable, "-"], input=script, cwd=folder, capture_output=True, text=True, check=False
    )


def test_importing_is_cheap(tmp_path: Path) -> None:
    """The import, `dir` and an error's class load none of the libraries that take long."""
    script = (
        "import sys, udacimed_edge as edge; dir(edge); edge.EdgeError, edge.InputError\n"
        "print(sys.modules.keys() & {'numpy', 'torch', 'pydantic', 'rich', 'onnx', 'udacimed_edge.api'})"
    )
    assert run(script, tmp_path).stdout == "set()\n"


def test_every_name_is_there() -> None:
    """Each public name can be had and is listed; what a type checker sees is the same."""
    assert set(edge.__all__) <= set(dir(edge))
    for name in edge.__all__:
        assert getattr(edge, name).__name__ == name
    tree = ast.parse((ROOT / "toolkit" / "__init__.py").read_text(encoding="utf-8"))
    seen = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    told = {alias.asname: node.module for node in seen for alias in node.names if alias.asname}
    assert told.keys() == set(edge.__all__)
    for name, module in told.items():
        assert getattr(sys.modules[str(module)], name) is getattr(edge, name)


def test_a_name_that_is_none_is_refused() -> None:
    """A wrong name is Python's own error."""
    with pytest.raises(AttributeError, match="no attribute 'covnert'"):
        edge.covnert  # noqa: B018


@pytest.fixture(scope="module")
def model(
    small_network: Any, small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> edge.SourceModel:
    """The small network, from memory."""
    test = edge.open_data("synthetic").read("test")
    threshold = float(np.quantile(small_answers(test.images[test.labels == 0]), 0.6))
    return edge.load_model(small_network, **RAW, threshold=threshold)


@pytest.fixture(scope="module")
def artifact(model: edge.SourceModel, tmp_path_factory: pytest.TempPathFactory) -> edge.Artifact:
    """The small network as an artifact that passed, in a folder with a space in its name."""
    out = tmp_path_factory.mktemp("two words")
    (made,) = edge.convert(
        model, target="ort", precision="fp32", data="synthetic", out=str(out), policy=LENIENT, isa="none"
    )
    return made


def test_a_module_becomes_an_artifact(artifact: edge.Artifact, model: edge.SourceModel) -> None:
    """What `convert` gives says where it lies, what it is, and how it was judged."""
    assert (artifact.format, artifact.precision, artifact.verdict) == ("ort", "fp32", "PASS")
    assert artifact.path.is_file()
    assert artifact.report.source.digest == model.digest
    assert artifact.report.source.name == "Small"
    assert edge.read_report(str(artifact.path.parent / "report.json")) == artifact.report


def test_it_answers_from_raw_pixels(
    artifact: edge.Artifact, small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> None:
    """An opened artifact gives the source model's probabilities, for any number of images."""
    images = edge.open_data("synthetic").read("test").images[:70]
    opened = edge.open_artifact(str(artifact.path.parent))
    np.testing.assert_allclose(opened.predict(images), small_answers(images), atol=1e-4)
    assert opened.contract.threshold == artifact.report.threshold


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 64, 64), np.float32),
        np.zeros((64, 64), np.uint8),
        np.zeros((2, 1, 64, 64), np.uint8),
        np.zeros((2, 28, 28), np.uint8),
        np.zeros((0, 64, 64), np.uint8),
    ],
)
def test_what_may_not_be_raw_pixels_is_refused(artifact: edge.Artifact, images: Any) -> None:
    """Floats, other shapes and no image at all are refused, not cast."""
    with pytest.raises(edge.InputError, match="expected uint8 of shape"):
        edge.open_artifact(artifact).predict(images)


def test_judged_again_with_and_without_its_model(
    artifact: edge.Artifact, model: edge.SourceModel, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the model at hand the verdict rests on nobody's word, without it it does; nothing is printed."""
    known = edge.validate(artifact, data="synthetic", source=model, policy=LENIENT, isa="none")
    assert (known.verdict, known.stated) == ("PASS", False)
    assert known.predictions.digest == artifact.report.predictions.digest
    told = edge.validate(artifact.path, data="synthetic", policy=LENIENT, isa="none")
    assert (told.verdict, told.stated) == ("PASS", True)
    assert edge.compare(artifact, str(artifact.path.parent)).reasons == ()
    assert capfd.readouterr() == ("", "")


def test_another_model_is_refused(artifact: edge.Artifact, small_network: Any) -> None:
    """A model with other weights is not the one that the artifact was made from."""
    other = copy.deepcopy(small_network)
    other.head.bias += 1
    with pytest.raises(edge.InputError, match="was made from the model Small"):
        edge.validate(artifact, data="synthetic", source=edge.load_model(other, **RAW, threshold=0.5))


def test_measured_from_python(artifact: edge.Artifact) -> None:
    """A benchmark gives every figure, and prints nothing."""
    result = edge.benchmark(artifact, batches=[1], threads=1, rounds=1)
    assert [m.kind for m in result.measurements] == ["ort-fp32"]
    assert result.measurements[0].percentile_ms(50) > 0


def test_a_model_that_the_policy_refuses_raises(small_network: Any, tmp_path: Path) -> None:
    """What is not worth converting is refused as the command line refuses it, and nothing is left."""
    bad = edge.load_model(small_network, **RAW, threshold=0.999)
    with pytest.raises(edge.GateRefusedError, match="nothing was converted"):
        edge.convert(bad, target="ort", precision="fp32", data="synthetic", out=tmp_path / "out")
    assert not list((tmp_path / "out").glob("ort*"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "tflite"}, edge.InputError, "there is no target 'tflite'; did you mean 'litert'?"),
        ({"target": ["ort", "toaster"]}, edge.InputError, "there is no target 'toaster'"),
        ({"target": "ort", "precision": "fp16"}, edge.InputError, "ort has no fp16"),
        ({"target": "ort", "data": "none.npz"}, edge.InputError, "no data file at none.npz"),
        ({"target": "ort", "out": __file__}, edge.OutputError, "a file stands where a folder is needed"),
    ],
)
def test_a_wrong_argument_is_named(
    model: edge.SourceModel,
    arguments: dict[str, Any],
    error: type[edge.EdgeError],
    message: str,
    tmp_path: Path,
) -> None:
    """Each wrong argument of `convert` raises its kind of error before anything is made."""
    with pytest.raises(error) as caught:
        edge.convert(model, **{"data": "synthetic", "out": tmp_path / "out", **arguments})
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


TYPED = """
import udacimed_edge as edge

artifacts: list[edge.Artifact] = edge.convert("model.onnx", target=["ort", "litert"], data="synthetic")
report: edge.Report = edge.validate(artifacts[0], source=edge.load_model("model.onnx", mean=0.5, std=0.5))
missed: int = report.metrics.fn if report.metrics else 0
change = edge.compare("a", "b").newly_missed
try:
    edge.verify(edge.package(artifacts[0], "iphone"))
except edge.GateRefusedError as error:
    code: int = error.exit_code
rate: float = edge.benchmark("a").measurements[0].percentile_ms(50)
"""
WRONG = """
import udacimed_edge as edge

edge.convert(precision="float16")
edge.open_artifact("a").predict("image.png")
edge.validate("a").verdict == "PASSED"
edge.benchmark.rounds
"""


def checked(path: Path) -> str:
    """What mypy --strict says of a file."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


@pytest.mark.slow
def test_users_are_told_of_types(tmp_path: Path) -> None:
    """Mypy --strict passes the example and a user's script, and sees what is wrong in another."""
    pytest.importorskip("mypy")
    good, wrong = tmp_path / "good.py", tmp_path / "wrong.py"
    good.write_text(TYPED)
    wrong.write_text(WRONG)
    assert checked(ROOT / "examples" / "api.py") == ""
    assert checked(good) == ""
    said = checked(wrong)
    for line in (4, 5, 6, 7):
        assert f"wrong.py:{line}: error" in said


@pytest.mark.slow
def test_a_plain_script_goes_the_whole_way(tmp_path: Path) -> None:
    """The example without a guard goes from an nn.Module to a verified bundle, and runs once."""
    out = tmp_path / "two words"
    script = tmp_path / "my script.py"
    script.write_text((ROOT / "examples" / "api.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "tablet.toml").write_bytes((ROOT / "examples" / "tablet.toml").read_bytes())
    done = subprocess.run(
        [sys.executable, str(script), str(out)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert first.startswith("probability of pneumonia:")
    assert last.endswith("origin proven: False")


@pytest.mark.slow
def test_the_notebook_goes_the_whole_way(tmp_path: Path) -> None:
    """The notebook's cells run one after another where no file is the program, as in a kernel."""
    text = (ROOT / "examples" / "from_module_to_bundle.ipynb").read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    done = run("\n".join("".join(cell["source"]) for cell in cells), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "origin proven: False" in done.stdout
