"""Core ML packages: what is written into them, what they answer, and how the runtime reads them."""

from __future__ import annotations

import stat
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import Quantization
from udacimed_edge.converters.coreml import convert
from udacimed_edge.core.data import open_data
from udacimed_edge.runtime import coreml as runtime
from udacimed_edge.runtime.contract import KEY, ArtifactError, Contract, probability_of_pneumonia
from udacimed_edge.validation.coreml.executor import open_artifact, weight_dtypes

with runtime.quiet():
    ct = pytest.importorskip("coremltools")

Answers = Callable[[NDArray[np.uint8]], NDArray[np.float64]]

CONTRACT = Contract(
    format="coreml",
    precision="fp32",
    threshold=0.13,
    threshold_origin="the validation split",
    source_name="small",
    source_digest="0" * 64,
    calibration_digest=None,
    toolkit_version="1.2.3",
    output="a label and the probability of each",
)
NONE = np.empty((0, 64, 64), dtype=np.uint8)
WEIGHTS_ALONE = Quantization(FORMATS["coreml"].recipes[0], NONE, open_data("synthetic").read("validation"))
IMAGES = open_data("synthetic").read("test").images[:32]


def converted(program: Path, precision: str, folder: Path) -> Path:
    """Convert a program into a folder."""
    out = folder / f"{precision}.mlpackage"
    quantization = WEIGHTS_ALONE if precision == "int8" else None
    convert(program, replace(CONTRACT, precision=precision), quantization, out)
    return out


def exported(network: Any, folder: Path, batch: int = 1) -> Path:
    """Save a network as an exported program for one batch size."""
    path = folder / "program.pt2"
    torch.export.save(torch.export.export(network.eval(), (torch.zeros(batch, 1, 64, 64),)), path)
    return path


def spec_of(path: Path) -> Any:
    """A package's description, as coremltools reads it."""
    with runtime.quiet():
        return ct.models.MLModel(str(path), skip_model_load=True).get_spec()


def operations_of(path: Path) -> list[Any]:
    """The operations of a package's program."""
    (function,) = spec_of(path).mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    return list(block.operations)


