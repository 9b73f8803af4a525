"""Reads a torch.export program (.pt2), vetted first: torch's own reader runs code that a file names."""

from __future__ import annotations

import copy
import io
import json
import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from udacimed_edge.core.json_reader import parse_json
from udacimed_edge.source.bounds import require_bounded_zip
from udacimed_edge.source.network import Network, input_layout, reading

if TYPE_CHECKING:
    import torch

__all__ = ["load_pt2"]

_NAMES = """
_adaptive_avg_pool2d _native_batch_norm_legit_no_training _softmax _to_copy _upsample_bilinear2d_aa
abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool2d add add_ addmm alias amax amin avg_pool2d
baddbmm batch_norm bmm cat celu celu_ chunk clamp clamp_ clamp_max clamp_min clone constant_pad_nd contiguous
conv1d conv2d convolution copy detach div div_ dropout dropout_ einsum elu elu_ empty eq exp expand expand_as
flatten floor full full_like gelu glu group_norm hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh
hardtanh_ index_select instance_norm layer_norm leaky_relu leaky_relu_ linalg_vector_norm linear log
log_softmax logsumexp masked_fill matmul max_pool2d max_pool2d_with_indices maximum mean minimum mish mish_ mm
mul mul_ narrow native_group_norm native_layer_norm neg ones ones_like pad permute pixel_shuffle
pixel_unshuffle pow prelu reciprocal reflection_pad2d relu relu6 relu6_ relu_ repeat replication_pad2d reshape
rms_norm roll rsqrt rsub scaled_dot_product_attention select selu selu_ sigmoid sigmoid_ silu silu_ slice
softmax softplus split split_with_sizes sqrt squeeze stack sub sub_ sum sym_size t tanh tanh_ to transpose
unbind unflatten unsafe_split unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_nearest2d view where
zeros zeros_like
"""
"""Functions of numbers alone: none reads or writes a file, or takes a name of something to call."""
_PT2_OPERATORS = re.compile(
    rf"torch\.ops\.aten\.({'|'.join(_NAMES.split())})\.\w+|_operator\.(getitem|add|sub|mul|floordiv)"
)
_PT2_SYMBOL = re.compile(r"(Symbol\('[a-z]+\d+'|(positive|integer)=True|Integer|Add|Mul|[-\d(), ])*")
_PT2_SPEC = re.compile(r'([][{}:, 1]|null|"(type|context|children_spec|null|\[\]|builtins\.(tuple|dict))")*')
_PT2_PLAIN = re.compile(r"[\w.+\-]*")
_PT2_TEXTS = {"target": _PT2_OPERATORS, "expr_str": _PT2_SYMBOL, "in_spec": _PT2_SPEC, "out_spec": _PT2_SPEC}
_PT2_JSON = re.compile(r"models/model\.json|data/(weights|constants)/model_(weights|constants)_config\.json")
_PT2_PICKLE = re.compile(r"data/(weights|constants)/model\.pt")
_PT2_RAW = re.compile(
    r"data/(weights/weight|constants/tensor)_\d+|archive_(format|version)|byteorder|(\.data/)?version"
    r"|\.data/serialization_id|\.format_version|\.storage_alignment"
)


def load_pt2(path: Path) -> Network:
    """Read a torch.export program, vetted first because `torch.export.load` is not safe by itself.

    In torch 2.13 a crafted file reaches code through pickles (sample inputs are read again with
    weights_only=False when the safe way fails; payloads marked use_pickle; opaque objects), shared
    libraries (aotinductor), operators looked up anywhere below the module torch (torch.os.system), symbol
    expressions (sympy's eval), guards and node names (pasted into generated Python) and tree
    specifications (imports by name). So torch is given not the file but an archive written anew, which
    holds tensors and a graph of listed operators and plain names. What remains is trust in torch's reader
    of raw tensors.

    Raises:
        InputError: The archive holds anything else, is damaged, or its program has another input.
    """
    import torch

    hint = f"export it again: torch.export.save(torch.export.export(model.eval(), (x,)), '{path.name}')"
    with reading(path, hint), _quiet("torch.export"):
        require_bounded_zip(path)
        program = torch.export.load(io.BytesIO(_vetted_pt2(path)))
        names = program.graph_signature.user_inputs
        inputs = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
        module = program.module()
    for method in ("train", "eval"):  # those of an exported module raise, and so would a module around it
        vars(module).pop(method, None)
    shapes = [[d if isinstance(d, int) else None for d in getattr(value, "shape", ())] for value in inputs]
    ending, logits = _without_ending(module)
    return Network(module.eval(), input_layout(shapes, path), ending=ending, logits=logits)


