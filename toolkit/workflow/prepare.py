"""What all formats share, made once: threshold, source scores, calibration images, exported program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from udacimed_edge import __version__
from udacimed_edge.converters.calibration import calibration_digest, calibration_images
from udacimed_edge.core.data import DataSet, Split, open_data
from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.runtime.contract import Contract, probability_of_pneumonia
from udacimed_edge.validation.judging.evaluate import (
    EvaluationInputs,
    SourceScores,
    check_source,
    data_record,
)
from udacimed_edge.validation.metrics.metrics import highest_threshold
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import CalibrationRecord

if TYPE_CHECKING:
    from udacimed_edge.source.load import SourceModel

__all__ = [
    "Calibrate",
    "Calibration",
    "Needs",
    "Shared",
    "computed_scores",
    "set_threshold",
    "share",
    "source_probabilities",
]

Calibrate = Literal["train", "synthetic"]
"""Which images calibrate INT8: the data set's training images, or the built-in sampler's."""

THRESHOLD_SENSITIVITY = 0.98
"""What a threshold set here must reach on the validation split."""


@dataclass(frozen=True)
class Needs:
    """What the artifacts to be made take.

    Attributes:
        int8: Some artifact is int8: the validation split chooses its recipe.
        calibrated: Some format calibrates it on images.
        calibrate: Which images.
    """

    int8: bool
    calibrated: bool
    calibrate: Calibrate


@dataclass(frozen=True)
class Calibration:
    """Images that calibrate: uint8 of shape (n, 64, 64), and how a report names them."""

    images: NDArray[np.uint8]
    record: CalibrationRecord


@dataclass(frozen=True)
class Shared:
    """What is made once for all formats.

    Attributes:
        program: The exported program.
        contract: What every artifact says; format, precision and calibration still to be filled in.
        inputs: What every artifact is judged on.
        trial: What the candidates of INT8 recipes are judged on: the validation split; None without INT8.
        calibration: None where nothing is calibrated.
        comparison: Training images to compare synthetic calibration with; None where there is nothing to
            compare.
    """

    program: Path
    contract: Contract
    inputs: EvaluationInputs
    trial: EvaluationInputs | None = None
    calibration: Calibration | None = None
    comparison: Calibration | None = None


def share(
    source: SourceModel,
    data: DataSet,
    settings: PolicySettings,
    folder: Path,
    needs: Needs,
    notify: Callable[[str], None],
) -> Shared:
    """Make it.

    Args:
        source: The model.
        data: Training images calibrate, validation images set a missing threshold and choose the recipe of
            INT8, test images judge.
        settings: The policy's bounds, which the source model must satisfy itself.
        folder: Where the exported program goes.
        needs: What the artifacts take.
        notify: Told of each stage.

    Raises:
        InputError: A split of the data is unusable.
        GateRefusedError: The source model itself does not satisfy the policy.
    """
    threshold, origin = set_threshold(source, data)
    synthetic = needs.calibrate == "synthetic"
    calibration = _calibration(open_data("synthetic") if synthetic else data) if needs.calibrated else None
    comparison = _calibration(data) if calibration and synthetic and data.origin != "synthetic" else None
    notify("predict")
    inputs = _inputs(source, data, "test", settings)
    _require_good_source(inputs, threshold)
    trial = _inputs(source, data, "validation", settings) if needs.int8 else None
    notify("export")
    program = _export(source, folder / "program.pt2")
    contract = Contract(
        format="",
        precision="",
        threshold=threshold,
        threshold_origin=origin,
        source_name=source.name,
        source_digest=source.digest,
        calibration_digest=None,
        toolkit_version=__version__,
    )
    return Shared(program, contract, inputs, trial, calibration, comparison)


def _inputs(
    source: SourceModel, data: DataSet, name: Literal["test", "validation"], settings: PolicySettings
) -> EvaluationInputs:
    split = data.read(name)
    return EvaluationInputs(split, data_record(data, split), computed_scores(source, split), settings)


def set_threshold(source: SourceModel, data: DataSet) -> tuple[float, str]:
    """The model's own threshold, or one set on the validation split."""
    if source.threshold is not None:
        return source.threshold, source.threshold_origin or "stated with the model"
    split = data.read("validation")
    threshold = highest_threshold(split.labels, source_probabilities(source, split), THRESHOLD_SENSITIVITY)
    rule = f"highest threshold with sensitivity >= {THRESHOLD_SENSITIVITY} on the validation split"
    return threshold, f"{rule} ({data.origin}, {split.digest[:12]})"


def _calibration(data: DataSet) -> Calibration:
    train = data.read("train")
    images = calibration_images(train)
    record = CalibrationRecord(
        images=len(images),
        digest=calibration_digest(images),
        split=train.name,
        data_digest=data.digest,
        origin=data.origin,
    )
    return Calibration(images, record)


def source_probabilities(source: SourceModel, split: Split) -> NDArray[np.float64]:
    """What the source model answers: float64 of shape (n,), computed by PyTorch in float32."""
    import torch

    size = 64 if source.dynamic_batch else 1
    pixels = torch.from_numpy(split.images[:, None].astype(np.float32))
    with torch.inference_mode():
        return np.concatenate(
            [probability_of_pneumonia(source.module(part).numpy()) for part in torch.split(pixels, size)]
        )


def computed_scores(source: SourceModel, split: Split) -> SourceScores:
    """The source model's answers for a split, computed now."""
    return SourceScores(
        source.name, source.digest, source_probabilities(source, split), "computed by PyTorch"
    )


def _require_good_source(inputs: EvaluationInputs, threshold: float) -> None:
    scores = inputs.source
    try:
        check_source(scores, inputs.split, threshold, inputs.settings)
    except GateRefusedError as error:
        raise GateRefusedError(
            f"nothing was converted: the source model {scores.name} itself, at threshold {threshold:.4f}, "
            f"does not satisfy the policy.\n{error.message}",
            "train a better model, or state another threshold with --threshold",
        ) from error


def _export(source: SourceModel, out: Path) -> Path:
    """The exported program that every format is made from, for any batch where the model allows it."""
    import torch

    program = source.program
    if program is None:  # a module that was not read from a file
        batch = 2 if source.dynamic_batch else 1
        shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},) if source.dynamic_batch else None
        for parameter in source.module.parameters():
            parameter.requires_grad_(False)
        program = torch.export.export(source.module, (torch.zeros(batch, 1, 64, 64),), dynamic_shapes=shapes)
    torch.export.save(program, out)
    return out
