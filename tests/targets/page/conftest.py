"""A tiny artifact, its page, and a browser to show it in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.runtime.contract import KEY, Contract
from udacimed_edge.targets.page.browser import INSTALL, find_chromium
from udacimed_edge.targets.page.selftest import SelfTest, png
from udacimed_edge.targets.page.writer import write_page

CONTRACT = Contract(
    format="ort",
    precision="fp32",
    threshold=0.5,
    threshold_origin="chosen for a test",
    source_name="brightness",
    source_digest="0" * 64,
    calibration_digest=None,
    toolkit_version="0.0.0",
)


def write_artifact(path: Path) -> Path:
    """An `.ort` file that calls bright pictures ill: logits 0 and (mean - 128) / 20."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("MatMul", ["column", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    constants = {"weight": [[0, 0.05]], "bias": [0, -6.4]}
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, 64, 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [
            *(numpy_helper.from_array(np.array(v, np.float32), name) for name, v in constants.items()),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {KEY: CONTRACT.to_json()})
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return path


def picture(level: int) -> NDArray[np.uint8]:
    """64x64 pixels about a gray level, of 41 values: one of fewer is blank."""
    return (level + np.arange(64 * 64).reshape(64, 64) % 41 - 20).astype(np.uint8)


def answer_for(pixels: NDArray[np.uint8]) -> float:
    """What the tiny artifact answers."""
    return float(1 / (1 + np.exp((128 - pixels.mean()) / 20)))


TEST = SelfTest(
    tuple(png(picture(level)) for level in (100, 200)),
    tuple(answer_for(picture(level)) for level in (100, 200)),
    1e-5,
)
"""What the tiny artifact answers for two gray levels."""


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny artifact."""
    pytest.importorskip("onnxruntime")
    return write_artifact(tmp_path_factory.mktemp("page") / "model.ort")


@pytest.fixture(scope="session")
def page(artifact: Path) -> Path:
    """Its page."""
    return write_page(artifact, artifact.parent, TEST)


@pytest.fixture(scope="session")
def browser() -> Path:
    """Chromium; without it the test is skipped."""
    found = find_chromium()
    if found is None:
        pytest.skip(f"no Chromium here: {INSTALL}")
    return found
