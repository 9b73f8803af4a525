"""The self-test that travels with an artifact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.core.data import open_data
from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.runtime import selftest
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.targets.bundle.spec import BundleSpec
from udacimed_edge.targets.bundle.vectors import COUNT, TOLERANCES, VECTORS, choose, write_vectors
from udacimed_edge.validation.report import ProcessorRecord

IMAGES = open_data("synthetic").read("test").images[:64]
ANSWERS = np.linspace(0, 1, 64)


@pytest.mark.parametrize(
    ("answers", "below"),
    [
        (np.linspace(0, 0.5, 64), 16),
        (ANSWERS, 15),
        (np.concatenate([np.linspace(0, 0.2, 5), np.linspace(0.3, 1, 50)]), 5),
        (np.concatenate([np.linspace(0, 0.2, 50), np.linspace(0.3, 1, 7)]), 25),
        (np.linspace(0.3, 1, 40), 0),
    ],
)
def test_both_decisions_are_tested(answers: NDArray[np.float64], below: int) -> None:
    """Half of the radiographs are decided each way, or as many as there are; none twice."""
    chosen = choose(answers, 0.25, 0.02)
    assert len(set(chosen.tolist())) == COUNT
    assert np.count_nonzero(answers[chosen] < 0.25) == below


def test_no_decision_can_flip_within_the_tolerance() -> None:
    """No answer that is chosen lies within the tolerance of the threshold, and the extremes are chosen."""
    found = ANSWERS[choose(ANSWERS, 0.25, 0.1)]
    assert np.abs(found - 0.25).min() > 0.1
    assert (found.min(), found.max()) == (0, 1)


def test_a_model_that_cannot_decide_gets_no_self_test() -> None:
    """Where too few answers are far from the threshold, there is no bundle."""
    with pytest.raises(GateRefusedError, match=r"of 64 answers only 31 are further than 0\.02 from"):
        choose(np.concatenate([np.full(33, 0.25), np.full(31, 0.9)]), 0.25, 0.02)


@pytest.mark.parametrize(("shift", "passes"), [(0.0, True), (0.9, True), (1.1, False)])
def test_the_runner_takes_them(shift: float, passes: bool, spec: BundleSpec, tmp_path: Path) -> None:
    """The device's self-test passes with the same answers, and within the tolerance, and no further."""
    write_vectors(tmp_path, spec.report, IMAGES, ANSWERS, "a test")
    contract = Contract("ort", "int8", spec.threshold, "a test", "source", "5" * 64, None, "0")
    tolerance = TOLERANCES["int8"][0]

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        (index,) = np.flatnonzero((images[0] == IMAGES).all(axis=(1, 2)))
        return ANSWERS[[index]] - shift * tolerance

    verdict = selftest.check(
        tmp_path / VECTORS, Predictor(contract, predict, 1, "a test"), spec.artifact_digest
    )
    assert verdict.passed is passes
    assert verdict.message.startswith("32 images")


@pytest.mark.parametrize(("measured", "expected"), [(0.0, 0.02), (0.01, 0.02), (0.03, 0.06)])
def test_a_measured_difference_widens_the_tolerance(
    measured: float, expected: float, spec: BundleSpec, tmp_path: Path
) -> None:
    """What the report measured on other processors counts twice, where that is more, and it says so."""
    case = ProcessorRecord(name="x", processor="x", way="x", verdict="PASS", max_difference=measured)
    larger = case.model_copy(update={"max_difference": 0.5, "comparison_only": True})
    report = spec.report.model_copy(update={"processors": (case, larger)})
    write_vectors(tmp_path, report, IMAGES, ANSWERS, "a test")
    written = json.loads((tmp_path / VECTORS / "vectors.json").read_text())
    assert written["tolerance"] == pytest.approx(expected)
    assert ("processor cases measured" in written["tolerance_reason"]) is (expected > 0.02)
    assert (written["computed_by"], written["threshold"]) == ("a test", spec.threshold)
