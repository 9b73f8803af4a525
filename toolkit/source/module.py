"""A model that is in memory, an nn.Module or an exported program, taken the way its .pt2 file would be."""

from __future__ import annotations

import copy
import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.source.load import SourceModel, SourceOptions, load_source
from udacimed_edge.source.network import reading

if TYPE_CHECKING:  # it takes seconds to import: only the functions that need it do so
    import torch
    from torch.export import ExportedProgram

__all__ = ["load_module", "state_digest"]


def load_module(
    model: torch.nn.Module | ExportedProgram, options: SourceOptions, name: str = ""
) -> SourceModel:
    """Take a classifier that is in memory, and prove that it runs.

    A module is copied, put into eval mode and exported; from there on everything is as for a .pt2 file, so
    what is refused in one form is refused in the other. The model itself is left as it is.

    Args:
        model: Takes float32 of shape (n, 1 or 3, 64, 64), normalised; a gray image is repeated for three
            channels. Where a module takes either, it is given one.
        options: Normalisation and labels, which nothing in memory states, and a threshold.
        name: What reports call it; the name of its class where none is given.

    Returns:
        The model; its digest is `state_digest`.

    Raises:
        InputError: Normalisation or labels are not stated, it has no weights, cannot be exported, or is not
            a classifier of 64x64 images into two classes.
    """
    import torch

    name = name or ("program" if isinstance(model, torch.export.ExportedProgram) else type(model).__name__)
    if missing := [field for field in ("mean", "std", "labels") if getattr(options, field) is None]:
        raise InputError(
            f"nothing says how the input of {name} is normalised or what its outputs mean; missing: "
            f"{', '.join(missing)}",
            "state them, for example: mean=0.5, std=0.5, labels=('normal', 'pneumonia')",
        )
    digest = state_digest(
        model.state_dict if isinstance(model, torch.export.ExportedProgram) else model.state_dict()
    )
    with tempfile.TemporaryDirectory(prefix="udacimed-model-") as folder:
        path = Path(folder) / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.pt2"
        try:
            _save(model, path, name)
            source = load_source(path, options)
        except InputError as error:  # it speaks of a file that nobody knows
            raise InputError(
                error.message.replace(str(path), name), error.hint.replace(path.name, "model.pt2")
            ) from error
    return replace(source, name=name, digest=digest)


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over a model's state: parameters and persistent buffers, in the order of their names.

    Of each the line "name dtype shape" and its bytes, row by row, as on a little-endian machine. A module,
    its copy, and the program exported from it have one digest; what is computed with the state is not in it.

    Args:
        state: A state dict.

    Raises:
        InputError: It is empty.
    """
    import torch

    if not state:
        raise InputError("the model has no weights", "train it, or load its weights, before you convert it")
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _save(model: torch.nn.Module | ExportedProgram, path: Path, name: str) -> None:
    """Write a model as a .pt2 file, free in its batch where the model allows it."""
    import torch

    if isinstance(model, torch.export.ExportedProgram):
        torch.export.save(model, path)
        return
    module = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    channels = _channels(module, name)
    with reading(
        path, f"torch.export.export(model.eval(), (torch.zeros(1, {channels}, {SIDE}, {SIDE}),)) fails too"
    ):
        try:
            batch = torch.export.Dim("batch", min=1, max=4096)
            example = (torch.zeros(2, channels, SIDE, SIDE),)
            program = torch.export.export(module, example, dynamic_shapes=({0: batch},))
        except Exception:  # torch names no class for "this batch cannot be free"
            program = torch.export.export(module, (torch.zeros(1, channels, SIDE, SIDE),))
        torch.export.save(program, path)


def _channels(module: torch.nn.Module, name: str) -> int:
    """How many input channels a module takes, 1 or 3, by trying.

    Raises:
        InputError: It takes neither.
    """
    import torch

    reasons = []
    for channels in (1, 3):
        try:
            with torch.no_grad():
                module(torch.zeros(1, channels, SIDE, SIDE))
        except Exception as error:  # whatever a stranger's forward raises
            reasons.append(f"{channels} channel(s): {' '.join(str(error).split())[:120]}")
        else:
            return channels
    raise InputError(
        f"{name} takes no images of shape (n, 1 or 3, {SIDE}, {SIDE}): {'; '.join(reasons)}",
        f"name a network for gray or RGB images of {SIDE}x{SIDE} pixels",
    )
