"""Triton Inference Server: exported program to a model repository, one ONNX model in float16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from udacimed_edge.converters.base import Quantization
from udacimed_edge.converters.ort import INPUT, OUTPUT, add_contract, float_model
from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import KEY, SIDE, Contract
from udacimed_edge.runtime.triton import CONFIG, MODEL

if TYPE_CHECKING:
    import onnx

__all__ = ["convert"]

MAX_BATCH = 64
"""The largest batch whose answers validation compares with those for single images."""

QUEUE_DELAY_US = 1000
"""Longest wait for company, in microseconds: a third of the 3 ms that an answer may take."""

_CONFIG = """\
# Written by udacimed-edge and not executed by a Triton server there: judged through ONNX Runtime.
# {notice}
name: "{name}"
backend: "onnxruntime"
max_batch_size: {largest}
input [ {{ name: "{input}" data_type: TYPE_FP32 dims: [ 1, {side}, {side} ] }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ 2 ] }} ]
# No label file: with one, Triton answers with the likelier class, and the decision is another. It is
# "pneumonia" from the threshold of the contract below.

# A preferred size goes at once; fewer requests wait for others, {delay} microseconds at most.
dynamic_batching {{
  preferred_batch_size: [ 16, 32, {largest} ]
  max_queue_delay_microseconds: {delay}
}}

# One instance on each GPU; every further one holds an engine of its own.
instance_group [ {{ count: 1 kind: KIND_GPU }} ]
optimization {{
  execution_accelerators {{
    gpu_execution_accelerator [ {{
      name: "tensorrt"
      parameters {{ key: "precision_mode" value: "FP16" }}
    }} ]
  }}
}}

# TensorRT builds its engine for the batches it has seen: the smallest and the largest, before the first
# request. Zeros, since random bits may be no number.
{warm_up}
parameters {{
  key: "{key}"
  value {{ string_value: {contract} }}
}}
"""

_WARM_UP = """\
model_warmup {{
  name: "batch of {batch}"
  batch_size: {batch}
  inputs {{
    key: "{input}"
    value {{ data_type: TYPE_FP32 dims: [ 1, {side}, {side} ] zero_data: true }}
  }}
}}
"""


def convert(program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
    """Write a model repository: `tritonserver --model-repository=model.triton` serves it as "pneumonia".

    Weights and arithmetic are float16, pixels and logits stay float32: whole numbers to 255 are exact in
    float16 and normalised values are small, so that nothing but the network's own activations could
    leave its range (65,504).

    Args:
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits, for any n.
        contract: Stored in the model's metadata and in the configuration; its precision is "fp16".
        quantization: None: the repository has no INT8.
        out: The folder to write, a path that ends in `.triton` and does not exist.

    Raises:
        InputError: The program takes one image at a time.
    """
    import onnx

    model = _half(float_model(program))
    (out / MODEL).parent.mkdir(parents=True)
    onnx.save(model, out / MODEL)
    add_contract(out / MODEL, contract)
    (out / CONFIG).write_text(_configuration(contract), encoding="utf-8")


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        raise InputError(
            "a Triton repository batches requests, and this model takes one image at a time",
            "export the model with a dynamic batch, or take another target",
        )
    half = OnnxModel(convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True))
    half.topological_sort()  # the casts at both ends were appended behind the nodes they feed
    del half.model.graph.value_info[:]  # still says what was float32
    result: onnx.ModelProto = half.model
    return result


def _configuration(contract: Contract) -> str:
    """`config.pbtxt`: protobuf text, by the schema `model_config.proto` of triton-inference-server/common."""
    common = {"input": INPUT, "side": SIDE}
    return _CONFIG.format(
        **common,
        name=Path(CONFIG).parent,
        output=OUTPUT,
        largest=MAX_BATCH,
        delay=QUEUE_DELAY_US,
        notice=contract.notice,
        warm_up="\n".join(_WARM_UP.format(**common, batch=batch) for batch in (1, MAX_BATCH)),
        key=KEY,
        # A JSON string of JSON text, which is ASCII: its only escapes are \" and \\, as in protobuf text
        contract=json.dumps(contract.to_json()),
    )