@pytest.fixture(scope="module")
def packages(small_program: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small network in every precision."""
    folder = tmp_path_factory.mktemp("packages")
    return {precision: converted(small_program, precision, folder) for precision in ("fp32", "fp16", "int8")}


# What is written


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("fp32", 1e-6), ("fp16", 5e-3), ("int8", 1e-2)],  # measured: 2e-7, 1.6e-3, 3.1e-3
)
def test_a_package_answers_as_pytorch_does(
    packages: dict[str, Path], small_answers: Answers, precision: str, tolerance: float
) -> None:
    """A package, read back from disk, gives PyTorch's probabilities for raw pixels."""
    answers, expected = open_artifact(packages[precision]).predict(IMAGES), small_answers(IMAGES)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(answers, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_weight_has_the_precision(packages: dict[str, Path], precision: str) -> None:
    """All weights of convolutions and linear layers are stored in the precision asked for."""
    assert weight_dtypes(packages[precision]) == {precision: 8 * 25 + 8 * 8 * 9 + 8 * 2}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_contract_is_read_back(packages: dict[str, Path], precision: str) -> None:
    """The contract comes back whole, through coremltools and through the runtime's own reader."""
    expected = replace(CONTRACT, precision=precision)
    stored = spec_of(packages[precision]).description.metadata.userDefined[KEY]
    assert Contract.from_json(stored) == expected
    assert runtime.read_contract(packages[precision]) == expected


def test_the_package_is_an_image_classifier(packages: dict[str, Path]) -> None:
    """Xcode sees a 64x64 gray image going in, and a label and the probabilities coming out."""
    description = spec_of(packages["int8"]).description
    (image,) = description.input
    gray = ct.proto.FeatureTypes_pb2.ImageFeatureType.GRAYSCALE
    assert image.name == "image"
    assert (image.type.imageType.width, image.type.imageType.height) == (64, 64)
    assert image.type.imageType.colorSpace == gray
    assert description.predictedFeatureName == "classLabel"
    assert description.predictedProbabilitiesName == "classLabel_probs"
    classify = operations_of(packages["int8"])[-1]
    classes = classify.inputs["classes"].arguments[0].value.immediateValue.list.values
    assert [c.immediateValue.tensor.strings.values[0] for c in classes] == ["normal", "pneumonia"]


def test_xcode_shows_the_model_and_its_threshold(packages: dict[str, Path]) -> None:
    """The description says what goes in and out, where the decision lies and what the limits are."""
    description = spec_of(packages["fp16"]).description
    metadata = description.metadata
    assert metadata.shortDescription == f"small: normal or pneumonia. {CONTRACT.notice}"
    assert metadata.versionString == "1.2.3"
    assert metadata.author == "Converted by udacimed-edge 1.2.3"
    assert metadata.license == "That of the model it was made from: small"
    assert "raw pixels 0..255" in description.input[0].shortDescription
    assert all("0.13" in output.shortDescription for output in description.output)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_devices_from_ios_16_can_open_it(packages: dict[str, Path], precision: str) -> None:
    """Every precision is of specification 7: iOS 16, macOS 13."""
    assert spec_of(packages[precision]).specificationVersion == 7


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_probabilities_are_never_float16(packages: dict[str, Path], precision: str) -> None:
    """Also where the network computes in float16, the softmax computes in float32 and is not rounded."""
    *_, softmax, classify = (op for op in operations_of(packages[precision]) if op.type != "const")
    float32 = ct.proto.MIL_pb2.DataType.FLOAT32
    assert (softmax.type, classify.type) == ("softmax", "classify")
    assert softmax.outputs[0].type.tensorType.dataType == float32
    assert classify.inputs["probabilities"].arguments[0].name == softmax.outputs[0].name


def test_others_may_read_the_package(packages: dict[str, Path]) -> None:
    """No file of the package is readable by its writer alone."""
    modes = {file: stat.S_IMODE(file.stat().st_mode) for file in packages["fp32"].rglob("*")}
    assert len(modes) == 6
    assert {mode for file, mode in modes.items() if file.is_file()} == {0o644}
    assert {mode for file, mode in modes.items() if file.is_dir()} == {0o755}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("shift", [[-1.0, -1.0, -1.0], [-0.9, -1.0, -1.1]], ids=["even", "uneven"])
def test_three_channels_and_swapped_labels_convert(
    tmp_path: Path, precision: str, shift: list[float]
) -> None:
    """A network of three channels, its labels in the other order, keeps its answers from a gray image."""

    class Swapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = torch.nn.Buffer(torch.tensor(shift).reshape(1, 3, 1, 1))
            self.scale = torch.nn.Buffer(torch.full((1, 3, 1, 1), 1 / 127.5))
            self.order = torch.nn.Buffer(torch.tensor([1, 0]))
            layers = [torch.nn.Conv2d(3, 8, 9, 4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)]
            self.network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(8, 2))

        def forward(self, x: Any) -> Any:
            return self.network(x * self.scale + self.shift).index_select(1, self.order)

    torch.manual_seed(0)
    network: Any = Swapped().requires_grad_(False)
    network.network[-1].bias += torch.tensor([1.0, 0.0])
    package = converted(exported(network, tmp_path), precision, tmp_path)
    expected = probability_of_pneumonia(network(torch.from_numpy(IMAGES[:, None].astype(np.float32))).numpy())
    assert expected.min() > 0.6  # the labels' order shows
    np.testing.assert_allclose(open_artifact(package).predict(IMAGES), expected, atol=3e-3, rtol=0)
    assert weight_dtypes(package) == {precision: 3 * 8 * 81 + 8 * 2}


@pytest.mark.slow
def test_converting_is_quiet(small_program: Path, tmp_path: Path) -> None:
    """Converting, executing and counting print nothing of coremltools' remarks about its installation."""
    code = (
        "import sys, pathlib, numpy as np\n"
        "from udacimed_edge.converters.coreml import convert\n"
        "from udacimed_edge.runtime.contract import Contract\n"
        "from udacimed_edge.validation.coreml.executor import open_artifact\n"
        "program, out = map(pathlib.Path, sys.argv[1:3])\n"
        "convert(program, Contract.from_json(sys.argv[3]), None, out)\n"
        "open_artifact(out).predict(np.empty((0, 64, 64), np.uint8))\n"
    )
    arguments = [str(small_program), str(tmp_path / "quiet.mlpackage"), CONTRACT.to_json()]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("fp32", 1e-5), ("fp16", 1e-2), ("int8", 6e-2)],  # measured: 2.5e-6, 3.9e-3, 2.9e-2
)
def test_resnet18_answers_as_pytorch_does(tmp_path: Path, precision: str, tolerance: float) -> None:
    """The whole ResNet-18, with random weights, answers as PyTorch does."""
    from udacimed_edge.source.load import build_resnet18

    torch.manual_seed(0)
    network: Any = (
        torch.nn.Sequential(torch.nn.BatchNorm2d(1), build_resnet18(1)).eval().requires_grad_(False)
    )
    network[0].running_mean += 127
    network[0].running_var *= 64**2
    pixels = torch.from_numpy(IMAGES[:, None].astype(np.float32))
    logits = network(pixels)
    network[1].fc.weight *= 2 / (logits[:, 1] - logits[:, 0]).std()
    network[1].fc.bias -= network(pixels).mean(0)
    expected = probability_of_pneumonia(network(pixels).numpy())
    assert np.ptp(expected) > 0.5
    package = converted(exported(network, tmp_path), precision, tmp_path)
    answers = open_artifact(package).predict(IMAGES)
    np.testing.assert_allclose(answers, expected, atol=tolerance, rtol=0)
    assert weight_dtypes(package) == {precision: 11161664}


