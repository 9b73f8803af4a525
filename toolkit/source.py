"""A classifier's file (.safetensors, .pth, .pt2, .onnx) to one module: raw pixels in, logits out."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from udacimed_edge.card import ModelCard, card_path, parse_card, read_card
from udacimed_edge.errors import EdgeError, InputError
from udacimed_edge.files import sha256_file
from udacimed_edge.runtime.contract import LABELS, SIDE

if TYPE_CHECKING:  # these take seconds to import: only the functions that need them do so
    import onnx
    import torch

__all__ = ["REFERENCE", "SourceModel", "SourceOptions", "build_resnet18", "import_torchvision", "load_source"]

REFERENCE = Path(str(files("udacimed_edge") / "weights" / "reference.safetensors"))
"""The built-in reference model's weights; its card lies beside it."""

_OPSETS = range(11, 22)
_ONNX_DOMAINS = ("", "ai.onnx")
_ONNX2TORCH_OPSET = 17  # it lacks the ReduceMean of opset 18 and the Flatten and Reshape of 21


@dataclass(frozen=True)
class SourceOptions:
    """What a model's file cannot say, as a person states it; each one given overrides the model card.

    Attributes:
        mean: Per input channel, in torchvision's convention: pixels are divided by 255 first.
        std: Per input channel, above 0.
        labels: "normal" and "pneumonia" in the order of the model's outputs.
        threshold: Decision threshold on the probability of pneumonia; 0 < t < 1.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    labels: tuple[str, str] | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class SourceModel:
    """A classifier ready to be converted.

    Attributes:
        name: The model card's name for it, or the file's name without its suffix.
        module: In eval mode; float32 of shape (n, 1, 64, 64), values 0..255, to float32 logits of shape
            (n, 2): normal, pneumonia.
        digest: SHA-256 of the file. Where ONNX keeps weights in further files: of the lines that
            `sha256sum` prints for all of them, sorted by name.
        threshold: The decision threshold; None where neither card nor options state one.
        threshold_origin: Where the threshold comes from, in words.
        dynamic_batch: False where the file fixes the batch size to 1.
    """

    name: str
    module: torch.nn.Module
    digest: str
    threshold: float | None
    threshold_origin: str | None
    dynamic_batch: bool


@dataclass(frozen=True)
class _Network:
    """What a loader returns: float32 of shape (n, channels, 64, 64), normalised, to logits (n, 2)."""

    module: torch.nn.Module
    channels: int
    dynamic_batch: bool = True


def load_source(path: Path | None, options: SourceOptions = SourceOptions()) -> SourceModel:
    """Load a classifier and prove that it runs.

    Args:
        path: The model's file; None for the built-in reference model.
        options: What the file and its card do not say, or say wrongly.

    Raises:
        InputError: The file cannot be read safely, is not a classifier of 64x64 images into two classes,
            its normalisation or labels are not stated, or it does not belong to the card beside it.
    """
    path = REFERENCE if path is None else path
    loader = _loader_of(path)
    card = _stated_card(path, options)
    digest = _digest(path)
    if card.weights_sha256 not in (None, digest):
        raise InputError(
            f"{path} is not the file its card {card_path(path).name} describes: its SHA-256 is {digest},"
            f" the card names {card.weights_sha256}",
            "restore the file the card was written for, or write a card for this one",
        )
    network = loader(path)
    _require_finite_weights(network.module, path)
    module = _with_preprocessing(network, card, path)
    _prove(module, network.dynamic_batch, path)
    return SourceModel(
        name=card.name,
        module=module,
        digest=digest,
        threshold=card.threshold,
        threshold_origin=card.threshold_origin,
        dynamic_batch=network.dynamic_batch,
    )


def _loader_of(path: Path) -> Callable[[Path], _Network]:
    """The loader for a file's suffix, after the file itself was looked at."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a model file", "name the file inside it")
    if not path.exists():
        raise InputError(f"{path} does not exist", "check the name, or omit it to use the reference model")
    loader = _LOADERS.get(path.suffix.lower())
    if loader is None:
        raise InputError(f"{path}: the suffix '{path.suffix}' is not one of {', '.join(_LOADERS)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty", "download or export it again")
    return loader


