"""The nearest right word for a wrong one: a name that others use for the same thing, or a slip."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["SYNONYMS", "did_you_mean", "nearest"]

SYNONYMS: dict[str, tuple[str, ...]] = {
    "ort": ("onnx", "onnxruntime", "onnx-runtime", "onnxruntime-mobile", "ort-mobile"),
    "coreml": ("core-ml", "apple", "mlmodel", "mlpackage", "mlprogram"),
    "litert": ("tflite", "tf-lite", "tensorflow", "tensorflow-lite", "lite-rt", "tf"),
    "openvino": ("open-vino", "intel", "ir", "ovms"),
    "triton": ("server", "tensorrt", "trt", "nvidia", "cuda", "gpu"),
    "all": ("every", "everything", "any"),
    "iphone": ("ios",),
    "ipad": ("ipados",),
    "mac": ("macos", "macbook", "osx", "darwin"),
    "android-phone": ("android", "phone", "pixel"),
    "android-tablet": ("tablet",),
    "raspberry-pi-4": ("raspberry-pi", "raspberrypi", "raspberry", "rpi", "rpi4", "pi", "pi4"),
    "raspberry-pi-5": ("raspberrypi5", "rpi5", "pi5"),
    "intel-nuc": ("nuc",),
    "clinic-laptop": ("laptop", "linux", "pc", "desktop"),
    "clinic-laptop-windows": ("windows", "win", "win64"),
    "fp32": ("float32", "float", "single", "f32", "full", "32"),
    "fp16": ("float16", "half", "f16", "bfloat16", "bf16", "16"),
    "int8": ("uint8", "quantized", "quantised", "quant", "i8", "8bit", "8-bit", "8"),
    "reference": ("resnet18", "resnet", "default"),
    "student": ("small", "tiny", "distilled"),
}
"""Words that people type, by the name that they have here."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant; None where none is near.

    Args:
        word: What was typed.
        known: What may be typed.
    """
    names = list(known)
    plain = word.strip().lower().replace("_", "-").replace(" ", "-")
    meant = [plain, *(name for name, others in SYNONYMS.items() if plain in others)]
    return next((name for name in (*meant, *get_close_matches(plain, names, 1)) if name in names), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The question that belongs into an error: "; did you mean 'ort'?", or nothing."""
    near = nearest(word, known)
    return f"; did you mean '{near}'?" if near else ""
