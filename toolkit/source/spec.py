"""The model card: the JSON file beside a model that says what its weights cannot."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.json_reader import parse_json, read_plain_text
from udacimed_edge.runtime.contract import LABELS
from udacimed_edge.source.outputs import Output

__all__ = ["ModelSpec", "card_lines", "parse_card", "read_spec", "spec_path"]


MAX_CARD_BYTES = 1 << 20
"""Most that a card may weigh; the reference model's weighs 5 kB."""

MAX_PROBLEMS = 5
"""How many of a card's problems are told at once."""

MAX_LINES, MAX_LINE = 20, 1000
"""Of what a card says, so many lines of so many characters go into a report."""


def _both_labels(labels: tuple[str, str]) -> tuple[str, str]:
    if sorted(labels) != sorted(LABELS):
        raise ValueError(f"expected {LABELS[0]} and {LABELS[1]} in the order of the outputs")
    return labels


_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ModelSpec(BaseModel):
    """What a weights file cannot say about itself.

    Attributes:
        schema_version: The version of this form.
        name: The model's name, as reports print it.
        architecture: The network, for example "resnet18".
        mean: Per input channel, subtracted from pixel / 255 (torchvision's `Normalize` after `ToTensor`).
        std: Per input channel, divides what the subtraction leaves; above 0.
        labels: The classes in the order of the model's own outputs.
        output: What its answer is; absent for two logits.
        threshold: "pneumonia" is decided where its probability is at least this; 0 < t < 1.
        threshold_origin: Where the threshold comes from, in words.
        weights_sha256: SHA-256 of the weights file this card belongs to, 64 lower-case hex digits.
        training: How it was trained: the data's digest, split sizes, epochs, what was tried.
        test: Figures on the test split.
        limits: What the model must not be used for, one sentence each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1]
    name: str = Field(min_length=1)
    architecture: str = Field(min_length=1)
    mean: tuple[_Number, ...] = Field(min_length=1)
    std: tuple[_Positive, ...] = Field(min_length=1)
    labels: Annotated[tuple[str, str], AfterValidator(_both_labels)]
    output: Output | None = None
    threshold: float | None = Field(default=None, gt=0, lt=1)
    threshold_origin: str | None = None
    weights_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    training: dict[str, Any] = {}
    test: dict[str, Any] = {}
    limits: list[str] = []


def spec_path(model: Path) -> Path:
    """Where a model's card lies: `reference.safetensors` has `reference.json`."""
    return model.with_suffix(".json")


def read_spec(path: Path) -> ModelSpec:
    """Read a model card.

    Raises:
        InputError: The file is missing, is not JSON, or a field is missing, unknown or out of range.
    """
    return parse_card(read_plain_text(path, "a model card", MAX_CARD_BYTES), str(path))


def card_lines(card: ModelSpec) -> tuple[str, ...]:
    """What a report repeats from a card: shares of the test split apart, what had been seen of it, limits."""
    split = card.test.get("split digest")
    where = f"test split {split[:12]}" if isinstance(split, str) else "test split"
    said = [f"{where}, {name}: {_share(value)}" for name, value in card.test.items() if _share(value)]
    tried = card.training.get("tried")
    said += [f"tried: {line}" for line in tried if isinstance(line, str)] if isinstance(tried, list) else []
    said += [f"limit: {line}" for line in card.limits]
    return tuple(textwrap.shorten(line, MAX_LINE, placeholder=" ...") for line in said[:MAX_LINES])


def _share(value: object) -> str:
    """A count of so many, as the cards here write it: {"called normal": 138, "of": 167}; else nothing."""
    if not isinstance(value, dict) or len(value) != 2 or not all(type(n) is int for n in value.values()):
        return ""
    (name, count), (_, total) = value.items()
    return f"{count} of {total} {name}" if list(value)[1] == "of" and 0 <= count <= total else ""


def parse_card(text: str, origin: str) -> ModelSpec:
    """A model card from its JSON text.

    Args:
        text: The card.
        origin: Where the text comes from; it begins the error's message.

    Raises:
        InputError: Not JSON, a number that is not finite, or a field missing, unknown or out of range.
    """
    try:
        parse_json(text)
        return ModelSpec.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            _problem(detail["loc"], detail["msg"])
            for detail in error.errors(include_input=False)[:MAX_PROBLEMS]
        )
        raise InputError(f"{origin} is not a valid model card: {problems}") from error
    except ValueError as error:
        raise InputError(f"{origin} is not a valid model card: {error}") from error


def _problem(location: tuple[int | str, ...], message: str) -> str:
    """One line, for example "std[0]: Input should be greater than 0"."""
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"{field}: {message}" if field else message