def _stated_card(path: Path, options: SourceOptions) -> ModelCard:
    """The card beside the file with the options laid over it; the options alone where there is no card."""
    sidecar = card_path(path)
    given = {field: value for field, value in asdict(options).items() if value is not None}
    if sidecar.is_file():
        card = read_card(sidecar)
        stated = card.model_dump()
        if card.threshold is not None and card.threshold_origin is None:
            stated["threshold_origin"] = f"the model card {sidecar.name}"
    else:
        stated = {"schema_version": 1, "name": path.stem, "architecture": "not stated"}
        if missing := [f"--{field}" for field in ("mean", "std", "labels") if field not in given]:
            raise InputError(
                f"{path} does not say how its input is normalised or what its outputs mean;"
                f" missing: {', '.join(missing)}",
                f"give the missing options, or put a model card named {sidecar.name} beside the file",
            )
    if options.threshold is not None:
        given["threshold_origin"] = "the command line (--threshold)"
    return parse_card(json.dumps({**stated, **given}), f"what the options say about {path}")


def _digest(path: Path) -> str:
    paths = [path, *_external_files(path)] if path.suffix.lower() == ".onnx" else [path]
    if len(paths) == 1:
        return sha256_file(path)
    names = sorted((p.relative_to(path.parent).as_posix(), p) for p in paths)
    return hashlib.sha256("".join(f"{sha256_file(p)}  {name}\n" for name, p in names).encode()).hexdigest()


@contextmanager
def _reading(path: Path, hint: str) -> Iterator[None]:
    """Turn whatever a foreign loader raises into an error that names the file.

    The loaders raise nearly every built-in exception for a damaged file, besides their own.

    Raises:
        InputError: The body raised something that is not an error of ours.
    """
    try:
        yield
    except EdgeError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be used: {_reason(error)}", hint) from error


