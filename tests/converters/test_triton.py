"""Triton model repositories: what the server would load, read with Triton's own schema and run here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import run
from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import KEY, Contract
from udacimed_edge.runtime.triton import CONFIG, MODEL

CONTRACT = Contract(
    format="triton",
    precision="fp16",
    threshold=0.25,
    threshold_origin='a test with "quotes", a \\ and an é',
    source_name="small",
    source_digest="0" * 64,
    calibration_digest=None,
    toolkit_version="0",
)


@pytest.fixture(scope="module")
def repository(small_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network as a repository."""
    out = tmp_path_factory.mktemp("triton") / "model.triton"
    run(FORMATS["triton"], small_program, CONTRACT, None, out)
    return out


@pytest.fixture(scope="module")
def config(repository: Path) -> Any:
    """The configuration, parsed with the schema that Triton publishes."""
    found = importlib.util.find_spec("tritonclient")
    if found is None or not found.submodule_search_locations:
        pytest.skip("tritonclient, which holds Triton's schema, is not installed")
    # The schema's file alone: the package around it takes gRPC, and an older protobuf than the toolkit has.
    file = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None
    assert spec.loader is not None
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    from google.protobuf import text_format

    return text_format.Parse((repository / CONFIG).read_text(encoding="utf-8"), schema.ModelConfig())


def kinds(values: Any) -> list[tuple[str, str, list[int]]]:
    """Name, type and shape of a configuration's inputs or outputs; TYPE_FP32 is 11 in the schema."""
    return [(value.name, {11: "tensor(float)"}[value.data_type], list(value.dims)) for value in values]


def test_the_configuration_describes_the_model(repository: Path, config: Any) -> None:
    """Names, types and shapes are those of the ONNX model, the batch left out, as Triton wants them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(repository / MODEL, providers=["CPUExecutionProvider"])
    for stated, real in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert kinds(stated) == [(entry.name, entry.type, entry.shape[1:]) for entry in real]
        assert all(isinstance(entry.shape[0], str) for entry in real), "the batch is not dynamic"
    assert (config.backend, config.name) == ("onnxruntime", Path(CONFIG).parent.name)


def test_the_configuration_batches_on_a_gpu_with_tensorrt(config: Any) -> None:
    """Requests wait for each other, one millisecond at most, and TensorRT computes in float16 on each GPU."""
    assert config.max_batch_size == 64
    assert list(config.dynamic_batching.preferred_batch_size) == [16, 32, 64]
    assert config.dynamic_batching.max_queue_delay_microseconds == 1000
    (group,) = config.instance_group
    assert (group.count, group.Kind.Name(group.kind)) == (1, "KIND_GPU")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert dict(accelerator.parameters) == {"precision_mode": "FP16"}


def test_the_smallest_and_the_largest_batch_warm_up(config: Any) -> None:
    """Before the first request the server has run one image and a full batch, of the input's own shape."""
    assert [sample.batch_size for sample in config.model_warmup] == [1, config.max_batch_size]
    for sample in config.model_warmup:
        ((name, entry),) = sample.inputs.items()
        assert name == config.input[0].name
        assert (entry.data_type, entry.dims) == (config.input[0].data_type, config.input[0].dims)
        assert entry.zero_data


def test_a_client_finds_the_contract_in_the_configuration(config: Any) -> None:
    """What Triton's schema reads from the parameters is the contract, whatever characters are in it."""
    assert Contract.from_json(config.parameters[KEY].string_value) == CONTRACT


def test_the_model_is_valid_onnx_in_float16(repository: Path) -> None:
    """The model passes ONNX's own checks with its types, and nothing that computes is left in float32."""
    model = onnx.load(repository / MODEL)
    onnx.checker.check_model(model, full_check=True)
    types = {i.name: i.data_type for i in model.graph.initializer}
    assert onnx.TensorProto.FLOAT not in types.values()
    casts = [node.attribute[0].i for node in model.graph.node if node.op_type == "Cast"]
    assert casts == [onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT]


def test_a_source_for_one_image_is_refused(tmp_path: Path) -> None:
    """A model that takes one image at a time cannot be batched, and nothing is written."""
    pixels = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 64, 64])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4096])
    node = helper.make_node("Flatten", ["image"], ["logits"])
    onnx.save(
        helper.make_model(helper.make_graph([node], "one", [pixels], [logits])), tmp_path / "program.onnx"
    )
    with pytest.raises(InputError, match="takes one image at a time"):
        run(FORMATS["triton"], tmp_path / "program.pt2", CONTRACT, None, tmp_path / "model.triton")
    assert not (tmp_path / "model.triton").exists()
