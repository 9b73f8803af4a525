"""What an artifact is judged on, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.data import Split
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import (
    CalibrationCost,
    CalibrationRecord,
    DataRecord,
    LatencyRecord,
    ProcessorRecord,
    RecipeRecord,
)

__all__ = ["ISA_CHOICES", "EvaluationInputs", "Execution", "IsaChoice", "SourceScores"]

IsaChoice = Literal["auto", "none", "here", "all"]
"""Which processor cases: none, those that need no emulator, or all of them; "auto" is "here"
for int8 and "none" otherwise."""

ISA_CHOICES: tuple[IsaChoice, ...] = get_args(IsaChoice)


@dataclass(frozen=True)
class SourceScores:
    """What the source model answers for the split.

    Attributes:
        name: Of the model.
        digest: SHA-256 of its file.
        probabilities: float64 of shape (n,), 0..1.
        origin: Where these come from, in words.
    """

    name: str
    digest: str
    probabilities: NDArray[np.float64]
    origin: str


@dataclass(frozen=True)
class EvaluationInputs:
    """What an artifact is judged on, and by what.

    Attributes:
        split: The test split.
        data: Where the split comes from, for the report.
        source: What the source model answers for it.
        settings: The policy's bounds.
        calibration: The INT8 calibration images, for the report.
        calibration_cost: The same artifact calibrated on patients' images, for the report.
        recipes: The INT8 recipes that were tried; the last must have held.
        threads: Threads of one prediction; 0 for one per core.
        isa: Which processor cases are computed.
        unsafe: An artifact of the same model in its format's faster, unsafe setting: the same rows of it
            are computed, and shown for comparison alone. None for no comparison.
    """

    split: Split
    data: DataRecord
    source: SourceScores
    settings: PolicySettings
    calibration: CalibrationRecord | None = None
    calibration_cost: CalibrationCost | None = None
    recipes: tuple[RecipeRecord, ...] = ()
    threads: int = 0
    isa: IsaChoice = "none"
    unsafe: Path | None = None


@dataclass(frozen=True)
class Execution:
    """What an artifact answered, here or elsewhere.

    Attributes:
        contract: What the artifact says about itself.
        executor: What computed, with its version.
        runs: The whole split once or more, each float64 of shape (n,), 0..1 or not finite; the first is
            judged.
        latency: How long one image took; None where it was not measured.
        processors: The processor cases; empty where it was not asked for.
    """

    contract: Contract
    executor: str
    runs: list[NDArray[np.float64]]
    latency: LatencyRecord | None = None
    processors: tuple[ProcessorRecord, ...] = ()
