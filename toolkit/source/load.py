"""A classifier's file (weights, .pt2 or .onnx) to one module: raw pixels in, two logits out."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import sha256_file
from udacimed_edge.core.memory import bounded_memory
from udacimed_edge.runtime.contract import LABELS
from udacimed_edge.source.bounds import require_bounded_file
from udacimed_edge.source.foreign import refuse_foreign
from udacimed_edge.source.network import Network, build_resnet18, reading
from udacimed_edge.source.onnx import external_files, load_onnx
from udacimed_edge.source.outputs import Output, require_output, two_logits
from udacimed_edge.source.proof import TOLERANCE, disagreement, export, read_check, require_classifier
from udacimed_edge.source.pt2 import load_pt2
from udacimed_edge.source.spec import ModelSpec, card_lines, parse_card, read_spec, spec_path
from udacimed_edge.source.weights import WEIGHT_SUFFIXES, candidates, network_of, read_weights

if TYPE_CHECKING:  # these take seconds to import: only the functions that need them do so
    import torch
    from torch.export import ExportedProgram

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
    for name in ("reference", "student", "student-2")
}
"""The weights of the built-in models; the card of each lies beside it."""

REFERENCE = BUILT_IN["reference"]

MEMORY_BYTES = 1 << 30
"""What loading may take, besides eight times the file: it is read, rebuilt and run in several copies."""


@dataclass(frozen=True)
class SourceOptions:
    """What a model's file cannot say, as a person states it; each one given overrides the model card.

    Attributes:
        mean: Per input channel, in torchvision's convention: pixels are divided by 255 first.
        std: Per input channel, above 0.
        labels: "normal" and "pneumonia" in the order of the model's outputs.
        threshold: Decision threshold on the probability of pneumonia; 0 < t < 1.
        architecture: The network that weights without a graph belong to.
        output: What the network's answer is.
        check: An .npz file of a few images and the owner's own answers, which the model must give too.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    labels: tuple[str, str] | None = None
    threshold: float | None = None
    architecture: str | None = None
    output: Output | None = None
    check: Path | None = None


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
        dynamic_batch: False where it takes one image at a time alone.
        architecture: The network that the weights were taken for; None where the file carries its graph.
        output: What the file's own answer was stated or seen to be; `module` has made two logits of it.
        checked: How the answers were compared with the owner's, in words; None where they were not.
        notes: All that was assumed, stated or proved while it was read, one sentence each, for a report.
        program: The module, exported, free in its batch where `dynamic_batch`.
        mean: Its normalisation, of pixels divided by 255: one value, or one per input channel.
        std: Likewise.
        card: What its card says of the test split and of what had been seen of it, for a report.
    """

    name: str
    module: torch.nn.Module
    digest: str
    threshold: float | None
    threshold_origin: str | None
    dynamic_batch: bool
    architecture: str | None = None
    output: Output = "logits"
    checked: str | None = None
    notes: tuple[str, ...] = ()
    program: ExportedProgram | None = field(default=None, repr=False, compare=False)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    card: tuple[str, ...] = ()


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


_ONE_AT_A_TIME = threading.Lock()
"""torch.export keeps its tracer, and the bound on memory is kept, for the process as a whole."""


def load_source(path: Path | None, options: SourceOptions = SourceOptions()) -> SourceModel:
    """Load a classifier and prove that it runs.

    Args:
        path: The model's file; None for the built-in reference model.
        options: What the file and its card do not say, or say wrongly.

    Raises:
        InputError: The file cannot be read safely, is not a classifier of 64x64 images into two classes,
            its normalisation or labels are not stated, or it does not belong to the card beside it.
    """
    import torch  # noqa: F401  # before memory is bounded: it maps much that it never touches

    path = REFERENCE if path is None else path
    _require_readable(path)
    # nothing that a file asks for may end the process, or reach a person as a defect of ours
    memory = bounded_memory(MEMORY_BYTES + 8 * path.stat().st_size)
    with _ONE_AT_A_TIME, memory, reading(path, "export or download it again"):
        return _load(path, options)


def _load(path: Path, options: SourceOptions) -> SourceModel:
    card = stated_card(path, options)
    digest = _digest(path)
    if card.weights_sha256 not in (None, digest):
        raise InputError(
            f"{path} is not the file its card {spec_path(path).name} describes: its SHA-256 is {digest},"
            f" the card names {card.weights_sha256}",
            "restore the file the card was written for, or write a card for this one",
        )
    read = _read(path, card, options)
    network = read.network
    answers = require_classifier(read.raw, 2 if network.layout.dynamic_batch else 1, path)
    output = require_output(card.output, network, answers, path)
    module = with_preprocessing(replace(network, module=two_logits(network, output)), card, path)
    program, why_single = export(module, network, path)
    return SourceModel(
        name=card.name,
        module=module,
        digest=digest,
        threshold=card.threshold,
        threshold_origin=card.threshold_origin,
        dynamic_batch=not why_single,
        architecture=read.architecture,
        output=output,
        checked=read.checked,
        notes=_notes(read, card, output, why_single, options),
        program=program,
        mean=card.mean,
        std=card.std,
        card=card_lines(card),
    )


@dataclass(frozen=True)
class _Read:
    """A network as it was read.

    Attributes:
        network: The network.
        raw: It with preprocessing: raw pixels to its own answers.
        architecture: What its weights were taken for; None where its file carries the graph.
        checked: The result of the check, in words; None without one.
    """

    network: Network
    raw: torch.nn.Module
    architecture: str | None = None
    checked: str | None = None


def _read(path: Path, card: ModelSpec, options: SourceOptions) -> _Read:
    """The network that a file holds; where several may be meant, the one that the check proves.

    Raises:
        InputError: It cannot be read, holds numbers that are not finite, or the check fails.
    """
    found: list[_Read] = []
    if path.suffix.lower() in WEIGHT_SUFFIXES:
        state = read_weights(path)
        _require_finite(state, path)
        stated = options.architecture or (card.architecture if spec_path(path).is_file() else None)
        for name in candidates(state, stated, options.check is not None, path):
            network = network_of(state, name, path)
            found.append(_Read(network, _preprocessed(network, card, path), name))
    else:
        if options.architecture is not None:
            raise InputError(f"{path} carries its own graph: --architecture is for weights alone")
        network = _GRAPHS[path.suffix.lower()](path)
        _require_finite(network.module.state_dict(), path)
        found.append(_Read(network, _preprocessed(network, card, path)))
    return found[0] if options.check is None else _proved(found, options.check, path)


def _proved(found: list[_Read], check: Path, path: Path) -> _Read:
    """The first network that gives its owner's answers.

    Raises:
        InputError: None does.
    """
    asked, tried = read_check(check), {}
    for read in found:
        with reading(path, "see the check's images"):
            far = disagreement(read.raw, asked)
        if far <= TOLERANCE:
            count = len(asked.images)
            return replace(read, checked=f"{count} answers of {asked.name}, largest difference {far:.1e}")
        tried[read.architecture or "its graph"] = f"{far:.3g}"
    told = ", ".join(f"{name}: {far}" for name, far in tried.items())
    raise InputError(
        f"{path} does not give the answers of {check}; largest difference {told}, allowed {TOLERANCE:g}",
        "the network, the normalisation (--mean, --std) or the images are not those the answers came from; "
        "a network that is not known by its weights comes as .pt2 or .onnx",
    )


def _notes(
    read: _Read, card: ModelSpec, output: Output, why_single: str, options: SourceOptions
) -> tuple[str, ...]:
    """What was assumed, stated or proved, for people."""
    notes = list(read.network.notes)
    if read.architecture is not None:
        proof = "stated with --architecture" if options.architecture else "stated by its model card"
        if not options.architecture and card.architecture == _UNSTATED:
            proof = "found by --check"
        sure = "" if read.checked else "; the weights alone do not prove it"
        notes.append(f"the network was taken for {read.architecture}, {proof}{sure}")
    if output != "logits":
        notes.append(f"its own output is {_IN_WORDS[output]}; two logits are made of it inside the artifact")
    if read.network.raw_pixels:
        notes.append("it takes bytes 0..255 and normalises them itself")
    if why_single:
        notes.append(f"it takes one image at a time: {why_single}")
    if read.checked:
        notes.append(f"checked against its owner's own answers: {read.checked}")
    return tuple(notes)


_UNSTATED = "not stated"
_IN_WORDS: dict[Output, str] = {
    "softmax": "two probabilities (softmax)",
    "log-softmax": "the logarithms of two probabilities",
    "logit": "one logit, of its second label",
    "sigmoid": "one probability, of its second label",
    "sigmoids": "two independent probabilities, of which the one of pneumonia counts",
}


def _require_readable(path: Path) -> None:
    """Look at the file itself.

    Raises:
        InputError: Missing, empty, a folder, or of a kind that is not read.
    """
    if path.exists():
        if not path.is_dir():
            require_bounded_file(path)
        refuse_foreign(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a model file", "name the file inside it")
    if not path.exists():
        raise InputError(f"{path} does not exist", "check the name, or omit it to use the reference model")
    if path.suffix.lower() not in (known := (*WEIGHT_SUFFIXES, *_GRAPHS)):
        raise InputError(f"{path}: the suffix '{path.suffix}' is not one of {', '.join(known)}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty", "download or export it again")


def stated_card(path: Path, options: SourceOptions) -> ModelSpec:
    """The card beside the file with the options laid over it; the options alone where there is no card.

    Raises:
        InputError: The card is damaged, or neither states the normalisation and the labels.
    """
    sidecar = spec_path(path)
    given = {name: value for name, value in asdict(options).items() if value is not None and name != "check"}
    if sidecar.is_file():
        card = read_spec(sidecar)
        stated = card.model_dump()
        if card.threshold is not None and card.threshold_origin is None:
            stated["threshold_origin"] = f"the model card {sidecar.name}"
    else:
        stated = {"schema_version": 1, "name": path.stem, "architecture": _UNSTATED}
        if missing := [f"--{name}" for name in ("mean", "std", "labels") if name not in given]:
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


def _require_finite(state: Mapping[str, torch.Tensor], path: Path) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{path}: the tensor '{name}' holds NaN or infinity", "train or export it again")


def _preprocessed(network: Network, card: ModelSpec, path: Path) -> torch.nn.Module:
    """Raw pixels to the network's own answers, in its own order of labels."""
    return with_preprocessing(network, card.model_copy(update={"labels": LABELS}), path)


