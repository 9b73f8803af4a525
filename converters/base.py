"""One row per format, and the one way a format is converted: requires, convert, ensures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.converters.calibration import require_usable
from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import ConversionError, EdgeError, InputError
from udacimed_edge.core.extras import is_installed, require_installed
from udacimed_edge.core.files import full_disk, output_errors
from udacimed_edge.runtime.contract import Contract

__all__ = ["Format", "Quantization", "QuantizationRecipe", "run"]

Ranges = Literal["min-max", "percentile", "moving average", "mean of extremes"]


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
class Quantization:
    """What INT8 is made with.

    Attributes:
        recipe: The method.
        calibration: uint8 of shape (n, 64, 64), training images; empty for a format that needs none.
        validation: The validation split, for the methods that measure layers by decisions.
    """

    recipe: QuantizationRecipe
    calibration: NDArray[np.uint8]
    validation: Split


Convert = Callable[[Path, Contract, Quantization | None, Path], None]


@dataclass(frozen=True)
class Format:
    """What the toolkit knows of a format.

    Attributes:
        name: What a person types, for example "ort".
        title: What a table prints.
        suffix: Of the artifact, with its dot.
        extra: The extra that installs its libraries.
        to_convert: Modules that converting takes.
        to_execute: Modules that running an artifact takes on this operating system.
        precisions: What it can be converted to, the default first.
        standard: What `--target all` makes.
        convert: (exported program, contract, how INT8 is made or None, file to write) -> None.
        recipes: The ways to make its INT8, the first to try first; empty where it has no INT8.
        calibrated: Whether its INT8 is calibrated on images; weights alone need none.
        can_saturate: Whether its usual INT8 saturates on a processor without VNNI; ours then keeps clear of
            that, and a report shows what it would have cost not to.
        output: What the artifact answers, for its contract.
    """

    name: str
    title: str
    suffix: str
    extra: str
    to_convert: tuple[str, ...]
    to_execute: tuple[str, ...]
    precisions: tuple[Precision, ...]
    standard: tuple[Precision, ...]
    convert: Convert
    recipes: tuple[QuantizationRecipe, ...] = ()
    calibrated: bool = True
    can_saturate: bool = False
    output: str = "two logits: normal, pneumonia"

    def missing(self) -> list[str]:
        """The modules that are not installed, of those that converting or executing takes."""
        needed = dict.fromkeys((*self.to_convert, *self.to_execute))
        return [module for module in needed if not is_installed(module)]


def run(row: Format, program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
    """Convert once, and hold the format to what every format promises.

    Args:
        row: The format.
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits.
        contract: What the artifact shall say about itself; names the precision. The method of INT8 and the
            layers it left in float are filled in.
        quantization: How INT8 is made; None for float.
        out: The artifact to write; must not exist.

    Raises:
        InputError: The format has no such precision, or the calibration images are unusable.
        ExtraMissingError: A library is not installed.
        OutputError: The artifact could not be written.
        ConversionError: The libraries failed, or wrote nothing.
    """
    if contract.precision not in row.precisions:
        raise InputError(f"{row.name} has no {contract.precision}; it has {', '.join(row.precisions)}")
    if (contract.precision == "int8") != (quantization is not None):
        raise ValueError(f"{contract.precision} with {quantization}: int8 alone is quantized")
    if quantization is not None:
        contract = replace(contract, method=str(quantization.recipe))
        if row.calibrated:
            require_usable(quantization.calibration)
    for module in row.to_convert:
        require_installed(module, row.extra)
    try:
        with output_errors(out):
            row.convert(program, contract, quantization, out)
    except EdgeError:
        raise
    except Exception as error:  # four families of libraries, each with exceptions of its own
        if full := full_disk(out, program.stat().st_size):
            raise full from error
        raise ConversionError(
            f"{row.name} {contract.precision}: conversion failed: {type(error).__name__}: {error}"
        ) from error
    if not out.exists():
        raise ConversionError(f"{row.name} {contract.precision}: the converter wrote nothing")
