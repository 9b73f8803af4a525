"""What an artifact is judged on, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.data import Split
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.validation.metrics.records import Agreement
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import (
    CalibrationCost,
    CalibrationRecord,
    DataRecord,
    LatencyRecord,
    ProcessorRecord,
    RecipeRecord,
    Report,
)

__all__ = [
    "ISA_CHOICES",
    "AlteredImages",
    "EvaluationInputs",
    "Execution",
    "IsaChoice",
    "Making",
    "RunSettings",
    "SourceScores",
    "altered",
]

IsaChoice = Literal["auto", "none", "here", "all"]
"""Which processor cases: none, those that need no emulator, or all of them; "auto" is "here" for int8 and
"none" otherwise."""

ISA_CHOICES: tuple[IsaChoice, ...] = get_args(IsaChoice)

_EVERY, _SHIFT = 4, 3


def altered(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images that stand in no file: every fourth of a split's, moved down and right by 3 pixels.

    The edge is repeated. Whoever answers from a table of a split's images has none for these.

    Args:
        images: uint8 of shape (n, 64, 64).

    Returns:
        uint8 of shape (ceil(n / 4), 64, 64).
    """
    chosen, side = images[::_EVERY], images.shape[-1]
    return np.pad(chosen, ((0, 0), (_SHIFT, 0), (_SHIFT, 0)), mode="edge")[:, :side, :side]


@dataclass(frozen=True)
class AlteredImages:
    """What `altered` made of a split, and what the source model answers for it.

    Attributes:
        images: uint8 of shape (m, 64, 64).
        probabilities: float64 of shape (m,), 0..1.
    """

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class SourceScores:
    """What the source model answers for the split, and where it decides.

    Attributes:
        name: Of the model.
        digest: SHA-256 of its file.
        probabilities: float64 of shape (n,), 0..1.
        origin: Where these come from, in words.
        threshold: Its own; 0 < t < 1.
        stated_by: Whose word all this is; empty where the model itself was at hand and answered.
        card: What its model card says of the test split and of what had been seen of it, in lines.
    """

    name: str
    digest: str
    probabilities: NDArray[np.float64]
    origin: str
    threshold: float
    stated_by: str = ""
    card: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationInputs:
    """What an artifact is judged on, and by what.

    Attributes:
        split: The split that judges.
        data: Where it comes from, for the report.
        source: What the source model answers for it.
        settings: The policy's bounds.
        promise: What an artifact of this model must say of threshold, labels, input, normalisation and
            source; None where the source model is not at hand.
        by_rule: The model states no threshold, a rule set it on the validation split.
        altered: Images made from the split's; None where the source model is not at hand.
    """

    split: Split
    data: DataRecord
    source: SourceScores
    settings: PolicySettings
    promise: Contract | None = None
    by_rule: bool = False
    altered: AlteredImages | None = None


@dataclass(frozen=True)
class RunSettings:
    """How an artifact is executed.

    Attributes:
        threads: Threads of one prediction; 0 for one per core.
        isa: Which processor cases are computed.
        unsafe: An artifact of the same model in its format's faster, unsafe setting: the same processor cases
            of it are computed, and shown for comparison alone. None for no comparison.
    """

    threads: int = 0
    isa: IsaChoice = "none"
    unsafe: Path | None = None


@dataclass(frozen=True)
class Making:
    """How an artifact came about, which its bytes do not tell; judged again, by an earlier report's word.

    Attributes:
        calibration: The INT8 calibration images.
        recipes: The INT8 recipes that were tried; the last must have held.
        on_patients: The report of the same artifact calibrated on patients' images, to show what synthetic
            ones cost; None for no comparison.
        calibration_cost: That comparison, where an earlier report on the same images holds it.
        notes: What was assumed about the source model's file, in lines.
    """

    calibration: CalibrationRecord | None = None
    recipes: tuple[RecipeRecord, ...] = ()
    on_patients: Report | None = None
    calibration_cost: CalibrationCost | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Execution:
    """What an artifact answered, here or elsewhere.

    Attributes:
        contract: What the artifact says about itself.
        executor: What computed, with its version.
        runs: The whole split once or more, each float64 of shape (n,), 0..1 or not finite; the first is
            judged.
        latency: How long one image took; None where it was not measured.
        processors: The processor cases; empty where none was asked for.
        altered: How it agrees with the source model on altered images; None where that was not at hand.
        stated_by: Whose word the answers are; empty where they were computed here.
        executed_here: How stated answers agree with those computed here; None where one kind is missing.
    """

    contract: Contract
    executor: str
    runs: list[NDArray[np.float64]]
    latency: LatencyRecord | None = None
    processors: tuple[ProcessorRecord, ...] = ()
    altered: Agreement | None = None
    stated_by: str = ""
    executed_here: Agreement | None = None
