"""A model as a Python user names it: a file, a module, an exported program, or a built-in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from udacimed_edge.core.errors import InputError
from udacimed_edge.source.load import BUILT_IN, SourceModel, SourceOptions, load_source
from udacimed_edge.source.module import load_module
from udacimed_edge.source.outputs import Output

if TYPE_CHECKING:  # it takes seconds to import: only the functions that need it do so
    import torch
    from torch.export import ExportedProgram

__all__ = ["StrPath", "load_model"]

StrPath: TypeAlias = str | Path


def load_model(
    model: StrPath | torch.nn.Module | ExportedProgram | None = None,
    *,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    threshold: float | None = None,
    architecture: str | None = None,
    output: Output | None = None,
    check: StrPath | None = None,
    name: str = "",
) -> SourceModel:
    """Load a classifier and prove that it runs; nothing is guessed.

    Args:
        model: A file (.safetensors, .pth, .pt2, .onnx), an nn.Module (it is copied, put into eval mode and
            exported) or an exported program; "reference" or "student" as a str, or None, for a built-in one.
            The digest of a file is the SHA-256 of its bytes; that of a model in memory the SHA-256 over its
            state (`udacimed_edge.source.module.state_digest`).
        mean: What the model expects, of pixels divided by 255: one number, or one for each channel.
        std: Likewise.
        labels: "normal" and "pneumonia" in the order of the model's outputs.
        threshold: Decision threshold on the probability of pneumonia, 0 < t < 1; None to let `convert` set
            one on the validation split.
        architecture: The network that weights alone belong to, for example "torchvision-resnet18".
        output: What the model answers, where it is not two logits: "softmax", "log-softmax", "logit",
            "sigmoid" or "sigmoids".
        check: An .npz file of a few images and the model's own answers, which it must give as it was read.
        name: What reports call a model in memory; the name of its class where none is given.

    Raises:
        InputError: It cannot be used; or mean, std or labels are stated neither here nor by a card beside the
            file.
    """
    options = SourceOptions(
        _numbers(mean),
        _numbers(std),
        _labels(labels),
        threshold,
        architecture,
        output,
        None if check is None else Path(check),
    )
    if model is None or isinstance(model, (str, Path)):
        built_in = BUILT_IN.get(model) if isinstance(model, str) else None
        source = load_source(built_in or (None if model is None else Path(model)), options)
    else:
        source = load_module(model, options, name)
    return source


def _numbers(value: float | Sequence[float] | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    return tuple(float(v) for v in value) if isinstance(value, Sequence) else (float(value),)


def _labels(labels: Sequence[str] | None) -> tuple[str, str] | None:
    if labels is None:
        return None
    given = tuple(labels.split(",")) if isinstance(labels, str) else tuple(labels)
    if sorted(given) != ["normal", "pneumonia"]:
        raise InputError(
            f"labels are {given}, expected normal and pneumonia in the order of the model's outputs",
            "name them: labels=('normal', 'pneumonia') or the reverse",
        )
    return given[0], given[1]
