"""The contract inside every artifact, and the probability every artifact answers with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from udacimed_edge.runtime.contract import LABELS, ArtifactError, Contract, probability_of_pneumonia

FIELDS: dict[str, Any] = {
    "target": "ort",
    "precision": "int8",
    "threshold": 0.4,
    "threshold_origin": "validation split",
    "source_name": "reference",
    "source_digest": "0" * 64,
    "calibration_digest": None,
    "toolkit_version": "0.1.0",
    "labels": list(LABELS),
}

TEXTS = st.text('aß Ω{}"\\')
THRESHOLDS = st.floats(0, 1, exclude_min=True, exclude_max=True)
CONTRACTS = st.builds(
    Contract,
    format=TEXTS,
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
    threshold=THRESHOLDS,
    threshold_origin=TEXTS,
    source_name=TEXTS,
    source_digest=st.text("0123456789abcdef", min_size=64, max_size=64),
    calibration_digest=st.none() | TEXTS,
    toolkit_version=TEXTS,
    input=TEXTS,
    output=TEXTS,
    notice=TEXTS,
)


@settings(max_examples=50, deadline=None)
@given(CONTRACTS)
def test_a_contract_comes_back_as_it_was_written(contract: Contract) -> None:
    """`from_json(to_json(c)) == c`, for any text that prints and any threshold between 0 and 1."""
    assert Contract.from_json(contract.to_json()) == contract


@settings(max_examples=50, deadline=None)
@given(CONTRACTS)
def test_a_contract_is_one_line_of_ascii(contract: Contract) -> None:
    """Every format can store the text: no line break, no byte above 127."""
    text = contract.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert list(json.loads(text)) == sorted(json.loads(text))  # one contract has one text


def test_every_field_is_read() -> None:
    """A contract's fields come from the text; what it leaves open has the standard words."""
    contract = Contract.from_json(json.dumps(FIELDS))
    assert (contract.format, contract.precision, contract.threshold) == ("ort", "int8", 0.4)
    assert contract.labels == LABELS
    assert "raw pixels 0..255" in contract.input
    assert "not for clinical use" in contract.notice


def but(**changes: Any) -> str:
    """A contract that is right but for the given fields."""
    return json.dumps(FIELDS | changes)


def without(field: str) -> str:
    """A contract that lacks a field."""
    return json.dumps({name: value for name, value in FIELDS.items() if name != field})


BROKEN: list[tuple[str, str]] = [
    ("", "cannot be read: Expecting value"),
    ("{", "cannot be read: Expecting property name"),
    ("not JSON", "cannot be read: Expecting value"),
    (but()[:-1], "cannot be read: Expecting"),
    ("[]", "cannot be read"),
    ("7", "cannot be read"),
    ("null", "cannot be read"),
    ("{}", "cannot be read: 'target'"),
    ("[" * 100_000, "cannot be read"),
    (without("labels"), "cannot be read: 'labels'"),
    (without("threshold"), "cannot be read: .*missing .*'threshold'"),
    (without("source_digest"), "cannot be read: .*missing .*'source_digest'"),
    (but(vendor="other"), "cannot be read: .*unexpected .*'vendor'"),
    (but(threshold=0.0), "names the threshold 0.0, not one in 0..1"),
    (but(threshold=1.0), "names the threshold 1.0, not one in 0..1"),
    (but(threshold=-0.5), "names the threshold -0.5, not one in 0..1"),
    (but(threshold=float("nan")), "names the threshold nan, not one in 0..1"),
    (but(threshold=float("inf")), "names the threshold inf, not one in 0..1"),
    (but(threshold=True), "threshold is True, not of type float"),
    (but(threshold="0.4"), "threshold is '0.4', not of type float"),
    (but(threshold=None), "threshold is None, not of type float"),
    (but(labels=None), "cannot be read"),
    (but(labels=LABELS[::-1]), r"names the labels \('pneumonia', 'normal'\)"),
    (but(labels=["normal"]), r"names the labels \('normal',\)"),
    (but(labels="np"), "labels is 'np', not a list of str"),
    (but(mean=[0.5, "0.5"]), r"mean is \[0.5, '0.5'\], not a list of float"),
    (but(source_name="a\nb"), "source_name holds characters that cannot be printed"),
    (but(precision=8), "precision is 8, not of type str"),
    (but()[:-1] + ', "threshold": 0.9}', "a name stands twice"),
]


@pytest.mark.parametrize(("text", "fragment"), BROKEN, ids=[text[:16] + "-" + f for text, f in BROKEN])
def test_a_broken_contract_is_refused(text: str, fragment: str) -> None:
    """Every text that is no contract of ours is an ArtifactError that says what is wrong."""
    with pytest.raises(ArtifactError, match=fragment):
        Contract.from_json(text)


# The probability.

LOGITS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.filterwarnings("error")
@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(LOGITS, LOGITS)))
def test_the_probability_is_the_softmax(rows: list[tuple[float, float]]) -> None:
    """For any finite logits, however large, it is scipy's softmax of the row, its second element."""
    logits = np.array(rows, dtype=np.float32).reshape(-1, 2)
    probability = probability_of_pneumonia(logits)
    assert probability.dtype == np.float64
    assert probability.shape == (len(rows),)
    np.testing.assert_allclose(probability, softmax(logits.astype(np.float64), axis=1)[:, 1], rtol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "broken",
    [[np.nan, 0], [0, np.nan], [np.inf, 0], [0, np.inf], [-np.inf, 0], [np.inf, np.inf], [-np.inf, np.inf]],
)
def test_what_is_not_finite_has_no_probability(broken: list[float]) -> None:
    """A row with NaN or infinity gives NaN, never a decision, and the rows beside it are not touched."""
    logits: NDArray[np.float32] = np.array([[0, 0], broken, [0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(probability_of_pneumonia(logits), [0.5, np.nan, 0.5])
