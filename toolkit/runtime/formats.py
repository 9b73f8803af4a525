"""Every format, one row each: what the rest of the toolkit knows of a format, it looks up here.

A format's modules carry its name: `runtime.<name>` reads its artifacts, `converters.<name>` writes them,
`validation.judging.audit.<name>` counts what they hold. A new format is those three and a row.

At the very bottom, in what ships to a device, since the screening program tells formats by their suffix too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "FormatSpec",
    "Precision",
    "QuantizationRecipe",
    "Ranges",
    "StandIn",
    "format_of",
]

Precision = Literal["fp32", "fp16", "int8"]

Ranges = Literal["min-max", "percentile", "moving average", "mean of extremes"]

_MOST_FLOAT = 3
"""Layers that a recipe may leave in float: most of the reference model's do 5 to 7 % of its work each."""


@dataclass(frozen=True)
class QuantizationRecipe:
    """One way to make INT8; a format's recipes are tried in order until one holds.

    Attributes:
        number: 1 for the lowest.
        name: The method, in words.
        ranges: How the ranges of activations follow from the calibration images.
        float_layers: How many layers, of those that hurt most, stay in float.
        activation_bits: 8 or 16.
        saturating: Use all 8 bits of a weight: faster or finer where the processor has VNNI, wrong where
            products saturate for want of it. Made for comparison alone.
    """

    number: int
    name: str
    ranges: Ranges = "min-max"
    float_layers: int = 0
    activation_bits: Literal[8, 16] = 8
    saturating: bool = False

    def __str__(self) -> str:
        """What the contract says of it."""
        return f"recipe {self.number}: {self.name}"


@dataclass(frozen=True)
class StandIn:
    """What reads a format's artifacts where its own runtime does not exist.

    Attributes:
        module: It has an `open_artifact` as a reader has.
        system: The only operating system that needs none, as `sys.platform` names it.
        words: Who computes then, for `doctor`.
    """

    module: str
    system: str
    words: str


@dataclass(frozen=True)
class FormatSpec:
    """What the toolkit knows of a format.

    Attributes:
        name: What a person types, for example "ort"; also the name of its modules.
        title: What a table prints.
        suffix: Of the artifact, with its dot.
        extra: The extra that installs its libraries.
        to_convert: Modules that converting takes.
        to_execute: Modules that running an artifact takes.
        library: The module that its reader imports to run one.
        precisions: What it can be converted to, the default first.
        standard: What `--target all` makes; empty for a server's format, which no device takes.
        recipes: The ways to make its INT8, the first to try first; empty where it has no INT8.
        calibrated: Whether its INT8 is calibrated on images; weights alone need none.
        can_saturate: Whether its usual INT8 saturates on a processor without VNNI; ours then keeps clear of
            that, and a report shows what it would have cost not to.
        output: What the artifact answers, for its contract.
        processors: The processors that its INT8 is judged on, by their names in
            `validation.judging.processors`.
        stand_in: What reads its artifacts off the one operating system that runs them; None where its
            runtime runs on all.
        words: Who computes, for `doctor`, where that is not plain from the format's name.
    """

    name: str
    title: str
    suffix: str
    extra: str
    to_convert: tuple[str, ...]
    to_execute: tuple[str, ...]
    library: str
    precisions: tuple[Precision, ...]
    standard: tuple[Precision, ...]
    recipes: tuple[QuantizationRecipe, ...] = ()
    calibrated: bool = True
    can_saturate: bool = False
    output: str = "two logits: normal, pneumonia"
    processors: tuple[str, ...] = ()
    stand_in: StandIn | None = None
    words: str = ""

    @property
    def modules(self) -> tuple[str, ...]:
        """Every module that converting or executing takes."""
        return tuple(dict.fromkeys((*self.to_convert, *self.to_execute)))

    @property
    def stand_in_here(self) -> StandIn | None:
        """What reads its artifacts on this operating system in the place of its own runtime, if anything."""
        return None if self.stand_in is None or sys.platform == self.stand_in.system else self.stand_in


