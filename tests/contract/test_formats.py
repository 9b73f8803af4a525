"""The contract every format keeps: one suite over every row of FORMATS and each of its precisions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import Quantization, run
from udacimed_edge.converters.calibration import calibration_images
from udacimed_edge.core.data import open_data
from udacimed_edge.core.errors import ExtraMissingError, InputError
from udacimed_edge.core.extras import is_installed
from udacimed_edge.core.files import files_of
from udacimed_edge.runtime.contract import KEY, Contract
from udacimed_edge.runtime.formats import FormatSpec
from udacimed_edge.validation.judging.audit import count_macs, weight_dtypes
from udacimed_edge.validation.judging.evaluate import open_predictor
from udacimed_edge.validation.metrics.metrics import prediction_digest

if TYPE_CHECKING:
    import torch

EVERY = [(row, precision) for row in FORMATS.values() for precision in row.precisions]
IDS = [f"{row.name}-{precision}" for row, precision in EVERY]

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 0.1}
"""Largest probability difference from PyTorch, by precision."""

every_artifact = pytest.mark.parametrize("made", EVERY, ids=IDS, indirect=True)


class Made:
    """One converted artifact."""

    def __init__(self, row: FormatSpec, contract: Contract, path: Path) -> None:
        self.row, self.contract, self.path = row, contract, path


@pytest.fixture(scope="module")
def training() -> NDArray[np.uint8]:
    """Calibration images from the synthetic set."""
    return calibration_images(open_data("synthetic").read("train"))


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """A black and a white image, and 30 of the synthetic test split."""
    drawn = open_data("synthetic").read("test").images[:30]
    return np.concatenate([np.zeros_like(drawn[:1]), np.full_like(drawn[:1], 255), drawn])


def convert(
    row: FormatSpec,
    precision: str,
    program: Path,
    calibration: NDArray[np.uint8],
    folder: Path,
    recipe: int = 0,
) -> Made:
    """Convert the small network, to INT8 by the first recipe or that many above it."""
    contract = Contract(
        format=row.name,
        precision=precision,
        threshold=0.5,
        threshold_origin="a test",
        source_name="small",
        source_digest="0" * 64,
        calibration_digest="1" * 64,
        toolkit_version="0",
        output=row.output,
    )
    path, quantization = folder / f"model{row.suffix}", None
    if precision == "int8":
        quantization = Quantization(
            row.recipes[recipe], calibration, open_data("synthetic").read("validation")
        )
        contract = replace(contract, method=str(row.recipes[recipe]))
    run(row, program, contract, quantization, path)
    return Made(row, contract, path)


def require(row: FormatSpec) -> None:
    """Skip where a library of the format is not installed."""
    if absent := [module for module in row.modules if not is_installed(module)]:
        pytest.skip(f"{row.name}: {', '.join(absent)} not installed")


@pytest.fixture(scope="module")
def made(
    request: pytest.FixtureRequest,
    small_program: Path,
    training: NDArray[np.uint8],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """The artifact of one format and precision, made once for the module."""
    row, precision = request.param
    require(row)
    return convert(
        row, precision, small_program, training, tmp_path_factory.mktemp(f"{row.name}-{precision}")
    )


@every_artifact
def test_contract_is_inside_the_artifact(made: Made, tmp_path: Path) -> None:
    """An artifact moved elsewhere, alone, still says everything about itself."""
    for file in files_of(made.path):
        copy = tmp_path / file.relative_to(made.path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    assert open_predictor(tmp_path / made.path.name).contract == made.contract


@every_artifact
def test_raw_pixels_give_the_answers_of_the_source(
    made: Made,
    pictures: NDArray[np.uint8],
    small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
) -> None:
    """Raw pixels give PyTorch's probabilities; in float also where an image is all black or all white."""
    images = pictures[2:] if made.contract.precision == "int8" else pictures
    expected = small_answers(images)
    assert np.ptp(expected) > 0.5, "answers that are all alike would prove nothing"
    answers = open_predictor(made.path).predict(images)
    np.testing.assert_allclose(answers, expected, atol=TOLERANCE[made.contract.precision], rtol=0)


@every_artifact
def test_batches_and_runs_agree(made: Made, pictures: NDArray[np.uint8]) -> None:
    """An image gets the same answer alone and in company, now and again."""
    predictor = open_predictor(made.path)
    alone = np.concatenate([predictor.predict(image[None]) for image in pictures])
    if predictor.batch is None:
        np.testing.assert_allclose(predictor.predict(pictures), alone, atol=1e-5, rtol=0)
    again = np.concatenate([predictor.predict(image[None]) for image in pictures])
    np.testing.assert_array_equal(again, alone)


@every_artifact
def test_weights_have_the_claimed_type(made: Made) -> None:
    """The artifact's own tensors have the precision its contract claims."""
    counts = weight_dtypes(made.path)
    assert counts[made.contract.precision] == sum(counts.values()) == 8 * 1 * 25 + 8 * 8 * 9 + 2 * 8


