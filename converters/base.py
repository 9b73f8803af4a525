"""One row per format, and the one way a format is converted: requires, convert, ensures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.artifact import Precision
from udacimed_edge.errors import ConversionError, EdgeError, InputError
from udacimed_edge.extras import is_installed, require_installed
from udacimed_edge.files import output_errors
from udacimed_edge.runtime.contract import Contract

__all__ = ["Format", "run"]

Convert = Callable[[Path, Contract, "NDArray[np.uint8]", Path], None]


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
        convert: (exported program, contract, calibration images, file to write) -> None.
        calibrated: Whether its INT8 is calibrated on images; weights alone need none.
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
    calibrated: bool = True
    output: str = "two logits: normal, pneumonia"

    def missing(self) -> list[str]:
        """The modules that are not installed, of those that converting or executing takes."""
        needed = dict.fromkeys((*self.to_convert, *self.to_execute))
        return [module for module in needed if not is_installed(module)]


def run(row: Format, program: Path, contract: Contract, calibration: NDArray[np.uint8], out: Path) -> None:
    """Convert once, and hold the format to what every format promises.

    Args:
        row: The format.
        program: A saved `torch.export` program, float32 (n, 1, 64, 64) pixels to (n, 2) logits.
        contract: What the artifact shall say about itself; names the precision.
        calibration: uint8 of shape (n, 64, 64), training images; used for int8.
        out: The artifact to write; must not exist.

    Raises:
        InputError: The format has no such precision, or calibration images are missing.
        ExtraMissingError: A library is not installed.
        OutputError: The artifact could not be written.
        ConversionError: The libraries failed, or wrote nothing.
    """
    if contract.precision not in row.precisions:
        raise InputError(f"{row.name} has no {contract.precision}; it has {', '.join(row.precisions)}")
    if contract.precision == "int8" and row.calibrated and len(calibration) == 0:
        raise InputError(f"{row.name} int8 needs calibration images")
    for module in row.to_convert:
        require_installed(module, row.extra)
    try:
        with output_errors(out):
            row.convert(program, contract, calibration, out)
    except EdgeError:
        raise
    except Exception as error:  # four families of libraries, each with exceptions of its own
        raise ConversionError(
            f"{row.name} {contract.precision}: conversion failed: {type(error).__name__}: {error}"
        ) from error
    if not out.exists():
        raise ConversionError(f"{row.name} {contract.precision}: the converter wrote nothing")