def _reason(error: Exception) -> str:
    """An exception's text in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    if isinstance(error, pickle.UnpicklingError):  # PyTorch's text advises to switch the protection off
        code = re.search(r"GLOBAL (\S+)", text)
        return (
            f"it asks to run code while loading ({code[1]}), which is refused"
            if code
            else "it is not a PyTorch file of plain tensors, or it is damaged"
        )
    return text[:300] or type(error).__name__


def _require_finite_weights(network: torch.nn.Module, path: Path) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{path}: the tensor '{name}' holds NaN or infinity", "train or export it again")


def _with_preprocessing(network: _Network, card: ModelCard, path: Path) -> torch.nn.Module:
    """Put normalisation before a network and, where needed, the swap of its outputs behind it.

    `(x / 255 - mean) / std` is written as one multiplication and one addition; their shape
    (1, channels, 1, 1) also repeats a gray image for a network of three channels.

    Raises:
        InputError: mean or std has neither one value nor one per channel.
    """
    import torch

    for field in ("mean", "std"):
        if (length := len(getattr(card, field))) not in (1, network.channels):
            raise InputError(
                f"{path} takes {network.channels} input channel(s), but --{field} has {length} values",
                f"give one value, or one per channel; from the command line or in {card_path(path).name}",
            )
    mean, std = (torch.tensor(v, dtype=torch.float64).expand(network.channels) for v in (card.mean, card.std))

    class Preprocess(torch.nn.Module):  # made here because torch is imported here
        scale: torch.Tensor
        shift: torch.Tensor
        order: torch.Tensor | None

        def __init__(self) -> None:
            super().__init__()
            self.network = network.module
            self.register_buffer("scale", (1 / (255 * std)).float().reshape(1, -1, 1, 1))
            self.register_buffer("shift", (-mean / std).float().reshape(1, -1, 1, 1))
            self.register_buffer("order", None if card.labels == LABELS else torch.tensor([1, 0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(x * self.scale + self.shift)
            return logits if self.order is None else logits.index_select(1, self.order)

    return Preprocess().eval().requires_grad_(False)


def _prove(module: torch.nn.Module, dynamic_batch: bool, path: Path) -> None:
    """Run a module on a ramp of gray values, whole batch and single image.

    Raises:
        InputError: It does not run, or its outputs are not finite float logits of shape (n, 2) that
            depend on nothing but their own image.
    """
    import torch

    batch = 2 if dynamic_batch else 1
    ramp = torch.linspace(0, 255, batch * SIDE * SIDE).reshape(batch, 1, SIDE, SIDE)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    hint = f"export a network that takes (n, channels, {SIDE}, {SIDE}) float32 and returns (n, 2) logits"
    with _reading(path, hint), torch.no_grad():
        logits, single = module(ramp), module(ramp[:1])
    if not isinstance(logits, torch.Tensor) or logits.shape != (batch, 2) or logits.dtype != torch.float32:
        raise InputError(f"{path} returns {_describe(logits)}, expected float32 of shape (n, 2)", hint)
    if not logits.isfinite().all():
        raise InputError(f"{path} returns NaN or infinity for a plain image", "train or export it again")
    if logits.min() >= 0 and ((logits.sum(dim=1) - 1).abs() < 1e-5).all():
        raise InputError(f"{path} returns probabilities, not logits", "export it without its last softmax")
    unchanged = all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    if not unchanged or not torch.allclose(logits[:1], single, rtol=1e-3, atol=1e-3):
        raise InputError(f"{path} was exported in training mode", "call model.eval() before you export it")


def _describe(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{getattr(value, 'dtype', '')} of shape {tuple(shape)}"


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled operators do not fit the installed torch.

    PyPI's torchvision wants CUDA libraries; beside a CPU build of torch its import ends with "operator
    torchvision::nms does not exist". Declaring the two operators it names cures that; no classifier
    calls them.
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare_operators()
        return import_module("torchvision")


@cache  # the declarations last as long as the object that made them
def _declare_operators() -> object:
    library = import_module("torch.library").Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def build_resnet18(in_channels: int) -> torch.nn.Module:
    """Torchvision's ResNet-18 for two classes, with random weights.

    Args:
        in_channels: Input channels of the first convolution; otherwise the network is torchvision's own.

    Returns:
        float32 of shape (n, in_channels, h, w) to logits of shape (n, 2).
    """
    import torch

    network: torch.nn.Module = import_torchvision().models.resnet18(weights=None, num_classes=2)
    if in_channels != 3:
        network.conv1 = torch.nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    return network


def _load_safetensors(path: Path) -> _Network:
    from safetensors.torch import load_file

    with _reading(path, "download it again, or save it with safetensors.torch.save_file"):
        state = load_file(path)
    return _resnet18_of(state, path)


def _load_pth(path: Path) -> _Network:
    """Read a pickle of plain tensors; any other content is refused without being executed."""
    import torch

    with _reading(path, "save plain tensors: torch.save(model.state_dict(), 'model.pth')"):
        content = torch.load(path, map_location="cpu", weights_only=True)
    return _resnet18_of(_state_dict_of(content, path), path)


def _state_dict_of(content: object, path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors, unwrapped, without the prefix that DataParallel adds."""
    import torch

    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    hint = "save plain tensors: torch.save(model.state_dict(), 'model.pth')"
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds an object of type {type(content).__name__}, not a state dict", hint)
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path} is not a state dict: '{name}' is of type {type(value).__name__}", hint)
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _resnet18_of(state: dict[str, torch.Tensor], path: Path) -> _Network:
    """ResNet-18 with a file's weights.

    Raises:
        InputError: Other names, other shapes, or numbers that are not float16, bfloat16 or float32.
    """
    import torch

    hint = "only torchvision's ResNet-18 is read from weights alone: export other networks to .pt2 or .onnx"
    channels = state["conv1.weight"].shape[1] if getattr(state.get("conv1.weight"), "ndim", 0) == 4 else 1
    if channels not in (1, 3):
        raise InputError(f"{path} takes {channels} input channels; 1 and 3 are supported", hint)
    network = build_resnet18(channels)
    expected = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    missing = sorted(expected - state.keys())
    unexpected = sorted(state.keys() - network.state_dict().keys())
    if missing or unexpected:
        firsts = [f" (first: {names[0]})" if names else "" for names in (missing, unexpected)]
        raise InputError(
            f"{path} is not a ResNet-18: {len(missing)} tensors missing{firsts[0]},"
            f" {len(unexpected)} unexpected{firsts[1]}",
            hint,
        )
    for name in sorted(expected):
        if (dtype := state[name].dtype) not in (torch.float16, torch.bfloat16, torch.float32):
            raise InputError(f"{path}: the tensor '{name}' is {dtype}, not float16 or float32", hint)
    if (classes := len(state["fc.weight"])) != 2:
        raise InputError(f"{path} has {classes} outputs, expected 2: {' and '.join(LABELS)}")
    with _reading(path, hint):
        network.load_state_dict(state)
    return _Network(network.eval(), channels)


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


