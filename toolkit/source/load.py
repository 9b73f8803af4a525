"""A classifier's file (.safetensors, .pth, .pt2, .onnx) to one module: raw pixels in, logits out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import sha256_file
from udacimed_edge.runtime.contract import LABELS, SIDE
from udacimed_edge.source.network import (
    STUDENT_WIDTHS,
    Network,
    build_resnet18,
    build_student,
    reading,
)
from udacimed_edge.source.onnx import external_files, load_onnx
from udacimed_edge.source.pt2 import load_pt2
from udacimed_edge.source.spec import ModelSpec, parse_card, read_spec, spec_path

if TYPE_CHECKING:  # these take seconds to import: only the functions that need them do so
    import torch

__all__ = [
    "BUILT_IN",
    "REFERENCE",
    "SourceModel",
    "SourceOptions",
    "build_resnet18",
    "built_in_of",
    "find_source",
    "load_source",
    "stated_card",
    "with_preprocessing",
]

BUILT_IN = {
    name: Path(str(files("udacimed_edge") / "weights" / f"{name}.safetensors"))
    for name in ("reference", "student")
}
"""The weights of the built-in models; the card of each lies beside it."""

REFERENCE = BUILT_IN["reference"]


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
        mean: Its normalisation, of pixels divided by 255: one value, or one per input channel.
        std: Likewise.
        notes: What was assumed about the file, in lines for a report.
    """

    name: str
    module: torch.nn.Module
    digest: str
    threshold: float | None
    threshold_origin: str | None
    dynamic_batch: bool
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def built_in_of(digest: str) -> Path | None:
    """The built-in model with that SHA-256, if there is one."""
    return next((path for path in BUILT_IN.values() if sha256_file(path) == digest), None)


def find_source(
    digest: str, named: Path | None = None, options: SourceOptions = SourceOptions()
) -> SourceModel | None:
    """The model that an artifact says it was made from; None where it is not at hand.

    Args:
        digest: SHA-256 of its file, by the artifact's own word.
        named: Its file, as a person names it; None for the built-in model of that digest.
        options: What its file does not say.

    Raises:
        InputError: The file cannot be used.
    """
    path = named or built_in_of(digest)
    return None if path is None else load_source(path, options)


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
    card = stated_card(path, options)
    digest = _digest(path)
    if card.weights_sha256 not in (None, digest):
        raise InputError(
            f"{path} is not the file its card {spec_path(path).name} describes: its SHA-256 is {digest},"
            f" the card names {card.weights_sha256}",
            "restore the file the card was written for, or write a card for this one",
        )
    network = loader(path)
    _require_finite_weights(network.module, path)
    module = with_preprocessing(network, card, path)
    _prove(module, network.dynamic_batch, path)
    return SourceModel(
        name=card.name,
        module=module,
        digest=digest,
        threshold=card.threshold,
        threshold_origin=card.threshold_origin,
        dynamic_batch=network.dynamic_batch,
        mean=card.mean,
        std=card.std,
    )


def _loader_of(path: Path) -> Callable[[Path], Network]:
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


def stated_card(path: Path, options: SourceOptions) -> ModelSpec:
    """The card beside the file with the options laid over it; the options alone where there is no card.

    Raises:
        InputError: The card is damaged, or neither states the normalisation and the labels.
    """
    sidecar = spec_path(path)
    given = {field: value for field, value in asdict(options).items() if value is not None}
    if sidecar.is_file():
        card = read_spec(sidecar)
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
    paths = [path, *external_files(path)] if path.suffix.lower() == ".onnx" else [path]
    if len(paths) == 1:
        return sha256_file(path)
    names = sorted((p.relative_to(path.parent).as_posix(), p) for p in paths)
    return hashlib.sha256("".join(f"{sha256_file(p)}  {name}\n" for name, p in names).encode()).hexdigest()


def _require_finite_weights(network: torch.nn.Module, path: Path) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{path}: the tensor '{name}' holds NaN or infinity", "train or export it again")


def with_preprocessing(network: Network, card: ModelSpec, path: Path) -> torch.nn.Module:
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
                f"give one value, or one per channel; from the command line or in {spec_path(path).name}",
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
    with reading(path, hint), torch.no_grad():
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


def _load_safetensors(path: Path) -> Network:
    from safetensors.torch import load_file

    with reading(path, "download it again, or save it with safetensors.torch.save_file"):
        state = load_file(path)
    return _network_of(state, path)


def _load_pth(path: Path) -> Network:
    """Read a pickle of plain tensors; any other content is refused without being executed."""
    import torch

    with reading(path, "save plain tensors: torch.save(model.state_dict(), 'model.pth')"):
        content = torch.load(path, map_location="cpu", weights_only=True)
    return _network_of(_state_dict_of(content, path), path)


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


def _network_of(state: dict[str, torch.Tensor], path: Path) -> Network:
    """The network that a file's tensors belong to, with these weights.

    Raises:
        InputError: Other names, other shapes, or numbers that are not float16, bfloat16 or float32.
    """
    architecture, network, channels = _architecture_of(state, path)
    expected = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    missing = sorted(expected - state.keys())
    unexpected = sorted(state.keys() - network.state_dict().keys())
    if missing or unexpected:
        firsts = [f" (first: {names[0]})" if names else "" for names in (missing, unexpected)]
        raise InputError(
            f"{path} is not a {architecture}: {len(missing)} tensors missing{firsts[0]},"
            f" {len(unexpected)} unexpected{firsts[1]}",
            _KNOWN,
        )
    _require_floats({name: state[name] for name in expected}, path)
    if (classes := len(state["fc.weight"])) != 2:
        raise InputError(f"{path} has {classes} outputs, expected 2: {' and '.join(LABELS)}")
    with reading(path, _KNOWN):
        network.load_state_dict(state)
    return Network(network.eval(), channels)


_KNOWN = (
    "only torchvision's ResNet-18 and the student network are read from weights alone: "
    "export other networks to .pt2 or .onnx"
)


def _architecture_of(state: dict[str, torch.Tensor], path: Path) -> tuple[str, torch.nn.Module, int]:
    """Name, network and input channels: the width of the first convolution tells the two apart.

    Raises:
        InputError: Neither 1 nor 3 input channels.
    """
    stem = state.get("conv1.weight")
    width, channels = stem.shape[:2] if stem is not None and stem.ndim == 4 else (64, 1)
    if channels not in (1, 3):
        raise InputError(f"{path} takes {channels} input channels; 1 and 3 are supported", _KNOWN)
    if width == STUDENT_WIDTHS[0]:
        return "student network", build_student(), 1
    return "ResNet-18", build_resnet18(channels), channels


def _require_floats(state: dict[str, torch.Tensor], path: Path) -> None:
    import torch

    for name, tensor in sorted(state.items()):
        if (dtype := tensor.dtype) not in (torch.float16, torch.bfloat16, torch.float32):
            raise InputError(f"{path}: the tensor '{name}' is {dtype}, not float16 or float32", _KNOWN)


_LOADERS: dict[str, Callable[[Path], Network]] = {
    ".safetensors": _load_safetensors,
    ".pth": _load_pth,
    ".pt": _load_pth,
    ".pt2": load_pt2,
    ".onnx": load_onnx,
}
