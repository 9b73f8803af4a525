"""What every artifact says about itself, inside its own bytes, and how it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KEY", "LABELS", "SIDE", "ArtifactError", "Contract", "Predictor", "probability_of_pneumonia"]

KEY = "udacimed_edge.contract"
"""The metadata key under which each format carries the contract, as one JSON text."""

SIDE = 64
"""Width and height of the input in pixels."""

LABELS = ("normal", "pneumonia")


class ArtifactError(ValueError):
    """The artifact cannot be read, or does not carry a contract of ours."""


@dataclass(frozen=True)
class Contract:
    """The promise an artifact makes.

    Attributes:
        format: The format's name, for example "ort"; "target" in JSON.
        precision: "fp32", "fp16" or "int8".
        threshold: The decision is "pneumonia" where its probability is at least this; 0 < t < 1.
        threshold_origin: Where the threshold comes from, in words.
        source_name: Name of the model the artifact was made from.
        source_digest: SHA-256 of that model's file.
        calibration_digest: SHA-256 of the INT8 calibration images; None without calibration.
        toolkit_version: The version of udacimed-edge that wrote the artifact.
        input: What goes in, in words.
        output: What comes out, in words.
        labels: The classes, in the order of the outputs.
        notice: The limit of use, for whoever opens the file.
        method: How INT8 was made, in words; empty for float, and where an older toolkit wrote it.
        float_layers: Names of the layers that INT8 left in float.
        mean: Per channel, of pixels divided by 255: the normalisation that is inside; empty where version
            0.1.0 wrote it, which did not say.
        std: Likewise.
    """

    format: str
    precision: str
    threshold: float
    threshold_origin: str
    source_name: str
    source_digest: str
    calibration_digest: str | None
    toolkit_version: str
    input: str = "gray radiograph, centre square, 1x64x64, raw pixels 0..255, NCHW; normalisation is inside"
    output: str = "two logits: normal, pneumonia"
    labels: tuple[str, str] = LABELS
    notice: str = "Decision support for research; not a diagnosis, not for clinical use."
    method: str = ""
    float_layers: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def to_json(self) -> str:
        """The contract as one line of JSON; `from_json(to_json(c)) == c`."""
        return json.dumps(self.to_fields(), sort_keys=True)

    def to_fields(self) -> dict[str, Any]:
        """The contract as its JSON names it."""
        fields = asdict(self)
        return {"target": fields.pop("format"), **fields}

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read a contract back.

        Raises:
            ArtifactError: Not JSON, fields missing or unknown, or a threshold outside 0..1.
        """
        try:
            fields = json.loads(text, object_pairs_hook=_each_once)
            fields["format"], fields["labels"] = (
                fields.pop("target"),
                fields["labels"],
            )  # neither has a default
            contract = cls(**{name: _read(name, value) for name, value in fields.items()})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ArtifactError(f"its contract cannot be read: {error}") from error
        if not 0 < contract.threshold < 1:
            raise ArtifactError(f"its contract names the threshold {contract.threshold!r}, not one in 0..1")
        if contract.labels != LABELS:
            raise ArtifactError(f"its contract names the labels {contract.labels}, not {LABELS}")
        return contract


_FLOATS, _TEXTS = ("mean", "std"), ("labels", "float_layers")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, no name of which stands twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice")
    return fields


def _read(name: str, value: Any) -> Any:
    """A field's value, of the type that it must have.

    Raises:
        TypeError: It has another.
        ValueError: It cannot be printed.
    """
    if name in (*_FLOATS, *_TEXTS):
        wanted: type = float if name in _FLOATS else str
        if not isinstance(value, list) or not all(type(part) is wanted for part in value):
            raise TypeError(f"{name} is {value!r}, not a list of {wanted.__name__}")
        return tuple(value)
    wanted = float if name == "threshold" else str
    if type(value) is not wanted and not (name == "calibration_digest" and value is None):
        raise TypeError(f"{name} is {value!r}, not of type {wanted.__name__}")
    if isinstance(value, str) and not value.isprintable():
        raise ValueError(f"{name} holds characters that cannot be printed")
    return value


@dataclass(frozen=True)
class Predictor:
    """An opened artifact.

    Attributes:
        contract: What the artifact says about itself.
        predict: uint8 of shape (n, 64, 64) to the probability of pneumonia, float64 of shape (n,).
        batch: The largest batch the artifact takes in one call; None for any.
        executor: What computes, with its version, for example "onnxruntime 1.23".
    """

    contract: Contract
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
    batch: int | None
    executor: str


def probability_of_pneumonia(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Softmax of two logits, its second element.

    Args:
        logits: float of shape (n, 2): normal, pneumonia.

    Returns:
        float64 of shape (n,), values 0..1; NaN where a logit is not finite.
    """
    wide = np.asarray(logits, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        probability: NDArray[np.float64] = 1.0 / (1.0 + np.exp(wide[:, 0] - wide[:, 1]))
    return np.where(np.isfinite(wide).all(axis=1), probability, np.nan)