def _load_pt2(path: Path) -> _Network:
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
    with _reading(path, hint), _quiet("torch.export"):
        program = torch.export.load(io.BytesIO(_vetted_pt2(path)))
        names = program.graph_signature.user_inputs
        inputs = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
        module = program.module()
    for method in ("train", "eval"):  # those of an exported module raise, and so would a module around it
        vars(module).pop(method, None)
    shapes = [[d if isinstance(d, int) else None for d in getattr(value, "shape", ())] for value in inputs]
    channels, dynamic_batch = _channels_and_batch(shapes, path)
    return _Network(module.eval(), channels, dynamic_batch)


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
        return json.dumps(_vetted_json(json.loads(content))).encode()
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


def _channels_and_batch(inputs: Sequence[Sequence[int | None]], path: Path) -> tuple[int, bool]:
    """Input channels, and whether the batch size is free.

    Args:
        inputs: The shape of each input; None where a dimension is free.
        path: The model's file.

    Raises:
        InputError: Not one input of shape (n or 1, 1 or 3, 64, 64).
    """
    expected = f"expected one of shape (n, 1 or 3, {SIDE}, {SIDE})"
    if len(inputs) != 1:
        raise InputError(f"{path} has {len(inputs)} inputs, {expected}")
    shape = tuple("free" if d is None else d for d in inputs[0])
    batch, channels, *sides = inputs[0] if len(inputs[0]) == 4 else (0, 0, 0, 0)
    if channels not in (1, 3) or any(side not in (SIDE, None) for side in sides):
        raise InputError(f"{path} has an input of shape ({', '.join(map(str, shape))}), {expected}")
    if batch not in (1, None):
        raise InputError(f"{path} takes only {batch} images at once", "export it with batch size 1 or free")
    return channels, batch is None


def _load_onnx(path: Path) -> _Network:
    """Read an ONNX model and rebuild it from PyTorch's modules.

    Raises:
        InputError: Damaged, of another opset, with operators that onnx2torch lacks, or with another input.
    """
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    model = _onnx_proto(path)
    _require_standard_operators(model, path)
    weights = {tensor.name for tensor in model.graph.initializer}
    tensors = [value.type.tensor_type for value in model.graph.input if value.name not in weights]
    shapes = [[d.dim_value if d.HasField("dim_value") else None for d in t.shape.dim] for t in tensors]
    channels, dynamic_batch = _channels_and_batch(shapes, path)
    with _reading(path, "export it again with torch.onnx.export(model.eval(), ..., opset_version=17)"):
        dtype = onnx.TensorProto.DataType.Name(tensors[0].elem_type)
        if dtype not in ("FLOAT", "FLOAT16"):
            raise InputError(f"{path} takes {dtype} numbers, expected FLOAT or FLOAT16")
        load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
        module = _onnx2torch().convert(_for_onnx2torch(model))
        _freeze_reshapes(module)
    return _Network(module.eval(), channels, dynamic_batch)


def _onnx2torch() -> ModuleType:
    import_torchvision()  # onnx2torch imports it
    return import_module("onnx2torch")


def _onnx_proto(path: Path) -> onnx.ModelProto:
    """The model without its external data, its local functions expanded."""
    import onnx
    import onnx.inliner

    with _reading(path, "download or export it again"):
        model = onnx.load(str(path), load_external_data=False)
        return onnx.inliner.inline_local_functions(model) if model.functions else model


