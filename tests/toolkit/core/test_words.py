"""Wrong words and what was meant."""

from __future__ import annotations

import pytest

from udacimed_edge.core.artifact import PRECISIONS
from udacimed_edge.core.words import SYNONYMS, did_you_mean, nearest
from udacimed_edge.runtime.formats import FORMATS
from udacimed_edge.source.load import BUILT_IN
from udacimed_edge.targets.devices.profile import load_profiles

TARGETS = [*FORMATS, "all", *load_profiles()]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("TFLite", "litert"),
        ("tf_lite", "litert"),
        ("onnx", "ort"),
        ("ORT", "ort"),
        ("ios", "iphone"),
        ("Core ML", "coreml"),
        ("tensorrt", "triton"),
        ("rpi", "raspberry-pi-4"),
        ("cormel", "coreml"),
        ("Windows", "clinic-laptop-windows"),
        ("toaster", None),
        ("", None),
    ],
)
def test_the_right_target_is_found(word: str, meant: str | None) -> None:
    """A name that others use, another spelling and a slip lead to the target; anything else to none."""
    assert nearest(word, TARGETS) == meant


@pytest.mark.parametrize(("word", "meant"), [("float16", "fp16"), ("FP16", "fp16"), ("uint8", "int8")])
def test_the_right_precision_is_found(word: str, meant: str) -> None:
    """Likewise for precisions."""
    assert did_you_mean(word, PRECISIONS) == f"; did you mean '{meant}'?"


def test_a_synonym_counts_only_where_its_meaning_may_be_typed() -> None:
    """A word is not answered with one that is not known there."""
    assert nearest("tflite", PRECISIONS) is None


def test_synonyms_mean_something() -> None:
    """Each right word of the table exists, none is the synonym of another, and none stands twice."""
    right = {*TARGETS, *PRECISIONS, *BUILT_IN}
    assert right >= SYNONYMS.keys()
    others = [word for words in SYNONYMS.values() for word in words]
    assert len(others) == len({*others})
    assert not right & {*others}
