"""The audit: the work is counted from the artifact's own graph, and what it does not know is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.judging import audit
from udacimed_edge.validation.judging.audit import count_macs

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def ort_model(path: Path, *nodes: object) -> Path:
    """An `.ort` file of those ONNX nodes, from `image` (n, 1, 64, 64) to `out`, with some weights."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {
        "w": np.ones((4, 1, 3, 3), np.float32),
        "m": np.ones((62, 5), np.float32),
        "w1": np.ones((1, 4, 3, 3), np.float32),
        "m2": np.ones((64, 5), np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "made up",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 64, 64])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(model.SerializeToString(), options, disabled_optimizers=["NchwcTransformer"])
    return path


def test_convolution_and_product_are_counted_by_hand(tmp_path: Path) -> None:
    """A 3x3 convolution to 4x62x62 and a product with 5 columns take what a pencil says, for one image."""
    path = ort_model(
        tmp_path / "model.ort",
        onnx.helper.make_node("Conv", ["image", "w"], ["a"]),
        onnx.helper.make_node("Sigmoid", ["a"], ["b"]),
        onnx.helper.make_node("MatMul", ["b", "m"], ["out"]),
    )
    work = count_macs(path)
    assert work.macs == {"fp32": 4 * 62 * 62 * 9 + 4 * 62 * 5 * 62}
    assert work.operators == {"fp32": 2}, "onnxruntime computes the activation with the convolution"


def unknown_in_ort(folder: Path) -> Path:
    """A determinant, which is no operator of a vision network."""
    return ort_model(folder / "model.ort", onnx.helper.make_node("Det", ["image"], ["out"]))


def unknown_in_openvino(folder: Path) -> Path:
    """A cumulative sum."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    image = ops.parameter([-1, 1, 64, 64], np.float32)
    model = openvino.Model([ops.cum_sum(image, ops.constant(1))], [image])
    openvino.save_model(model, folder / "model.xml")
    return folder / "model.xml"


def unknown_in_litert(folder: Path) -> Path:
    """An operator of somebody's own, written with LiteRT's schema."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model, graph, code, operator = (
        schema.ModelT(),
        schema.SubGraphT(),
        schema.OperatorCodeT(),
        schema.OperatorT(),
    )
    code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, "somebody's own"
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = "image", [1, 1, 64, 64], schema.TensorType.FLOAT32
    graph.tensors, graph.operators = [tensor], [operator]
    operator.inputs = operator.outputs = graph.inputs = graph.outputs = [0]
    model.version, model.subgraphs, model.operatorCodes, model.buffers = (
        3,
        [graph],
        [code],
        [schema.BufferT()],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / "model.tflite").write_bytes(builder.Output())
    return folder / "model.tflite"


def product_in_ort(kind: str, *inputs: str, **attributes: object) -> Callable[[Path], Path]:
    """An `.ort` file whose one operator multiplies."""

    def make(folder: Path) -> Path:
        node = onnx.helper.make_node(kind, [*inputs], ["out"], **attributes)
        return ort_model(folder / "model.ort", node)

    return make


def product_in_openvino(folder: Path) -> Path:
    """A transposed convolution."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    image = ops.parameter([-1, 1, 64, 64], np.float32)
    weight = ops.constant(np.ones((1, 4, 3, 3), np.float32))
    made = ops.convolution_backprop_data(image, weight, strides=[1, 1])
    openvino.save_model(openvino.Model([made], [image]), folder / "model.xml")
    return folder / "model.xml"


@pytest.mark.parametrize(
    ("make", "operator"),
    [
        (unknown_in_ort, "Det"),
        (unknown_in_openvino, "CumSum"),
        (unknown_in_litert, "CUSTOM"),
        (product_in_ort("Einsum", "image", "m2", equation="nchw,wk->nchk"), "Einsum"),
        (product_in_ort("ConvTranspose", "image", "w1"), "ConvTranspose"),
        (product_in_openvino, "ConvolutionBackpropData"),
    ],
)
def test_an_unknown_operator_is_refused(make: Callable[[Path], Path], operator: str, tmp_path: Path) -> None:
    """An operator that might do any amount of work in any type is named, and nothing is counted."""
    with pytest.raises(InputError, match=f"whose work is not known here: {operator}") as caught:
        count_macs(make(tmp_path))
    assert str(tmp_path) in caught.value.message


WORK = """
attention batchmatmul call conv conv2d conv2dtranspose conv3d conv3dtranspose convinteger convolution
convolutionbackpropdata convtranspose custom decodermaskedmultiheadattention deformableconvolution
deformconv depthwiseconv2d dft dynamicquantizematmul einsum fft2d fullyconnected fusedconv fusedgemm
fusedmatmul gemm gemmfloat8 groupconvolution groupconvolutionbackpropdata gru grucell grusequence if
linear loop lstm lstmcell lstmsequence matmul matmulinteger matmulinteger16 matmulintegertofloat
matmulnbits multiheadattention nhwcfusedconv packedattention qattention qgemm qlinearconv qlinearmatmul
qlinearconvtranspose rfft2d rnn rnncell rnnsequence scaleddotproductattention scan sparseattention stft
svdf tensoriterator transposeconv unidirectionalsequencelstm unidirectionalsequencernn while
"""
"""Operators of all formats that multiply matrices, or compute whatever their own graph or library says."""


def test_no_operator_that_multiplies_is_taken_for_one_without_work() -> None:
    """The list of operators without a product names none that has one."""
    assert {*WORK.split()} & {*audit._NO_PRODUCTS.split()} == set()


def test_the_list_of_operators_without_work_was_looked_at() -> None:
    """Whoever adds an operator has shown that it multiplies nothing, and counts it here."""
    assert len({*audit._NO_PRODUCTS.split()}) == 114


@pytest.mark.slow
def test_the_reference_models_work(tmp_path: Path) -> None:
    """The built-in model takes 141,624,320 multiply-accumulates, by PyTorch's counter and in the artifact."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from udacimed_edge.converters import FORMATS
    from udacimed_edge.converters.base import run
    from udacimed_edge.runtime.contract import Contract
    from udacimed_edge.source.load import SourceOptions, load_source

    source = load_source(None, SourceOptions(None, None, None, None))
    with FlopCounterMode(display=False) as counter:
        source.module(torch.zeros(1, 1, 64, 64))
    program, out = tmp_path / "program.pt2", tmp_path / "model.ort"
    torch.export.save(torch.export.export(source.module, (torch.zeros(1, 1, 64, 64),)), program)
    run(FORMATS["ort"], program, Contract("ort", "fp32", 0.5, "", "", "", None, "0"), None, out)
    assert count_macs(out).macs == {"fp32": counter.get_total_flops() // 2} == {"fp32": 141_624_320}
