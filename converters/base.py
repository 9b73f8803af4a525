"""The one way a format is converted: requires, convert, ensures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.converters.calibration import require_usable
from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import ConversionError, EdgeError, InputError
from udacimed_edge.core.extras import require_installed
from udacimed_edge.core.files import full_disk, output_errors
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.runtime.formats import FormatSpec, QuantizationRecipe

__all__ = ["Quantization", "QuantizationRecipe", "converter_of", "run"]


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


def converter_of(row: FormatSpec) -> Convert:
    """How a format is written: `convert` of the module of its name.

    Returns:
        (exported program, contract, how INT8 is made or None, file to write) -> None.
    """
    return cast("Convert", import_module(f"{__package__}.{row.name}").convert)


def run(
    row: FormatSpec, program: Path, contract: Contract, quantization: Quantization | None, out: Path
) -> None:
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
            converter_of(row)(program, contract, quantization, out)
    except EdgeError:
        raise
    except Exception as error:  # four families of libraries, each with exceptions of its own
        if full := full_disk(out, program.stat().st_size if program.exists() else 0):
            raise full from error
        raise ConversionError(
            f"{row.name} {contract.precision}: conversion failed: {type(error).__name__}: {error}"
        ) from error
    if not out.exists():
        raise ConversionError(f"{row.name} {contract.precision}: the converter wrote nothing")
