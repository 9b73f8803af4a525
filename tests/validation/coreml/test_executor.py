"""The executor of saved Core ML packages: known answers, stored weights, damaged and foreign packages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError, UnsupportedError
from udacimed_edge.runtime.contract import KEY, ArtifactError, Contract, Predictor, probability_of_pneumonia
from udacimed_edge.runtime.coreml import quiet
from udacimed_edge.validation.coreml.executor import open_artifact, weight_dtypes
from udacimed_edge.validation.coreml.operations import OPERATIONS

with quiet():
    ct = pytest.importorskip("coremltools")

Build = Callable[[Any, Any], Any]

CONTRACT = Contract(
    format="coreml",
    precision="fp32",
    threshold=0.13,
    threshold_origin="a test",
    source_name="by hand",
    source_digest="0" * 64,
    calibration_digest=None,
    toolkit_version="0",
)
DRAWN = np.random.default_rng(0)
KERNEL = DRAWN.normal(0, 0.01, (6, 1, 8, 8)).astype(np.float32)
BIAS = DRAWN.normal(0, 0.5, 6).astype(np.float32)
HEAD = DRAWN.normal(0, 0.5, (2, 6)).astype(np.float32)
IMAGES = DRAWN.integers(0, 256, (5, 64, 64), dtype=np.uint8)
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
MODEL = "Data/com.apple.CoreML/model.mlmodel"


def patches(mb: Any, image: Any) -> Any:
    """Eight by eight patches, each through one linear map, rectified, averaged: logits."""
    x = mb.relu(x=mb.conv(x=image, weight=KERNEL, bias=BIAS, strides=[8, 8], pad_type="valid"))
    return mb.linear(x=mb.reduce_mean(x=x, axes=[2, 3], keep_dims=False), weight=HEAD)


def patches_by_numpy(
    images: NDArray[np.uint8], kernel: NDArray[Any] = KERNEL, head: NDArray[Any] = HEAD
) -> NDArray[np.float64]:
    """What `patches` answers, computed without torch and without coremltools."""
    blocks = images.reshape(-1, 8, 8, 8, 8).swapaxes(2, 3).reshape(len(images), 64, 64).astype(np.float64)
    features = np.maximum(blocks @ kernel.reshape(6, 64).T.astype(np.float64) + BIAS, 0).mean(axis=1)
    return probability_of_pneumonia(features @ head.T.astype(np.float64))


def half(values: NDArray[Any]) -> NDArray[Any]:
    """The values as float16 holds them."""
    return values.astype(np.float16).astype(np.float32)


def model_of(build: Build, *, precision: str = "FLOAT32", labels: Any = CONTRACT.labels, **how: Any) -> Any:
    """A Core ML classifier around logits built by hand."""
    target = how.get("target", ct.target.iOS16)
    shape = how.get("shape", (1, 1, 64, 64))
    builder = ct.converters.mil.Builder

    @builder.program(input_specs=[builder.TensorSpec(shape=shape)], opset_version=target)  # type: ignore[untyped-decorator]
    def program(image: Any) -> Any:
        return builder.softmax(x=build(builder, image), axis=-1)

    with quiet():
        model = ct.convert(
            program,
            source="milinternal",
            classifier_config=ct.ClassifierConfig(list(labels)),
            compute_precision=ct.precision[precision],
            minimum_deployment_target=target,
            skip_model_load=True,
        )
    model.user_defined_metadata[KEY] = CONTRACT.to_json()
    return model


def saved(model: Any, folder: Path) -> Path:
    """Save a model as a package."""
    path = folder / "model.mlpackage"
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`patches` as a float32 package."""
    return saved(model_of(patches), tmp_path_factory.mktemp("package"))


@pytest.fixture
def copy(package: Path, tmp_path: Path) -> Path:
    """A copy of the package to be damaged."""
    return Path(shutil.copytree(package, tmp_path / "copy.mlpackage"))


# Answers


def test_a_package_gives_the_answers_computed_by_hand(package: Path) -> None:
    """The saved program and weights answer what numpy computes from the formula."""
    answers = open_artifact(package).predict(IMAGES)
    expected = patches_by_numpy(IMAGES)
    assert answers.dtype == np.float64
    assert np.ptp(expected) > 0.005
    np.testing.assert_allclose(answers, expected, atol=1e-6, rtol=0)  # measured: 5e-8


