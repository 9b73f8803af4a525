"""Files that people have and this toolkit does not read: what each is, and the way on."""

from __future__ import annotations

import zipfile
from pathlib import Path

from udacimed_edge.core.errors import InputError

__all__ = ["refuse_foreign"]

_TO_ONNX = "torch.onnx.export(model.eval(), torch.zeros(1, 1, 64, 64), 'model.onnx')"
_KERAS = (
    "convert it to ONNX in an environment of its own: pip install tensorflow tf2onnx, then as"
    " docs/your-model.md shows; ONNX from Keras is read as it is"
)
_KINDS: dict[str, tuple[str, str]] = {
    "lfs": (
        "a Git LFS pointer: a text that stands for the model, not the model",
        "run `git lfs pull` in its repository, or download the file itself",
    ),
    "html": ("a web page, not a model", "the download led to a page: use the link of the file itself"),
    "torchscript": (
        "a TorchScript file: a program, which would run code of its own",
        "where you trust it, make ONNX of it: torch.onnx.export(torch.jit.load('model.pt'), "
        "torch.zeros(1, 1, 64, 64), 'model.onnx', dynamo=False); or save the network's state_dict()",
    ),
    "tflite": (
        "a TFLite file: already converted, and the way back is not exact",
        "give the model it was made from: Keras or PyTorch",
    ),
    "keras": ("a Keras model", _KERAS),
    "savedmodel": ("a TensorFlow SavedModel", _KERAS),
    "coreml": ("a Core ML model: already converted", "give the model it was made from"),
    "openvino": ("an OpenVINO model: already converted", "give the model it was made from"),
    "pickle": (
        "a pickle, which may run any code when it is loaded",
        f"where you trust it, load it in Python and export it: {_TO_ONNX}; "
        "or save plain tensors: torch.save(model.state_dict(), 'model.pth')",
    ),
}
_SUFFIXES = {
    ".tflite": "tflite",
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
    ".pb": "savedmodel",
    ".mlmodel": "coreml",
    ".mlpackage": "coreml",
    ".xml": "openvino",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".joblib": "pickle",
}


def refuse_foreign(path: Path) -> None:
    """Refuse a model of a kind that is not read, whatever its file is called.

    Raises:
        InputError: It is one; the sentence names the kind, the hint the way on.
    """
    kind = _kind(path)
    if kind is not None:
        what, way_on = _KINDS[kind]
        raise InputError(f"{path} is {what}", way_on)


def _kind(path: Path) -> str | None:
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "savedmodel"
        return _SUFFIXES.get(path.suffix.lower())
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "lfs"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "html"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras"
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    return _SUFFIXES.get(path.suffix.lower())


def _kind_of_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()[:10_000]]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return None  # the loader says in what way it is damaged
    if "constants.pkl" in names:
        return "torchscript"
    if "config.json" in names and "model.weights.h5" in names:
        return "keras"
    return _SUFFIXES.get(path.suffix.lower())