@every_artifact
def test_the_work_is_that_of_the_network(made: Made, small_network: torch.nn.Module) -> None:
    """Multiply-accumulates agree with PyTorch's own counter in every format, all in the type that is due."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        small_network(torch.zeros(1, 1, 64, 64))
    stored = (made.row.name, made.contract.precision) == ("openvino", "fp16")  # computed in float32
    expected = {"fp32" if stored else made.contract.precision: counter.get_total_flops() // 2}
    assert count_macs(made.path).macs == expected


def _integers_in_ort(path: Path) -> Iterator[NDArray[np.int8]]:
    from udacimed_edge.validation.judging.audit import ort

    graph, names = ort._graph(path)
    for tensor in map(graph.Initializers, range(graph.InitializersLength())):
        if names[tensor.DataType()] == "int8" and tensor.DimsLength() > 1:
            yield np.array(list(map(tensor.RawData, range(tensor.RawDataLength()))), np.uint8).view(np.int8)


def _integers_in_openvino(path: Path) -> Iterator[NDArray[np.int8]]:
    import openvino

    for node in openvino.Core().read_model(path).get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_element_type().get_type_name() == "i8":
            yield node.data


INTEGERS = {"ort": _integers_in_ort, "openvino": _integers_in_openvino}
"""The weights of an INT8 artifact, tensor by tensor, of the formats whose products can saturate."""


def widest(path: Path, name: str) -> list[int]:
    """The largest magnitude among the integers of each weight tensor."""
    return [int(np.abs(tensor.astype(int)).max()) for tensor in INTEGERS[name](path)]


CAN_SATURATE = [row for row in FORMATS.values() if row.can_saturate]


def test_every_format_that_can_saturate_is_looked_at() -> None:
    """The tests below read the weights of each such format."""
    assert [row.name for row in CAN_SATURATE] == list(INTEGERS)


@pytest.mark.parametrize("made", [(row, "int8") for row in CAN_SATURATE], ids=INTEGERS, indirect=True)
def test_no_product_can_saturate(made: Made) -> None:
    """INT8 weights keep to 7 bits: without VNNI two products of 8 bits overflow their 16-bit sum."""
    assert len(found := widest(made.path, made.row.name)) == 3
    assert all(60 <= largest <= 64 for largest in found), found


@pytest.mark.slow
@pytest.mark.parametrize("row", CAN_SATURATE, ids=INTEGERS)
def test_the_variant_for_comparison_can_saturate(
    row: FormatSpec, small_program: Path, training: NDArray[np.uint8], tmp_path: Path
) -> None:
    """What a report shows beside it uses all 8 bits: otherwise the comparison would show nothing."""
    require(row)
    contract, out = Contract(row.name, "int8", 0.5, "", "", "", None, "0"), tmp_path / f"model{row.suffix}"
    saturating = replace(row.recipes[0], saturating=True)
    validation = open_data("synthetic").read("validation")
    run(row, small_program, contract, Quantization(saturating, training, validation), out)
    assert all(largest > 64 for largest in widest(out, row.name))


def _from_ort(path: Path) -> str:
    import onnxruntime

    return str(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map[KEY])


def _from_triton(path: Path) -> str:
    (model,) = path.rglob("*.onnx")
    return _from_ort(model)


def _from_coreml(path: Path) -> str:
    from coremltools.models import MLModel

    return str(MLModel(str(path), skip_model_load=True).get_spec().description.metadata.userDefined[KEY])


def _from_litert(path: Path) -> str:
    from ai_edge_litert.schema_py_generated import ModelT

    model = ModelT.InitFromPackedBuf(path.read_bytes())
    (entry,) = [entry for entry in model.metadata if entry.name == KEY.encode()]
    return bytes(model.buffers[entry.buffer].data).decode()


def _from_openvino(path: Path) -> str:
    import openvino

    model = openvino.Core().read_model(path)
    assert model.get_rt_info(["runtime_options", "INFERENCE_PRECISION_HINT"]).astype(str) == "f32"
    return str(model.get_rt_info(KEY).astype(str))


FOREIGN = {
    "ort": _from_ort,
    "triton": _from_triton,
    "coreml": _from_coreml,
    "litert": _from_litert,
    "openvino": _from_openvino,
}


@every_artifact
def test_other_tools_read_the_contract(made: Made) -> None:
    """The contract stands where each format's own tools look for metadata; OpenVINO's names its precision."""
    assert Contract.from_json(FOREIGN[made.row.name](made.path)) == made.contract


ABOVE = [(row, recipe) for row in FORMATS.values() for recipe in range(1, len(row.recipes))]


@pytest.mark.slow
@pytest.mark.parametrize(("row", "recipe"), ABOVE, ids=[f"{row.name}-{recipe + 1}" for row, recipe in ABOVE])
def test_every_rung_makes_an_artifact_that_says_how(
    row: FormatSpec,
    recipe: int,
    small_program: Path,
    training: NDArray[np.uint8],
    pictures: NDArray[np.uint8],
    small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    tmp_path: Path,
) -> None:
    """A higher recipe says how it was made, and names layers as float where work is done in float.

    One that does not clip ranges answers like the network; clipping suits a trained network, not this one.
    """
    require(row)
    made = convert(row, "int8", small_program, training, tmp_path, recipe)
    predictor = open_predictor(made.path)
    contract, macs = predictor.contract, count_macs(made.path).macs
    assert contract.method == str(row.recipes[recipe])
    assert len(contract.float_layers) <= row.recipes[recipe].float_layers
    assert bool(contract.float_layers) == bool({"fp32", "fp16"} & macs.keys())
    if row.can_saturate:
        assert max(widest(made.path, row.name), default=0) <= 64
    answers = np.concatenate([predictor.predict(image[None]) for image in pictures[2:]])
    assert np.isfinite(answers).all()
    if row.recipes[recipe].ranges == "min-max":
        np.testing.assert_allclose(answers, small_answers(pictures[2:]), atol=TOLERANCE["int8"], rtol=0)


@every_artifact
def test_two_conversions_answer_alike(
    made: Made, small_program: Path, training: NDArray[np.uint8], pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Converting again gives the same predictions, whether or not the bytes are the same."""
    again = convert(made.row, made.contract.precision, small_program, training, tmp_path)
    digests = {prediction_digest(open_predictor(m.path).predict(pictures)) for m in (made, again)}
    assert len(digests) == 1