def _external_files(path: Path) -> list[Path]:
    """The files beside an ONNX model that hold its weights.

    Raises:
        InputError: One is missing, or lies outside the model's own folder.
    """
    graph = _onnx_proto(path).graph
    tensors = [*graph.initializer, *(a.t for n in graph.node for a in n.attribute if a.HasField("t"))]
    found: dict[str, Path] = {}
    for location in {e.value for t in tensors for e in t.external_data if e.key == "location"}:
        file = path.parent / location
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise InputError(f"{path} reads '{location}', outside its own folder", "do not trust this file")
        if not file.is_file():
            raise InputError(f"{path} keeps weights in '{location}', which is missing", "put it beside it")
        found[location] = file
    return list(found.values())


def _require_standard_operators(model: onnx.ModelProto, path: Path) -> None:
    for node in model.graph.node:
        if node.domain not in _ONNX_DOMAINS:
            raise InputError(
                f"{path} uses the custom operator {node.domain}.{node.op_type}",
                "export it with standard ONNX operators only",
            )
    if (opset := _opset(model)) not in _OPSETS:
        raise InputError(
            f"{path} is of opset {opset}; {_OPSETS[0]} to {_OPSETS[-1]} are supported",
            "export it again with opset_version=17",
        )


def _opset(model: onnx.ModelProto) -> int:
    """The version of the standard operators; 0 where the model states none."""
    return next((opset.version for opset in model.opset_import if opset.domain in _ONNX_DOMAINS), 0)


def _for_onnx2torch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for inference in float32, in the operators that onnx2torch knows."""
    from onnx import TensorProto, numpy_helper, version_converter

    _constants_to_initializers(model.graph)
    _raise_to_float32(model.graph)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            del node.output[1:]  # the statistics that training mode returns
            _drop_attribute(node, "training_mode")
    if _opset(model) > _ONNX2TORCH_OPSET:
        model = version_converter.convert_version(model, _ONNX2TORCH_OPSET)
    integers = [t for t in model.graph.initializer if t.data_type == TensorProto.INT64]
    without_zero = {t.name for t in integers if numpy_helper.to_array(t).all()}
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in without_zero:
            _drop_attribute(node, "allowzero")  # it says how to read a 0; onnx2torch refuses it unseen
    return model


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Only as initializers are constants seen as weights by onnx2torch, and as shapes by us."""
    for node in [n for n in graph.node if n.op_type == "Constant"]:
        for attribute in [a for a in node.attribute if a.name == "value"]:
            attribute.t.name = node.output[0]
            graph.initializer.append(attribute.t)
            graph.node.remove(node)


def _drop_attribute(node: onnx.NodeProto, name: str) -> None:
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)


def _raise_to_float32(graph: onnx.GraphProto) -> None:
    """Make every float16 of a graph a float32; exact, since each float16 is one."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    attributes = [attribute for node in graph.node for attribute in node.attribute]
    for tensor in [*graph.initializer, *(a.t for a in attributes if a.HasField("t"))]:
        if tensor.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for attribute in attributes:  # of Cast
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
    del graph.value_info[:]  # what it said is inferred anew


def _freeze_reshapes(module: torch.fx.GraphModule) -> None:
    """Give each reshape its constant shape as numbers: torch.export cannot follow the content of a tensor."""
    reshape = _onnx2torch().node_converters.reshape.OnnxReshape
    constants = dict(module.named_buffers())
    for node in list(module.graph.nodes):
        if node.op == "call_module" and isinstance(module.get_submodule(node.target), reshape):
            data, shape = node.args
            if shape.op == "get_attr":
                with module.graph.inserting_before(node):
                    frozen = module.graph.call_function(_reshape, (data, constants[shape.target].tolist()))
                node.replace_all_uses_with(frozen)
                module.graph.erase_node(node)
    module.recompile()


def _reshape(data: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """ONNX's Reshape: a 0 keeps the dimension, a -1 takes what is left."""
    return data.reshape([data.shape[i] if size == 0 else size for i, size in enumerate(shape)])


_LOADERS: dict[str, Callable[[Path], _Network]] = {
    ".safetensors": _load_safetensors,
    ".pth": _load_pth,
    ".pt": _load_pth,
    ".pt2": _load_pt2,
    ".onnx": _load_onnx,
}