# How the runtime reads it


def test_reading_a_contract_takes_no_coremltools(packages: dict[str, Path]) -> None:
    """The contract is read without importing coremltools, so that it can be on any machine."""
    code = (
        "import sys, pathlib\n"
        "from udacimed_edge.runtime.coreml import read_contract\n"
        "print(read_contract(pathlib.Path(sys.argv[1])).to_json())\n"
        "assert not {'coremltools', 'torch', 'google'} & sys.modules.keys()\n"
    )
    command = [sys.executable, "-c", code, str(packages["fp32"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Contract.from_json(done.stdout) == CONTRACT


def model_with(package: Path, content: bytes) -> Path:
    """The package with another description."""
    package.mkdir()
    (package / "Manifest.json").write_text(
        '{"itemInfoEntries": {"1": {"path": "model"}}, "rootModelIdentifier": "1"}'
    )
    (package / "Data").mkdir()
    (package / "Data/model").write_bytes(content)
    return package


def field(number: int, content: bytes) -> bytes:
    """One length-delimited protobuf field."""
    tag = number << 3 | 2
    tags = bytes([tag & 127 | 128, tag >> 7]) if tag > 127 else bytes([tag])
    size = len(content)
    return tags + bytes([size & 127 | 128, size >> 7]) + content


def described(value: bytes) -> bytes:
    """A model whose only content is our key in its metadata."""
    return field(2, field(100, field(100, field(1, KEY.encode()) + field(2, value))))


UNREADABLE = {
    "cut off in a field": (described(b"{}")[:-1], "it is cut off"),
    "cut off in a number": (b"\x12\x80", "it is cut off"),
    "endless number": (b"\x80" * 12, "it is not a protobuf"),
    "unknown wire type": (b"\x07", "it is not a protobuf"),
    "not UTF-8": (described(b"\xff"), "codec can't decode"),
    "no metadata": (b"\x08\x07", "carries no contract"),
    "contract not JSON": (described(b"{"), "its contract cannot be read"),
    "contract incomplete": (described(b'{"labels": []}'), "its contract cannot be read"),
}


@pytest.mark.parametrize(("content", "fragment"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_contract_names_the_package(tmp_path: Path, content: bytes, fragment: str) -> None:
    """Bytes that are no description, or one without a contract, are an error which names the package."""
    package = model_with(tmp_path / "bad.mlpackage", content)
    with pytest.raises(ArtifactError, match=f"bad.mlpackage.*{fragment}"):
        runtime.read_contract(package)


def test_fields_of_every_kind_are_passed_over(tmp_path: Path) -> None:
    """Numbers of fixed and variable length before the metadata do not confuse the reader."""
    other = b"\x08\xac\x02" + b"\x19" + bytes(8) + b"\x25" + bytes(4)
    package = model_with(tmp_path / "good.mlpackage", other + described(CONTRACT.to_json().encode()))
    assert runtime.read_contract(package) == CONTRACT


def test_core_ml_is_not_claimed_elsewhere(packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Off macOS the runtime refuses instead of pretending."""
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.raises(RuntimeError, match="runs on macOS, not on Linux"):
        runtime.open_artifact(packages["fp32"])


def test_on_macos_scores_come_from_core_ml(
    packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS each gray image goes to Core ML by itself, and the score is its probability of pneumonia."""

    class Model:
        """Stands in for Core ML, which this test's machine may not have."""

        def __init__(self, path: str) -> None:
            assert path == str(packages["fp32"])

        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            (image,) = inputs.values()
            assert (list(inputs), image.mode, image.size) == (["image"], "L", (64, 64))
            share = np.asarray(image).mean() / 255
            return {"classLabel": "normal", "classLabel_probs": {"normal": 1 - share, "pneumonia": share}}

    fake = types.SimpleNamespace(models=types.SimpleNamespace(MLModel=Model), __version__="9.9")
    monkeypatch.setitem(sys.modules, "coremltools", fake)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    predictor = runtime.open_artifact(packages["fp32"])
    assert predictor.executor.startswith("Core ML of macOS")
    assert predictor.batch == 1
    scores = predictor.predict(IMAGES)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, IMAGES.mean(axis=(1, 2)) / 255)