_KEEPING = (
    "view",
    "reshape",
    "flatten",
    "squeeze",
    "unsqueeze",
    "alias",
    "detach",
    "clone",
    "contiguous",
    "to",
)
_ENDINGS = {
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "_softmax": "Softmax",
    "linear": "Gemm",
    "addmm": "Gemm",
}


def _without_ending(module: torch.fx.GraphModule) -> tuple[str | None, torch.nn.Module | None]:
    """The operator the answer comes from, in ONNX's words; the graph without a last sigmoid or softmax."""
    import torch

    def name(node: torch.fx.Node) -> str:
        packet = getattr(node.target, "overloadpacket", None)
        return str(getattr(packet, "__name__", ""))

    (answer,) = [node for node in module.graph.nodes if node.op == "output"]
    leaves = torch.utils._pytree.tree_leaves(answer.args)
    if len(leaves) != 1 or not isinstance(leaves[0], torch.fx.Node):
        return None, None
    node: Any = leaves[0]
    while node.op == "call_function" and name(node) in _KEEPING:
        node = node.args[0]
    ending = _ENDINGS.get(name(node)) if node.op == "call_function" else None
    if ending is None and _is_linear(node, name):
        ending = "Gemm"
    if ending not in ("Sigmoid", "Softmax"):
        return ending, None
    plain = copy.deepcopy(module)
    (same,) = [n for n in plain.graph.nodes if n.name == node.name]
    same.replace_all_uses_with(same.args[0])
    plain.graph.erase_node(same)
    plain.recompile()
    return ending, plain


_LINEAR = ("linear", "addmm", "mm", "conv2d", "zeros_like", "zeros", "full", "full_like")
_JOINING = (*_KEEPING, "cat", "stack", "add", "sub", "mul", "neg", "slice", "select", "expand", "permute")


def _is_linear(node: torch.fx.Node, name: Callable[[torch.fx.Node], str]) -> bool:
    """Whether a value is put together from weights and the results of linear layers alone."""
    if node.op == "get_attr" or name(node) in _LINEAR or name(node) == "sym_size":
        return True
    return name(node) in _JOINING and all(_is_linear(n, name) for n in node.all_input_nodes)


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Keep a library from printing the traceback of an error that it also raises."""
    log = logging.getLogger(logger)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _vetted_pt2(path: Path) -> bytes:
    """A torch.export archive anew, with only what was looked at."""
    vetted = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(vetted, "w") as out:
        for member in archive.infolist():
            name = member.filename.partition("/")[2]
            if name.startswith("extra/"):
                continue
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"its member '{name}' is compressed, which torch never does")
            out.writestr(f"model/{name}", _vetted_member(name, archive.read(member)))
    return vetted.getvalue()


def _vetted_member(name: str, content: bytes) -> bytes:
    import torch

    if name == "data/sample_inputs/model.pt":
        return b""
    if _PT2_JSON.fullmatch(name):
        return json.dumps(_vetted_json(parse_json(content.decode()))).encode()
    if _PT2_PICKLE.fullmatch(name):  # how torch 2.8 stored all tensors
        safe = io.BytesIO()
        torch.save(torch.load(io.BytesIO(content), weights_only=True), safe)
        return safe.getvalue()
    if not _PT2_RAW.fullmatch(name):
        raise ValueError(f"it holds '{name}', which a program of tensors has no need of")
    return content


def _vetted_json(value: Any, key: str = "") -> Any:
    """A copy without metadata and guards; every text in it matches the pattern for its key.

    Raises:
        ValueError: A text matches no pattern, or a tensor is stored as a pickle.
    """
    if isinstance(value, dict):
        if value.get("use_pickle"):
            raise ValueError("it stores a tensor as a pickle")
        kept = {k: v for k, v in value.items() if k != "guards_code"}
        return {_vetted_json(k): {} if k == "metadata" else _vetted_json(v, k) for k, v in kept.items()}
    if isinstance(value, list):
        return [_vetted_json(item, key) for item in value]
    if isinstance(value, str) and not _PT2_TEXTS.get(key, _PT2_PLAIN).fullmatch(value):
        raise ValueError(f"its program uses '{value}', which is not among what a classifier needs")
    return value
