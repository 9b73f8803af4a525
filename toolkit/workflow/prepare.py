"""What is made once for all formats: the threshold, the images, the source model's answers, its program."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from udacimed_edge import __version__
from udacimed_edge.converters.calibration import calibration_digest, calibration_images
from udacimed_edge.core.data import DataSet, open_data
from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.core.files import output_errors
from udacimed_edge.runtime.contract import Contract, probability_of_pneumonia
from udacimed_edge.validation.judging.diagnosis import describe_outputs
from udacimed_edge.validation.judging.evaluate import check_source, data_record
from udacimed_edge.validation.judging.inputs import AlteredImages, EvaluationInputs, SourceScores, altered
from udacimed_edge.validation.metrics.metrics import highest_threshold
from udacimed_edge.validation.policy.bounds import MIN_SENSITIVITY
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import CalibrationRecord

if TYPE_CHECKING:
    from udacimed_edge.source.load import SourceModel

__all__ = [
    "Calibrate",
    "Calibration",
    "Threshold",
    "calibrate_on",
    "export",
    "inputs_of",
    "promise_of",
    "require_good_source",
    "set_threshold",
    "source_probabilities",
]

Calibrate = Literal["train", "synthetic"]
"""Which images calibrate INT8: the data set's training images, or the built-in sampler's."""


@dataclass(frozen=True)
class Calibration:
    """Images that calibrate: uint8 of shape (n, 64, 64), and how a report names them."""

    images: NDArray[np.uint8]
    record: CalibrationRecord


@dataclass(frozen=True)
class Threshold:
    """A source model's decision threshold.

    Attributes:
        value: 0 < value < 1.
        origin: Where it comes from, in words.
        by_rule: The model states none; the rule set it on the validation split.
    """

    value: float
    origin: str
    by_rule: bool


def set_threshold(source: SourceModel, data: DataSet) -> Threshold:
    """The model's own threshold, or the one that the rule gives on the validation split."""
    if source.threshold is not None:
        return Threshold(source.threshold, source.threshold_origin or "stated with the model", by_rule=False)
    split = data.read("validation")
    value = highest_threshold(split.labels, source_probabilities(source, split.images), MIN_SENSITIVITY)
    rule = f"highest threshold with sensitivity >= {MIN_SENSITIVITY} on the validation split"
    return Threshold(value, f"{rule} ({data.origin}, {split.digest[:12]})", by_rule=True)


def promise_of(source: SourceModel, threshold: Threshold) -> Contract:
    """What an artifact of this model must say; format, precision and calibration still to be filled in."""
    return Contract(
        format="",
        precision="",
        threshold=threshold.value,
        threshold_origin=threshold.origin,
        source_name=source.name,
        source_digest=source.digest,
        calibration_digest=None,
        toolkit_version=__version__,
        mean=source.mean,
        std=source.std,
    )


def inputs_of(
    source: SourceModel,
    data: DataSet,
    name: Literal["test", "validation"],
    threshold: Threshold,
    settings: PolicySettings,
) -> EvaluationInputs:
    """What an artifact of a model is judged on, the model's own answers computed now.

    Raises:
        InputError: The split is unusable.
    """
    split = data.read(name)
    scores = SourceScores(
        source.name,
        source.digest,
        source_probabilities(source, split.images),
        "computed by PyTorch",
        threshold.value,
        card=source.card,
    )
    pictures = altered(split.images)
    return EvaluationInputs(
        split,
        data_record(data, split),
        scores,
        settings,
        promise_of(source, threshold),
        threshold.by_rule,
        AlteredImages(pictures, source_probabilities(source, pictures)),
    )


def calibrate_on(data: DataSet) -> Calibration:
    """Training images for INT8, the same at every call.

    Raises:
        InputError: The training split is unusable.
    """
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


def calibrations(data: DataSet, calibrate: Calibrate) -> tuple[Calibration, Calibration | None]:
    """The images that calibrate; and patients' images to compare synthetic ones with, or None."""
    if calibrate == "train":
        return calibrate_on(data), None
    return calibrate_on(open_data("synthetic")), None if data.origin == "synthetic" else calibrate_on(data)


def source_probabilities(source: SourceModel, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the source model answers, computed by PyTorch in float32.

    Args:
        source: The model.
        images: uint8 of shape (n, 64, 64).

    Returns:
        float64 of shape (n,): the probability of pneumonia.
    """
    import torch

    size = 64 if source.dynamic_batch else 1
    pixels = torch.from_numpy(images[:, None].astype(np.float32))
    with torch.inference_mode():
        return np.concatenate(
            [probability_of_pneumonia(source.module(part).numpy()) for part in torch.split(pixels, size)]
        )


def require_good_source(inputs: EvaluationInputs) -> None:
    """Refuse a model that is not worth converting.

    Raises:
        GateRefusedError: The source model itself does not satisfy the policy.
    """
    scores = inputs.source
    try:
        check_source(scores, inputs.split, inputs.settings)
    except GateRefusedError as error:
        raise GateRefusedError(
            f"nothing was converted: the source model {scores.name} itself, at threshold "
            f"{scores.threshold:.4f}, does not satisfy the policy.\n{error.message}\n"
            f"{describe_outputs(inputs.split.labels, scores.probabilities, scores.threshold)}",
            "check --mean, --std and --labels first; else train a better model, or state another --threshold",
        ) from error


def export(source: SourceModel, out: Path) -> Path:
    """The exported program that every format is made from, for any batch where the model allows it."""
    import torch

    program = source.program
    if program is None:  # a module that was not read from a file
        batch = 2 if source.dynamic_batch else 1
        shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},) if source.dynamic_batch else None
        for parameter in source.module.parameters():
            parameter.requires_grad_(False)
        program = torch.export.export(source.module, (torch.zeros(batch, 1, 64, 64),), dynamic_shapes=shapes)
    content = io.BytesIO()  # torch aborts the process where a disk is full
    torch.export.save(program, content)
    with output_errors(out):
        out.write_bytes(content.getbuffer())
    return out