@every_artifact
def test_a_truncated_artifact_is_refused(made: Made, tmp_path: Path) -> None:
    """Half an artifact gives a message with its name, and no crash."""
    for file in files_of(made.path):
        copy = tmp_path / file.relative_to(made.path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=f"model{made.row.suffix}"):
        open_predictor(tmp_path / made.path.name)


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_an_unknown_precision_is_refused(row: FormatSpec, small_program: Path, tmp_path: Path) -> None:
    """A precision the format does not have is refused with those it has, and nothing is written."""
    with pytest.raises(InputError, match=f"{row.name} has no int3; it has {row.precisions[0]}"):
        convert(row, "int3", small_program, np.empty((0, 64, 64), np.uint8), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_a_missing_extra_names_the_pip_command(
    row: FormatSpec, small_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that is not installed is an error with the pip command that installs it."""
    absent = replace(row, to_convert=("no_such_library",))
    images = np.tile(np.arange(64, dtype=np.uint8), (320, 64, 1))
    with pytest.raises(ExtraMissingError, match="no_such_library") as caught:
        convert(absent, row.precisions[0], small_program, images, tmp_path)
    assert f"pip install '.[{row.extra}]'" in caught.value.hint


@pytest.mark.parametrize("row", [r for r in FORMATS.values() if r.calibrated], ids=lambda row: row.name)
def test_int8_without_calibration_images_is_refused(
    row: FormatSpec, small_program: Path, tmp_path: Path
) -> None:
    """INT8 is never made from guessed ranges."""
    with pytest.raises(InputError, match="needs calibration images"):
        convert(row, "int8", small_program, np.empty((0, 64, 64), np.uint8), tmp_path)


OFFLINE = """
import socket, sys
from pathlib import Path
import numpy as np

def refuse(*arguments, **named):
    Path(sys.argv[4]).write_text(f"{arguments} {named}")
    raise OSError("this test has no network")

socket.getaddrinfo = socket.socket.connect = refuse
from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import Quantization, run
from udacimed_edge.core.data import open_data
from udacimed_edge.runtime.contract import Contract

row = FORMATS[sys.argv[1]]
precision = "int8" if "int8" in row.precisions else row.precisions[0]
contract = Contract(row.name, precision, 0.5, "", "", "", None, "0")
images = np.random.default_rng(0).integers(0, 256, (300, 64, 64), dtype=np.uint8)
validation = open_data("synthetic").read("validation")
int8 = Quantization(row.recipes[0], images, validation) if row.recipes else None
run(row, Path(sys.argv[2]), contract, int8, Path(sys.argv[3]))
"""


def test_openvino_cannot_report_its_use() -> None:
    """Whoever imports OpenVINO after any part of ours, a test as well, gets it without its telemetry."""
    script = (
        "import udacimed_edge.runtime, openvino, sys; sys.exit(sys.modules['openvino_telemetry'] is not None)"
    )
    pytest.importorskip("openvino")
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_converting_never_reaches_for_the_network(
    row: FormatSpec, small_program: Path, tmp_path: Path
) -> None:
    """No library looks up or connects to anything while a model is converted, not even to count its users."""
    require(row)
    out, attempt = tmp_path / f"model{row.suffix}", tmp_path / "attempt"
    command = [sys.executable, "-c", OFFLINE, row.name, str(small_program), str(out), str(attempt)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not attempt.exists(), attempt.read_text()
