"""What loading proves before anything else is done: it answers, it exports, it answers as its owner says."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.source.network import Network, reading

if TYPE_CHECKING:  # it takes seconds to import: only the functions that need it do so
    import torch
    from torch.export import ExportedProgram

__all__ = ["Check", "disagreement", "export", "plain_images", "read_check", "require_classifier"]

TOLERANCE = 1e-4
"""How far an answer may be from the owner's, for answers up to 1; beyond, relative to the largest."""

_HINT = f"export a network that takes (n, channels, {SIDE}, {SIDE}) float32 and returns (n, 2) or (n, 1)"


class Check:
    """A few images and the owner's own answers for them.

    Attributes:
        name: The file's.
        images: float32 of shape (n, 1, 64, 64), values 0..255.
        outputs: float32 of shape (n, outputs): as the network answers, before any conversion.
    """

    def __init__(self, name: str, images: torch.Tensor, outputs: torch.Tensor) -> None:
        self.name, self.images, self.outputs = name, images, outputs


def read_check(path: Path) -> Check:
    """Read `images`, uint8 (n, 64, 64), and `outputs`, floats (n, 2), (n, 1) or (n,), from an .npz file.

    Raises:
        InputError: It holds anything else, or too little to tell one network from another.
    """
    import torch

    hint = f"np.savez('check.npz', images=uint8 of shape (n, {SIDE}, {SIDE}), outputs=the network's answers)"
    with reading(path, hint):
        if not path.is_file():
            raise InputError(f"{path} does not exist", hint)
        with np.load(path, allow_pickle=False) as archive:
            if missing := {"images", "outputs"} - set(archive.files):
                raise InputError(f"{path} has no array '{sorted(missing)[0]}'", hint)
            images, outputs = archive["images"], archive["outputs"]
    count = len(outputs) if outputs.ndim else 0
    if images.size != count * SIDE * SIDE or not images.shape or len(images) != count:
        raise InputError(f"{path}: {images.shape} images and {outputs.shape} outputs do not match", hint)
    if outputs.dtype.kind != "f" or images.dtype.kind not in "uif":
        raise InputError(
            f"{path}: images of {images.dtype} and outputs of {outputs.dtype} are not used", hint
        )
    if images.min(initial=0) < 0 or images.max(initial=0) > 255 or images.max(initial=0) <= 1:
        raise InputError(f"{path}: its images are not raw pixels 0..255", hint)
    outputs = outputs.reshape(count, -1)
    if count < 2 or not np.isfinite(outputs).all() or np.ptp(outputs, axis=0).max() == 0:
        raise InputError(f"{path}: a check takes at least two images whose finite answers differ", hint)
    pixels = torch.from_numpy(images.astype(np.float32).reshape(count, 1, SIDE, SIDE))
    return Check(path.name, pixels, torch.from_numpy(outputs.astype(np.float32)))


def disagreement(module: torch.nn.Module, check: Check) -> float:
    """The largest difference from the owner's answers, relative to the largest of them where that is above 1.

    Args:
        module: Raw pixels to the network's own answers.
        check: The images and answers.

    Returns:
        A number from 0; infinity where the answers have another shape. Up to TOLERANCE it is agreement.
    """
    import torch

    with torch.no_grad():
        answers = torch.cat([module(image[None]).reshape(1, -1) for image in check.images])
    if answers.shape != check.outputs.shape:
        return float("inf")
    scale = max(1.0, float(check.outputs.abs().max()))
    return float((answers - check.outputs).abs().max()) / scale


def plain_images(batch: int) -> torch.Tensor:
    """A ramp of gray values: float32 of shape (batch, 1, 64, 64), values 0..255."""
    import torch

    return torch.linspace(0, 255, batch * SIDE * SIDE).reshape(batch, 1, SIDE, SIDE)


def require_classifier(module: torch.nn.Module, batch: int, path: Path) -> torch.Tensor:
    """Run a module on a whole batch and on a single image.

    Args:
        module: Raw pixels to the network's own answers.
        batch: Images at once, 1 where it takes no more.
        path: Its file.

    Returns:
        Its answers for plain images.

    Raises:
        InputError: It does not run, or its answers are not finite floats of shape (n, 2), (n, 1) or (n,)
            that depend on nothing but their own image.
    """
    import torch

    ramp = plain_images(batch)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with reading(path, _HINT), torch.no_grad():
        answers, single = module(ramp), module(ramp[:1])
    shapes = ((batch, 2), (batch, 1), (batch,))
    if not isinstance(answers, torch.Tensor) or answers.shape not in shapes or answers.dtype != torch.float32:
        raise InputError(f"{path} returns {_describe(answers)}, expected float32 of shape (n, 2)", _HINT)
    if not answers.isfinite().all():
        raise InputError(f"{path} returns NaN or infinity for a plain image", "train or export it again")
    unchanged = all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    if not unchanged or not torch.allclose(answers[:1], single, rtol=1e-3, atol=1e-3):
        raise InputError(f"{path} was exported in training mode", "call model.eval() before you export it")
    return answers


def _describe(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{getattr(value, 'dtype', '')} of shape {tuple(shape)}"


def export(module: torch.nn.Module, network: Network, path: Path) -> tuple[ExportedProgram, str]:
    """The program that every format is made from: for any batch where the network allows it, else for one.

    Args:
        module: Raw pixels to two logits.
        network: Whether its file leaves the batch free.
        path: Its file.

    Returns:
        The program, and why its batch is fixed to 1; empty where it is free.

    Raises:
        InputError: It exports for no batch.
    """
    import torch

    why = "the file fixes it"
    if network.layout.dynamic_batch:
        free = ({0: torch.export.Dim("batch", min=1, max=4096)},)
        try:
            with _silent():
                program = torch.export.export(module, (torch.zeros(2, 1, SIDE, SIDE),), dynamic_shapes=free)
                _require_same(program, module, 3)
            return program, ""
        except Exception as error:  # torch.export raises of every kind for what it cannot trace
            why = f"its graph does not export for another ({type(error).__name__})"
    with reading(path, _HINT), _silent():
        program = torch.export.export(module, (torch.zeros(1, 1, SIDE, SIDE),))
        _require_same(program, module, 1)
    return program, why


def _require_same(program: ExportedProgram, module: torch.nn.Module, batch: int) -> None:
    """Hold a program to its module, with another batch than it was traced for.

    Raises:
        ValueError: It answers otherwise.
    """
    import torch

    images = plain_images(batch).flip(3)
    with torch.no_grad():
        if not torch.allclose(program.module()(images), module(images), rtol=1e-3, atol=1e-3):
            raise ValueError("the exported program answers otherwise than the network")


@contextmanager
def _silent() -> Iterator[None]:
    """Keep torch.export from printing, warning of and logging what it also raises: whole graphs."""
    level = logging.root.manager.disable
    printed = io.StringIO()
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(printed), redirect_stderr(printed):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
