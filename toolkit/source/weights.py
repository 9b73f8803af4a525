"""Weights without a graph (.safetensors, .pth, .pt, .ckpt): the tensors, and the network they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import LABELS
from udacimed_edge.source.architectures import (
    ALIASES,
    ARCHITECTURES,
    build,
    channels_of,
    fitting,
    in_torchvision_names,
    mismatch,
    outputs_of,
)
from udacimed_edge.source.bounds import require_bounded_safetensors, require_bounded_zip
from udacimed_edge.source.network import Layout, Network, reading

if TYPE_CHECKING:  # it takes seconds to import: only the functions that need it do so
    import torch

__all__ = ["WEIGHT_SUFFIXES", "candidates", "network_of", "read_weights"]

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")

_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "weights", "model_state", "model_weights")
_PREFIXES = ("model.", "net.", "network.", "backbone.", "module.", "_orig_mod.")
_PLAIN = "save plain tensors: torch.save(model.state_dict(), 'model.pth')"
_KNOWN = (
    "a network that is not on this list, or was changed, comes as .pt2 or .onnx, which carry their graph; "
    f"known by their weights: {', '.join(ARCHITECTURES)}"
)

State = dict[str, "torch.Tensor"]


def read_weights(path: Path) -> State:
    """A file's tensors, without containers and prefixes, in torchvision's names.

    Raises:
        InputError: Damaged, or anything else than plain tensors of floats; nothing in it is executed.
    """
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        with reading(path, "download it again, or save it with safetensors.torch.save_file"):
            require_bounded_safetensors(path)
            content: object = load_file(path)
    else:
        import torch

        with reading(path, _PLAIN):
            require_bounded_zip(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    state = in_torchvision_names(_without_prefixes(_state_dict_of(content, path)))
    _require_floats(state, path)
    return state


def _state_dict_of(content: object, path: Path) -> State:
    """A checkpoint's tensors, out of the containers that training scripts put them in.

    Raises:
        InputError: No state dict, or several of which none is said to be the one.
    """
    import torch

    while isinstance(content, Mapping):
        inside = [key for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
        if len(inside) > 1:
            raise InputError(
                f"{path} holds several state dicts ({', '.join(inside)}) and does not say which is the model",
                _PLAIN,
            )
        if not inside:
            break
        content = content[inside[0]]
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds an object of type {type(content).__name__}, not a state dict", _PLAIN)
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"{path} is not a state dict: '{name}' is of type {type(value).__name__}", _PLAIN
            )
    return {str(name): value for name, value in content.items()}


def _without_prefixes(state: State) -> State:
    """Tensor names without what wrappers put before all of them."""
    while prefix := next((p for p in _PREFIXES if state and all(n.startswith(p) for n in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _require_floats(state: State, path: Path) -> None:
    import torch

    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    for name, tensor in sorted(state.items()):
        if tensor.dtype not in floats and not name.endswith("num_batches_tracked"):
            raise InputError(f"{path}: the tensor '{name}' is {tensor.dtype}, not of floats", _KNOWN)


def candidates(state: State, stated: str | None, can_be_proved: bool, path: Path) -> list[str]:
    """The networks that the weights may belong to: the stated one, or all they fit where a check will tell.

    Args:
        state: The tensors.
        stated: The network's name, by a person or a card.
        can_be_proved: Whether the answers of the owner's own network are there to compare with.
        path: The file.

    Raises:
        InputError: Nothing is stated and nothing can be proved, no such network is known, or none fits.
    """
    if stated is not None:
        name = ALIASES.get(stated, stated)
        if name not in ARCHITECTURES:
            raise InputError(f"{path}: no network called '{stated}' is known", _KNOWN)
        return [name]
    fit = fitting(state)
    if not fit:
        first = ", ".join(list(state)[:3])
        raise InputError(f"{path} holds weights ({first}, ...) that fit no network which is known", _KNOWN)
    if can_be_proved:
        return fit
    raise InputError(
        f"{path} holds weights alone; they fit {' and '.join(fit)}, but a network that pools, strides or "
        "activates otherwise has the same tensors",
        f"state it: --architecture {fit[0]}; or prove it with the network's own answers for some images: "
        "--check FILE.npz; .pt2 and .onnx need neither",
    )


def network_of(state: State, architecture: str, path: Path) -> Network:
    """That network with these weights.

    Raises:
        InputError: The tensors have other names or shapes, or other numbers of channels or outputs.
    """
    import torch

    outputs, channels = outputs_of(state), channels_of(state)
    if channels not in (1, 3):
        raise InputError(f"{path} takes {channels} input channels; 1 and 3 are supported", _KNOWN)
    if outputs not in (1, 2):
        raise InputError(f"{path} has {outputs} outputs, expected 2: {' and '.join(LABELS)}")
    network, channels = build(architecture, state)
    missing, unexpected = mismatch(network, state)
    if missing or unexpected:
        firsts = [f" (first: {names[0]})" if names else "" for names in (missing, unexpected)]
        raise InputError(
            f"{path} is not a {architecture}: {len(missing)} tensors missing{firsts[0]},"
            f" {len(unexpected)} unexpected{firsts[1]}",
            _KNOWN,
        )
    with reading(path, _KNOWN):
        network.load_state_dict(state, strict=False)  # of batch norms' counters alone, as was just seen
    wide = any(tensor.dtype == torch.float64 for tensor in state.values())
    notes = ("its weights, float64, were rounded to float32",) if wide else ()
    return Network(network.eval(), Layout(channels), ending="Gemm", notes=notes)
