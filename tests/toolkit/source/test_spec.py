"""The model card: what is read, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from udacimed_edge.core.errors import InputError
from udacimed_edge.source.load import BUILT_IN
from udacimed_edge.source.spec import MAX_LINE, MAX_LINES, card_lines, read_spec, spec_path

CARD: dict[str, Any] = {
    "schema_version": 1,
    "name": "reference",
    "architecture": "resnet18",
    "mean": [0.5],
    "std": [0.25],
    "labels": ["normal", "pneumonia"],
    "output": "logit",
    "threshold": 0.4,
    "threshold_origin": "validation split",
    "weights_sha256": "0" * 64,
    "training": {"epochs": 3, "tried": ["focal loss"]},
    "test": {"auc": 0.97},
    "limits": ["adults were not in the data"],
}


def write(folder: Path, **changes: Any) -> Path:
    """The complete card with changes."""
    path = folder / "model.json"
    path.write_text(json.dumps(CARD | changes), encoding="utf-8")
    return path


def test_every_field_is_read(tmp_path: Path) -> None:
    """A complete card is read back field by field."""
    card = read_spec(write(tmp_path))
    assert json.loads(card.model_dump_json()) == CARD


def test_what_training_and_test_left_open_may_be_absent(tmp_path: Path) -> None:
    """Only what is needed to use the weights must be stated."""
    path = tmp_path / "model.json"
    needed = ("schema_version", "name", "architecture", "mean", "std", "labels")
    path.write_text(json.dumps({field: CARD[field] for field in needed}), encoding="utf-8")
    card = read_spec(path)
    assert card.threshold is None
    assert card.limits == []


def test_a_card_cannot_be_changed(tmp_path: Path) -> None:
    """A card that was read is frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        read_spec(write(tmp_path)).name = "other"


def test_the_card_lies_beside_the_model() -> None:
    """A card has its model's name with another suffix."""
    assert spec_path(Path("models/reference.safetensors")) == Path("models/reference.json")
    assert spec_path(Path("models/resnet.v2.onnx")) == Path("models/resnet.v2.json")


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"std": [0.0]}, r"std\[0\]: Input should be greater than 0"),
        ({"std": [0.2, -0.1, 0.2]}, r"std\[1\]: Input should be greater than 0"),
        ({"mean": []}, "mean: Tuple should have at least 1 item"),
        ({"mean": ["0.5"]}, r"mean\[0\]: Input should be a valid number"),
        ({"mean": [True]}, r"mean\[0\]: Input should be a valid number"),
        ({"mean": [float("nan")]}, "NaN is not a finite number"),
        ({"training": {"loss": [float("-inf")]}}, "-Infinity is not a finite number"),
        ({"labels": ["normal", "normal"]}, "labels: .*expected normal and pneumonia in the order"),
        ({"labels": ["healthy", "pneumonia"]}, "labels: .*expected normal and pneumonia in the order"),
        ({"labels": ["normal"]}, r"labels\[1\]: Field required"),
        ({"threshold": 0.0}, "threshold: Input should be greater than 0"),
        ({"threshold": 1.0}, "threshold: Input should be less than 1"),
        ({"weights_sha256": "abc"}, "weights_sha256: String should match pattern"),
        ({"schema_version": 2}, "schema_version: Input should be 1"),
        ({"name": ""}, "name: String should have at least 1 character"),
        ({"sensitivity": 1.0}, "sensitivity: Extra inputs are not permitted"),
        ({"labels": None, "name": 5}, "name: .*; labels: "),
    ],
)
def test_a_field_out_of_range_is_named(tmp_path: Path, changes: dict[str, Any], fragment: str) -> None:
    """A card with a wrong field is refused with the file's name and the field's."""
    path = write(tmp_path, **changes)
    with pytest.raises(InputError, match=fragment) as caught:
        read_spec(path)
    assert caught.value.message.startswith(f"{path} is not a valid model card: ")


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[]", "Input should be an object"),
        (b'{"training": {"loss": 1e999}}', "1e999 is not a finite number"),
        (b"[" * 100_000, "nested deeper than 32"),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_what_is_not_a_json_object_is_refused(tmp_path: Path, content: bytes, fragment: str) -> None:
    """A file that is not a JSON object is refused with the file's name and the reason."""
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=fragment) as caught:
        read_spec(path)
    assert str(path) in caught.value.message


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    """A card that does not exist is an input error, not an OSError."""
    with pytest.raises(InputError, match=r"cannot read .*absent\.json"):
        read_spec(tmp_path / "absent.json")


def test_a_report_repeats_what_the_reference_s_card_says() -> None:
    """True and soft normals of the test split, what had been seen of it, and limits become lines."""
    lines = card_lines(read_spec(spec_path(BUILT_IN["reference"])))
    assert "test split 0cbb844198bd, specificity on true 64-pixel normals: 133 of 167 called normal" in lines
    assert "test split 0cbb844198bd, specificity on soft normals: 59 of 67 called normal" in lines
    assert any(line.startswith("tried: ") and "has seen the test split" in line for line in lines)
    assert any(line.startswith("limit: ") and "read the zoom instead of the lung" in line for line in lines)


@pytest.mark.parametrize(
    "changes",
    [
        {"test": {}, "training": {}, "limits": []},
        {"test": {"a": {"b": 3, "of": 2}}, "training": {"tried": "all"}, "limits": []},
        {
            "test": {"a": {"of": 2}, "b": 1, "c": {"d": 1.5, "of": 2}},
            "training": {"tried": [1]},
            "limits": [],
        },
    ],
)
def test_what_a_card_leaves_open_makes_no_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Fields that are absent, or are no count of so many, are passed over."""
    assert card_lines(read_spec(write(tmp_path, **changes))) == ()


def test_a_long_card_is_cut(tmp_path: Path) -> None:
    """A card of many long lines does not fill every report."""
    lines = card_lines(read_spec(write(tmp_path, limits=["long " * 1000] * 100)))
    assert len(lines) == MAX_LINES
    assert max(map(len, lines)) <= MAX_LINE