def test_an_image_is_answered_alike_alone_and_in_company(tmp_path: Path) -> None:
    """Rounding to float16 does not make an answer depend on the images beside it."""
    predictor = open_artifact(saved(model_of(patches, precision="FLOAT16"), tmp_path))
    alone = np.concatenate([predictor.predict(image[None]) for image in IMAGES])
    np.testing.assert_array_equal(predictor.predict(IMAGES), alone)


def test_no_images_give_no_answers(package: Path) -> None:
    """An empty split is answered with an empty array."""
    assert open_artifact(package).predict(IMAGES[:0]).shape == (0,)


def test_the_executor_says_that_core_ml_did_not_run(package: Path) -> None:
    """A report that quotes the executor cannot be mistaken for one from a phone."""
    predictor = open_artifact(package)
    assert isinstance(predictor, Predictor)
    assert "Core ML itself was not executed" in predictor.executor
    assert predictor.contract == CONTRACT


@pytest.mark.parametrize(("weights", "factor"), [(KERNEL, 0.5), (HEAD, -1.0)], ids=["convolution", "linear"])
def test_the_answers_come_from_the_stored_weights(copy: Path, weights: NDArray[Any], factor: float) -> None:
    """Changing weights inside the package changes the answers exactly as the formula says."""
    stored = (copy / WEIGHTS).read_bytes()
    assert stored.count(weights.tobytes()) == 1
    (copy / WEIGHTS).write_bytes(stored.replace(weights.tobytes(), (weights * factor).tobytes()))
    changed = {"kernel": weights * factor} if weights is KERNEL else {"head": weights * factor}
    expected = patches_by_numpy(IMAGES, **changed)
    assert abs(expected - patches_by_numpy(IMAGES)).max() > 0.01
    np.testing.assert_allclose(open_artifact(copy).predict(IMAGES), expected, atol=1e-6, rtol=0)


def test_float16_weights_are_used_as_float16_holds_them(tmp_path: Path) -> None:
    """An fp16 package answers with its rounded weights, and its activations are rounded too."""
    answers = open_artifact(saved(model_of(patches, precision="FLOAT16"), tmp_path)).predict(IMAGES)
    expected = patches_by_numpy(IMAGES, half(KERNEL), half(HEAD))
    difference = abs(answers - expected).max()
    assert 0 < difference < 2e-3  # measured: 3e-4


def test_a_value_beyond_float16_is_not_hidden_by_float32_arithmetic(tmp_path: Path) -> None:
    """Where a phone's float16 overflows, the answer is not a number, so that the gate refuses it."""

    def overflowing(mb: Any, image: Any) -> Any:
        x = mb.mul(x=mb.add(x=image, y=np.float32(1)), y=np.float32(60000))  # 1..256, then up to 15 million
        return mb.mul(x=patches(mb, x), y=np.float32(1e-6))

    (tmp_path / "fp16").mkdir()
    (tmp_path / "fp32").mkdir()
    coarse = saved(model_of(overflowing, precision="FLOAT16"), tmp_path / "fp16")
    fine = saved(model_of(overflowing), tmp_path / "fp32")
    assert not np.isfinite(open_artifact(coarse).predict(IMAGES)).any()
    assert np.isfinite(open_artifact(fine).predict(IMAGES)).all()


# Compressed weights


def test_int8_weights_are_dequantised_by_their_own_scales(tmp_path: Path) -> None:
    """An int8 package answers what numpy computes from quantised weights: R / 127 a channel."""
    optimize = ct.optimize.coreml
    config = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", weight_threshold=0)
    with quiet():
        model = optimize.linear_quantize_weights(
            model_of(patches), optimize.OptimizationConfig(op_type_configs={"conv": config, "linear": config})
        )
    path = saved(model, tmp_path)

    def quantised(weights: NDArray[Any]) -> NDArray[Any]:
        scale = (
            abs(weights).reshape(len(weights), -1).max(axis=1).reshape(-1, *[1] * (weights.ndim - 1)) / 127
        )
        dense: NDArray[Any] = np.round(weights / scale) * scale
        return dense

    expected = patches_by_numpy(IMAGES, quantised(KERNEL), quantised(HEAD))
    assert abs(expected - patches_by_numpy(IMAGES)).max() > 1e-5
    np.testing.assert_allclose(open_artifact(path).predict(IMAGES), expected, atol=1e-6, rtol=0)
    assert weight_dtypes(path) == {"int8": KERNEL.size + HEAD.size}