def with_preprocessing(network: Network, card: ModelSpec, path: Path) -> torch.nn.Module:
    """Put normalisation before a network and, where needed, the swap of its outputs behind it.

    `(x / 255 - mean) / std` is written as one multiplication and one addition; their shape
    (1, channels, 1, 1) also repeats a gray image for a network of three channels.

    Raises:
        InputError: mean or std has neither one value nor one per channel, or a network that takes bytes
            is said to need them normalised.
    """
    import torch

    channels, channels_last = network.layout.channels, network.layout.channels_last
    for name in ("mean", "std"):
        if (length := len(getattr(card, name))) not in (1, channels):
            raise InputError(
                f"{path} takes {channels} input channel(s), but --{name} has {length} values",
                f"give one value, or one per channel; from the command line or in {spec_path(path).name}",
            )
    mean, std = (torch.tensor(v, dtype=torch.float64).expand(channels) for v in (card.mean, card.std))
    if network.raw_pixels and not (mean.abs().max() < 1e-9 and (std * 255 - 1).abs().max() < 1e-4):
        raise InputError(
            f"{path} takes bytes 0..255 and normalises them itself",
            f"state just that: --mean 0 --std {1 / 255}",
        )

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
            x = x * self.scale + self.shift
            logits: torch.Tensor = self.network(x.permute(0, 2, 3, 1) if channels_last else x)
            return logits if self.order is None else logits.index_select(1, self.order)

    return Preprocess().eval().requires_grad_(False)


_GRAPHS: dict[str, Callable[[Path], Network]] = {".pt2": load_pt2, ".onnx": load_onnx}