FORMATS: dict[str, FormatSpec] = {
    row.name: row
    for row in (
        FormatSpec(
            name="ort",
            title="ONNX Runtime Mobile",
            suffix=".ort",
            extra="ort",
            to_convert=("onnxscript", "onnxruntime"),
            to_execute=("onnxruntime",),
            library="onnxruntime",
            precisions=("int8", "fp32"),
            standard=("int8", "fp32"),
            recipes=(
                QuantizationRecipe(1, "per channel, min-max ranges"),
                QuantizationRecipe(2, "per channel, percentile ranges", ranges="percentile"),
                QuantizationRecipe(
                    3, "min-max ranges, the layers that hurt most in float", float_layers=_MOST_FLOAT
                ),
            ),
            can_saturate=True,
            processors=("native", "haswell", "cortex-a72"),
        ),
        FormatSpec(
            name="coreml",
            title="Core ML",
            suffix=".mlpackage",
            extra="coreml",
            to_convert=("coremltools",),
            to_execute=("coremltools",),
            library="coremltools",
            precisions=("fp16", "int8", "fp32"),
            standard=("fp16", "int8"),
            recipes=(
                QuantizationRecipe(1, "weights alone, per channel"),
                QuantizationRecipe(2, "the weights that hurt most in float16", float_layers=_MOST_FLOAT),
            ),
            calibrated=False,
            output="a class label, and the probability of each",
            processors=("judged", "half-sums"),
            stand_in=StandIn(
                module="udacimed_edge.validation.coreml.executor",
                system="darwin",
                words="by the MIL executor (Core ML itself runs on macOS only)",
            ),
        ),
        FormatSpec(
            name="litert",
            title="LiteRT",
            suffix=".tflite",
            extra="litert",
            to_convert=("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
            to_execute=("ai_edge_litert",),
            library="ai_edge_litert.interpreter",
            precisions=("int8", "fp32"),
            standard=("int8", "fp32"),
            recipes=(
                QuantizationRecipe(1, "per channel, min-max ranges"),
                QuantizationRecipe(2, "per channel, ranges by moving average", ranges="moving average"),
                QuantizationRecipe(
                    3, "min-max ranges, the layers that hurt most in float", float_layers=_MOST_FLOAT
                ),
                QuantizationRecipe(4, "min-max ranges, 16-bit activations", activation_bits=16),
            ),
            processors=("native", "haswell", "cortex-a72"),
        ),
        FormatSpec(
            name="openvino",
            title="OpenVINO",
            suffix=".xml",
            extra="openvino",
            to_convert=("openvino", "nncf"),
            to_execute=("openvino",),
            library="openvino",
            precisions=("int8", "fp32", "fp16"),
            standard=("int8", "fp32"),
            recipes=(
                QuantizationRecipe(1, "per channel, min-max ranges, full bias correction"),
                QuantizationRecipe(
                    2, "mean of minima and maxima, full bias correction", ranges="mean of extremes"
                ),
                QuantizationRecipe(
                    3, "layers in float until sensitivity holds (accuracy control)", float_layers=_MOST_FLOAT
                ),
            ),
            can_saturate=True,
            processors=("native", "avx512", "avx2"),
        ),
        FormatSpec(
            name="triton",
            title="Triton (a server)",
            suffix=".triton",
            extra="ort",
            to_convert=("onnxscript", "onnxruntime"),
            to_execute=("onnxruntime",),
            library="onnxruntime",
            precisions=("fp16",),
            standard=(),
            calibrated=False,
            words="by ONNX Runtime (a Triton server is not a part of this toolkit)",
        ),
    )
}
"""Every format, by the name a person types."""

SUFFIXES = {row.suffix: row.name for row in FORMATS.values()}
"""The name of a format by the suffix of its artifacts."""


def format_of(path: Path) -> FormatSpec:
    """The format of an artifact, by its suffix.

    Raises:
        KeyError: It has the suffix of no format.
    """
    return FORMATS[SUFFIXES[path.suffix]]
