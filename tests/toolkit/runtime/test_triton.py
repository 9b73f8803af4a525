"""Reading Triton repositories: only what was judged may be served."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from udacimed_edge.core.files import path_digest
from udacimed_edge.runtime.contract import KEY, ArtifactError, Contract
from udacimed_edge.runtime.reader import open_artifact
from udacimed_edge.runtime.triton import CONFIG, MODEL

CONTRACT = Contract("triton", "fp16", 0.5, "a test", "tiny", "0" * 64, None, "0")
OTHER = replace(CONTRACT, threshold=0.25)


def parameters(*contracts: Contract) -> str:
    """The part of a configuration that holds contracts."""
    texts = [contract.to_json().replace('"', r"\"") for contract in contracts]
    return "".join(f'parameters {{ key: "{KEY}" value {{ string_value: "{text}" }} }}\n' for text in texts)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose model answers with the sum of an image's pixels and its opposite."""
    path = tmp_path / "model.triton"
    (path / MODEL).parent.mkdir(parents=True)
    pixels = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 64, 64])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["logits"]),
    ]
    column = np.full(4096, 1e-6, np.float32)
    weight = onnx.numpy_helper.from_array(np.stack([-column, column], axis=1), "weight")
    graph = helper.make_graph(nodes, "tiny", [pixels], [logits], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {KEY: CONTRACT.to_json()})
    onnx.save(model, path / MODEL)
    (path / CONFIG).write_text(f'name: "pneumonia"\n{parameters(CONTRACT)}')
    return path


def test_a_repository_answers_and_says_who_computed(repository: Path) -> None:
    """The model inside answers for any batch, and its executor is not called Triton."""
    predictor = open_artifact(repository)
    images = np.stack([np.zeros((64, 64)), np.full((64, 64), 255)]).astype(np.uint8)
    expected = 1 / (1 + np.exp(-2e-6 * 4096 * np.array([0, 255])))
    np.testing.assert_allclose(predictor.predict(images), expected, atol=1e-5)
    assert predictor.contract == CONTRACT
    assert re.fullmatch(r"onnxruntime [\d.]+ \(not executed by a Triton server\)", predictor.executor)


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    """A change: a file of the repository gets that content."""

    def change(repository: Path) -> None:
        file = repository / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def remove(name: str) -> Callable[[Path], object]:
    """A change: a file of the repository is missing."""
    return lambda repository: (repository / name).unlink()


BROKEN = {
    "no configuration": (remove(CONFIG), f"must hold {CONFIG} and {MODEL}, and holds {MODEL}$"),
    "no model": (remove(MODEL), f"must hold {CONFIG} and {MODEL}, and holds {CONFIG}$"),
    "a second version": (write("pneumonia/2/model.onnx", b""), "and holds .*pneumonia/2/model.onnx"),
    "a second model": (write("other/config.pbtxt", ""), "and holds other/config.pbtxt"),
    "an empty configuration": (write(CONFIG, ""), "config.pbtxt is not a .* of ours: 0 contracts"),
    "a configuration of others": (write(CONFIG, 'name: "x"'), "config.pbtxt .*: 0 contracts are in it"),
    "a configuration cut off": (write(CONFIG, parameters(CONTRACT)[:-9]), "config.pbtxt .*: 0 contracts"),
    "two contracts": (write(CONFIG, parameters(CONTRACT, OTHER)), "config.pbtxt .*: 2 contracts are in it"),
    "another contract": (write(CONFIG, parameters(OTHER)), "config.pbtxt states another contract than"),
    "a contract that is none": (
        write(CONFIG, parameters(CONTRACT).replace("0.5", "7.0")),
        "config.pbtxt .*: its contract names the threshold 7.0",
    ),
    "wrong escapes": (
        write(CONFIG, parameters(CONTRACT).replace("a test", r"a \q test")),
        "config.pbtxt is not a configuration of ours: Invalid",
    ),
    "bytes that are no text": (write(CONFIG, b"\xff\xfe\x00"), "config.pbtxt .* of ours: 'utf-8' codec"),
    "a damaged model": (write(MODEL, b"rubbish" * 100), "model.onnx is not a model ONNX Runtime can read"),
    "an empty model": (write(MODEL, b""), "model.onnx is not a model ONNX Runtime can read"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_a_repository_that_is_not_as_written_is_refused(
    change: Callable[[Path], object], message: str, repository: Path
) -> None:
    """What is missing, added, damaged or in contradiction is an error that names the file."""
    change(repository)
    with pytest.raises(ArtifactError, match=message):
        open_artifact(repository)


def test_a_file_of_that_name_is_refused(tmp_path: Path) -> None:
    """A file that only bears a repository's name is no repository."""
    path = tmp_path / "model.triton"
    path.write_bytes(b"rubbish")
    with pytest.raises(ArtifactError, match=r"model.triton is no model repository .* holds nothing"):
        open_artifact(path)


def test_the_digest_covers_the_configuration(repository: Path) -> None:
    """A changed setting changes the artifact's digest, so that an earlier report no longer speaks for it."""
    before = path_digest(repository)
    with (repository / CONFIG).open("a") as stream:
        stream.write("max_batch_size: 8\n")
    assert path_digest(repository) != before