def other_compressions() -> dict[str, tuple[Any, Any, Any]]:
    """Ways to compress weights which our converter does not use: function, configuration, target."""
    optimize, target = ct.optimize.coreml, ct.target
    unsigned = optimize.OpLinearQuantizerConfig(mode="linear", dtype="uint8", weight_threshold=0)
    signed = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", weight_threshold=0)
    palette = optimize.OpPalettizerConfig(mode="uniform", nbits=8, weight_threshold=0)
    return {
        "constexpr_affine_dequantize": (optimize.linear_quantize_weights, unsigned, target.iOS16),
        "constexpr_blockwise_shift_scale": (optimize.linear_quantize_weights, signed, target.iOS18),
        "constexpr_lut_to_dense": (optimize.palettize_weights, palette, target.iOS16),
    }


@pytest.mark.parametrize(
    ("operation", "stored"),
    [
        ("constexpr_affine_dequantize", "uint8"),
        ("constexpr_blockwise_shift_scale", "int8"),
        ("constexpr_lut_to_dense", "uint8"),
    ],
)
def test_other_compressed_weights_are_executed(tmp_path: Path, operation: str, stored: str) -> None:
    """Weights with a zero point, block scales or a palette stay close to those they were made from."""
    compress, config, target = other_compressions()[operation]
    with quiet():
        configs = ct.optimize.coreml.OptimizationConfig(op_type_configs={"conv": config})
        model = compress(model_of(patches, target=target), configs)
    path = saved(model, tmp_path)
    (function,) = model.get_spec().mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    assert operation in {op.type for op in block.operations}
    assert weight_dtypes(path) == {stored: KERNEL.size, "fp32": HEAD.size}
    answers, expected = open_artifact(path).predict(IMAGES), patches_by_numpy(IMAGES)
    np.testing.assert_allclose(answers, expected, atol=6e-3, rtol=0)  # measured: 4.3e-3; steps of R / 127


def test_float_weights_are_counted_once_and_by_type(package: Path, tmp_path: Path) -> None:
    """A float package's weights are counted without its biases, by the type they are stored in."""
    assert weight_dtypes(package) == {"fp32": KERNEL.size + HEAD.size}
    half_package = saved(model_of(patches, precision="FLOAT16"), tmp_path)
    assert weight_dtypes(half_package) == {"fp16": KERNEL.size + HEAD.size}


def test_a_computed_weight_is_not_passed_over(tmp_path: Path) -> None:
    """A weight which is the result of operations is counted as such."""

    def build(mb: Any, image: Any) -> Any:
        row = mb.reshape(x=mb.reduce_mean(x=image, axes=[2], keep_dims=False), shape=[1, 64])
        return mb.matmul(x=row, y=mb.transpose(x=mb.concat(values=[row, row], axis=0), perm=[1, 0]))

    assert weight_dtypes(saved(model_of(build), tmp_path)) == {"computed": 128}


# Single operations, on values that can be checked by hand

SQUARE = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
ONES = torch.ones(1, 1, 2, 2)
PAIR = torch.tensor([[1.0, -2.0]])
PLAIN = {"pad_type": "valid", "pad": [0, 0, 0, 0], "strides": [1, 1]}
CORNER = {"pad_type": "custom", "pad": [1, 0, 0, 1], "strides": [2, 2]}  # padded above and on the right
CONV = {"dilations": [1, 1], "groups": 1}
POOL = {"kernel_sizes": [2, 2], "ceil_mode": False}

