"""Reads a torch.export program (.pt2), vetted first: torch's own reader runs code that a file names."""

from __future__ import annotations

import io
import json
import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from udacimed_edge.core.json_reader import parse_json
from udacimed_edge.source.bounds import require_bounded_zip
from udacimed_edge.source.network import Network, channels_and_batch, reading

__all__ = ["load_pt2"]

_PT2_OPERATORS = re.compile(
    r"torch\.ops\.aten\.(_adaptive_avg_pool2d|_native_batch_norm_legit_no_training|_to_copy|adaptive_avg_pool2d"
    r"|add|add_|addmm|alias|avg_pool2d|batch_norm|cat|clamp|clone|contiguous|conv2d|convolution|detach|div"
    r"|dropout|dropout_|expand|flatten|hardsigmoid|hardsigmoid_|hardswish|hardswish_|hardtanh|hardtanh_|linear"
    r"|matmul|max_pool2d|max_pool2d_with_indices|mean|mm|mul|mul_|pad|permute|relu|relu_|reshape|select|sigmoid"
    r"|silu|silu_|slice|squeeze|sub|sym_size|t|to|transpose|unsqueeze|view)\.\w+|_operator\.(getitem|add|sub|mul)"
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
    channels, dynamic_batch = channels_and_batch(shapes, path)
    return Network(module.eval(), channels, dynamic_batch)


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