KNOWN: list[tuple[str, dict[str, Any], Any]] = [
    ("add", {"x": PAIR, "y": torch.tensor(1.0)}, [[2, -1]]),
    ("sub", {"x": PAIR, "y": torch.tensor(1.0)}, [[0, -3]]),
    ("mul", {"x": PAIR, "y": PAIR}, [[1, 4]]),
    ("real_div", {"x": PAIR, "y": torch.tensor(2.0)}, [[0.5, -1]]),
    ("relu", {"x": PAIR}, [[1, 0]]),
    ("clip", {"x": PAIR, "alpha": torch.tensor(-1.0), "beta": torch.tensor(0.5)}, [[0.5, -1]]),
    ("sigmoid", {"x": torch.tensor([0.0, 2.0])}, [0.5, 0.880797]),
    ("silu", {"x": torch.tensor([0.0, 2.0])}, [0, 1.761594]),
    ("softmax", {"x": PAIR, "axis": -1}, [[0.952574, 0.047426]]),
    ("cast", {"x": PAIR, "dtype": "fp16"}, [[1, -2]]),
    ("classify", {"probabilities": PAIR, "classes": ["a", "b"]}, [[1, -2]]),
    ("concat", {"values": [PAIR, PAIR], "axis": -1, "interleave": False}, [[1, -2, 1, -2]]),
    ("concat", {"values": [PAIR, PAIR], "axis": -1, "interleave": True}, [[1, 1, -2, -2]]),
    ("gather", {"x": PAIR, "indices": [1, 0], "axis": 1, "batch_dims": 0}, [[-2, 1]]),
    ("reshape", {"x": SQUARE, "shape": [0, -1]}, [[1, 2, 3, 4, 5, 6, 7, 8, 9]]),
    ("squeeze", {"x": PAIR[None], "axes": [0]}, [[1, -2]]),
    ("transpose", {"x": PAIR, "perm": [1, 0]}, [[1], [-2]]),
    ("reduce_mean", {"x": SQUARE, "axes": [2, 3], "keep_dims": False}, [[5]]),
    ("linear", {"x": PAIR, "weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([0.5])}, [[-2.5]]),
    ("matmul", {"x": PAIR, "y": PAIR, "transpose_x": False, "transpose_y": True}, [[5]]),
    ("matmul", {"x": PAIR, "y": PAIR, "transpose_x": True, "transpose_y": False}, [[1, -2], [-2, 4]]),
    ("conv", {"x": SQUARE, "weight": ONES, **PLAIN, **CONV}, [[[[12, 16], [24, 28]]]]),
    ("conv", {"x": SQUARE, "weight": ONES, "bias": PAIR[0, :1], **CORNER, **CONV}, [[[[4, 4], [25, 16]]]]),
    (
        "conv",
        {"x": SQUARE, "weight": ONES, "bias": None, **PLAIN, "dilations": [2, 2], "groups": 1},
        [[[[20]]]],
    ),
    (
        "conv",
        {
            "x": torch.cat([SQUARE, -SQUARE], 1),
            "weight": torch.cat([ONES, ONES]),
            **PLAIN,
            **CONV,
            "groups": 2,
        },
        [[[[12, 16], [24, 28]], [[-12, -16], [-24, -28]]]],
    ),
    ("max_pool", {"x": SQUARE, **PLAIN, **POOL}, [[[[5, 6], [8, 9]]]]),
    ("max_pool", {"x": -SQUARE, **CORNER, **POOL}, [[[[-1, -3], [-4, -6]]]]),
    (
        "avg_pool",
        {"x": SQUARE, **CORNER, **POOL, "exclude_padding_from_average": False},
        [[[[0.75, 0.75], [6, 3.75]]]],
    ),
    (
        "avg_pool",
        {"x": SQUARE, **CORNER, **POOL, "exclude_padding_from_average": True},
        [[[[1.5, 3], [6, 7.5]]]],
    ),
    (
        "batch_norm",
        {
            "x": ONES,
            "mean": torch.tensor([0.5]),
            "variance": torch.tensor([3.0]),
            "gamma": torch.tensor([4.0]),
            "beta": torch.tensor([1.0]),
            "epsilon": torch.tensor(1.0),
        },
        [[[[2, 2], [2, 2]]]],
    ),
    ("abs", {"x": PAIR}, [[1, 2]]),
    ("einsum", {"values": [PAIR, PAIR], "equation": "ab,cb->ac"}, [[5]]),
    ("elu", {"x": PAIR, "alpha": torch.tensor(1.0)}, [[1, -0.864665]]),
    ("erf", {"x": PAIR}, [[0.842701, -0.995322]]),
    ("exp", {"x": PAIR}, [[2.718282, 0.135335]]),
    ("expand_dims", {"x": PAIR, "axes": [0]}, [[[1, -2]]]),
    ("fill", {"shape": [1, 2], "value": torch.tensor(3.0)}, [[3, 3]]),
    ("gelu", {"x": PAIR, "mode": "EXACT"}, [[0.841345, -0.0455]]),
    ("gelu", {"x": PAIR, "mode": "TANH_APPROXIMATION"}, [[0.841192, -0.045402]]),
    ("identity", {"x": PAIR}, [[1, -2]]),
    (
        "instance_norm",
        {
            "x": PAIR[None, None],
            "gamma": torch.tensor([2.0]),
            "beta": torch.tensor([1.0]),
            "epsilon": torch.tensor(0.0),
        },
        [[[[3, -1]]]],
    ),
    ("inverse", {"x": PAIR, "epsilon": torch.tensor(0.0)}, [[1, -0.5]]),
    ("layer_norm", {"x": PAIR, "axes": [-1], "epsilon": torch.tensor(0.0)}, [[1, -1]]),
    ("leaky_relu", {"x": PAIR, "alpha": torch.tensor(0.1)}, [[1, -0.2]]),
    ("log", {"x": torch.tensor([1.0, 2.0]), "epsilon": torch.tensor(0.0)}, [0, 0.693147]),
    ("max_pool", {"x": SQUARE, **PLAIN, **POOL, "strides": [2, 2], "ceil_mode": True}, [[[[5, 6], [8, 9]]]]),
    (
        "avg_pool",
        {
            "x": SQUARE,
            **PLAIN,
            **POOL,
            "strides": [2, 2],
            "ceil_mode": True,
            "exclude_padding_from_average": True,
        },
        [[[[3, 4.5], [7.5, 9]]]],
    ),
    ("maximum", {"x": PAIR, "y": torch.tensor(0.0)}, [[1, 0]]),
    ("minimum", {"x": PAIR, "y": torch.tensor(0.0)}, [[0, -2]]),
    (
        "pad",
        {"x": PAIR, "pad": [0, 0, 1, 2], "mode": "constant", "constant_val": torch.tensor(7.0)},
        [[7, 1, -2, 7, 7]],
    ),
    (
        "pad",
        {"x": SQUARE, "pad": [0, 0, 0, 0, 1, 0, 0, 1], "mode": "reflect", "constant_val": torch.tensor(0.0)},
        [[[[4, 5, 6, 5], [1, 2, 3, 2], [4, 5, 6, 5], [7, 8, 9, 8]]]],
    ),
    ("pow", {"x": PAIR, "y": torch.tensor(2.0)}, [[1, 4]]),
    ("prelu", {"x": PAIR, "alpha": torch.tensor([0.5, 0.25])}, [[1, -0.5]]),
    ("reduce_max", {"x": SQUARE, "axes": [2, 3], "keep_dims": False}, [[9]]),
    ("reduce_min", {"x": SQUARE, "axes": [2, 3], "keep_dims": False}, [[1]]),
    ("reduce_sum", {"x": SQUARE, "axes": [2, 3], "keep_dims": True}, [[[[45]]]]),
    ("relu6", {"x": torch.tensor([-1.0, 5.0, 7.0])}, [0, 5, 6]),
    ("rsqrt", {"x": torch.tensor([4.0]), "epsilon": torch.tensor(0.0)}, [0.5]),
    ("sigmoid_hard", {"x": PAIR, "alpha": torch.tensor(0.2), "beta": torch.tensor(0.5)}, [[0.7, 0.1]]),
    ("slice_by_index", {"x": SQUARE, "begin": [0, 0, 1, 0], "end": [1, 1, 3, 2]}, [[[[4, 5], [7, 8]]]]),
    (
        "slice_by_index",
        {
            "x": SQUARE,
            "begin": [0, 0, 0, 1],
            "end": [0, 0, 0, 0],
            "stride": [1, 1, 2, 1],
            "begin_mask": [True, True, True, False],
            "end_mask": [True, True, True, True],
            "squeeze_mask": [True, False, False, False],
        },
        [[[2, 3], [8, 9]]],
    ),
    ("softplus", {"x": torch.tensor([1.0, -2.0, 100.0])}, [1.313262, 0.126928, 100]),
    ("softsign", {"x": PAIR}, [[0.5, -0.666667]]),
    ("split", {"x": SQUARE, "axis": 3, "num_splits": 3}, [[1], [4], [7], [2], [5], [8], [3], [6], [9]]),
    ("split", {"x": PAIR, "axis": 1, "num_splits": 2, "split_sizes": [1, 1]}, [[1], [-2]]),
    ("sqrt", {"x": torch.tensor([4.0])}, [2]),
    ("square", {"x": PAIR}, [[1, 4]]),
    ("stack", {"values": [PAIR, PAIR], "axis": 0}, [[[1, -2]], [[1, -2]]]),
    ("tanh", {"x": PAIR}, [[0.761594, -0.964028]]),
    ("thresholded_relu", {"x": torch.tensor([0.5, 1.0, 2.0]), "alpha": torch.tensor(1.0)}, [0, 1, 2]),
    ("tile", {"x": PAIR, "reps": [1, 2]}, [[1, -2, 1, -2]]),
    (
        "upsample_bilinear",
        {
            "x": torch.tensor([[[[0.0, 4.0]]]]),
            "scale_factor_height": 1.0,
            "scale_factor_width": 2.0,
            "align_corners": False,
        },
        [[[[0, 1, 3, 4]]]],
    ),
    (
        "upsample_nearest_neighbor",
        {"x": torch.tensor([[[[0.0, 4.0]]]]), "scale_factor_height": 1, "scale_factor_width": 2},
        [[[[0, 0, 4, 4]]]],
    ),
]


@pytest.mark.parametrize(
    ("name", "inputs", "expected"), KNOWN, ids=[f"{k}-{row[0]}" for k, row in enumerate(KNOWN)]
)
def test_an_operation_gives_the_known_result(name: str, inputs: dict[str, Any], expected: Any) -> None:
    """Each operation on small numbers gives what the MIL reference defines."""
    found = OPERATIONS[name](**inputs)
    if isinstance(found, tuple):  # parts, below each other
        found = torch.cat([part.reshape(-1, 1) for part in found])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_every_operation_has_a_known_result() -> None:
    """No operation is allowed without a case in the table above."""
    assert {row[0] for row in KNOWN} == OPERATIONS.keys()


# What is not executed


def test_an_unknown_operation_is_named(tmp_path: Path) -> None:
    """A package with operations outside the table is unsupported, and all of them are named."""
    path = saved(model_of(lambda mb, image: patches(mb, mb.sin(x=mb.cos(x=image)))), tmp_path)
    with pytest.raises(UnsupportedError, match=r"model\.mlpackage uses .*: cos, sin$"):
        open_artifact(path)
    with pytest.raises(UnsupportedError, match="cos, sin"):
        weight_dtypes(path)


@pytest.mark.parametrize(
    ("build", "fragment"),
    [
        (
            lambda mb, x: patches(
                mb, mb.conv(x=x, weight=np.ones((1, 1, 3, 3), np.float32), pad_type="same")
            ),
            "'conv' with pad_type 'same'",
        ),
        (
            lambda mb, x: mb.reshape(
                x=mb.avg_pool(x=x, kernel_sizes=[40, 64], strides=[40, 64], pad_type="same"),
                shape=[1, 2],
            ),
            "'avg_pool' with pad_type 'same'",
        ),
    ],
    ids=["same padding", "a pool of same padding"],
)
def test_an_unsupported_form_of_an_operation_is_named_on_opening(
    tmp_path: Path, build: Build, fragment: str
) -> None:
    """A known operation with a parameter that is not executed is unsupported before any image is answered."""
    path = saved(model_of(build), tmp_path)
    with pytest.raises(UnsupportedError, match=fragment):
        open_artifact(path)


# Damaged and foreign packages


def edit_manifest(path: Path, entry: str) -> None:
    """Let the manifest name another file as the model."""
    manifest = json.loads((path / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = entry
    (path / "Manifest.json").write_text(json.dumps(manifest))


def edit_model(path: Path, change: Callable[[Any], None]) -> None:
    """Change the model's description."""
    spec = ct.proto.Model_pb2.Model.FromString((path / MODEL).read_bytes())
    change(spec)
    (path / MODEL).write_bytes(spec.SerializeToString())


def blobs(spec: Any) -> list[Any]:
    """The references to weights in a model's description."""
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    values = [op.attributes["val"] for op in block.operations if op.type == "const"]
    return [value.blobFileValue for value in values if value.HasField("blobFileValue")]


def rename_weights(spec: Any) -> None:
    """Take the first weight from a file outside."""
    blobs(spec)[0].fileName = "@model_path/../../../secret.bin"


def move_weights(spec: Any) -> None:
    """Point the first weight into the middle of another."""
    blobs(spec)[0].offset += 64


def make_regressor(spec: Any) -> None:
    """Turn the ML program into another kind of model."""
    spec.glmRegressor.SetInParent()


def relabel(spec: Any) -> None:
    """Let the program answer in other words than its contract."""
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    classes = block.operations[-1].inputs["classes"].arguments[0].value.immediateValue.list
    classes.values[0].immediateValue.tensor.strings.values[0] = "strike"


def link_weights(path: Path) -> None:
    """Replace the weights by a link to a file outside."""
    (path / WEIGHTS).rename(path.parent / "outside.bin")
    (path / WEIGHTS).symlink_to(path.parent / "outside.bin")


def cut(file: Path, size: int) -> None:
    """Keep the first bytes of a file."""
    file.write_bytes(file.read_bytes()[:size])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda p: (p / "Manifest.json").unlink(), "no readable Manifest.json"),
    "manifest not JSON": (
        lambda p: (p / "Manifest.json").write_text("{"),
        "Manifest.json does not name a model",
    ),
    "manifest a list": (
        lambda p: (p / "Manifest.json").write_text("[]"),
        "Manifest.json does not name a model",
    ),
    "model outside": (lambda p: edit_manifest(p, "../../copy"), "names a model outside the package"),
    "no model": (lambda p: (p / MODEL).unlink(), "has no com.apple.CoreML/model.mlmodel"),
    "model empty": (lambda p: (p / MODEL).write_bytes(b""), "carries no contract"),
    "model cut off": (lambda p: cut(p / MODEL, 300), "model.mlmodel cannot be read as a Core ML model"),
    "model noise": (lambda p: (p / MODEL).write_bytes(b"\xff" * 99), "cannot be read as a Core ML model"),
    "another kind": (lambda p: edit_model(p, make_regressor), "not an ML program but glmRegressor"),
    "no contract": (lambda p: edit_model(p, lambda s: s.ClearField("description")), "carries no contract"),
    "no weights": (lambda p: (p / WEIGHTS).unlink(), "has no weights/weight.bin"),
    "weights empty": (lambda p: (p / WEIGHTS).write_bytes(b""), "program or weights cannot be read"),
    "weights cut off": (lambda p: cut(p / WEIGHTS, 1000), "program or weights cannot be read"),
    "weights zero": (lambda p: (p / WEIGHTS).write_bytes(bytes(9000)), "program or weights cannot be read"),
    "weights moved": (lambda p: edit_model(p, move_weights), "program or weights cannot be read"),
    "weights outside": (lambda p: edit_model(p, rename_weights), "takes weights from outside the package"),
    "weights a link": (link_weights, "weights/weight.bin is a link"),
    "other labels": (
        lambda p: edit_model(p, relabel),
        r"classifies into \('strike', 'pneumonia'\), its contract says \('normal', 'pneumonia'\)",
    ),
}


@pytest.mark.parametrize(("damage", "fragment"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_package_is_refused(copy: Path, damage: Callable[[Path], object], fragment: str) -> None:
    """A package that is incomplete, changed or leads elsewhere is an error which names it."""
    damage(copy)
    with pytest.raises((ArtifactError, InputError), match=f"copy.mlpackage.*{fragment}"):
        open_artifact(copy)


def test_a_classifier_of_other_images_is_refused(tmp_path: Path) -> None:
    """A package for another size of image is refused, though its contract says nothing of it."""
    flat = lambda mb, x: mb.reshape(x=mb.reduce_mean(x=x, axes=[2]), shape=[1, 2])  # noqa: E731
    path = saved(model_of(flat, shape=(1, 1, 32, 2)), tmp_path)
    with pytest.raises(InputError, match=r"takes \{'image': \(1, 1, 32, 2\)\}, not one 64x64 gray image"):
        open_artifact(path)
