"""INT8 recipes: trying stops at the first recipe that holds, and the validation split alone says which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import QuantizationRecipe
from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import UnsupportedError
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.validation.judging.inputs import EvaluationInputs, SourceScores
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import DataRecord, RecipeRecord
from udacimed_edge.workflow import convert, recipes
from udacimed_edge.workflow.plan import ConversionPlan, Item
from udacimed_edge.workflow.recipes import failed_clauses

CONTRACT = Contract("ort", "int8", 0.5, "a test", "source", "4" * 64, None, "0")

LABELS = np.repeat(np.array([1, 0], np.uint8), [100, 100])
SCORES = np.concatenate([np.linspace(0.6, 0.99, 100), np.linspace(0.01, 0.4, 100)])


class Workshop:
    """A writer and a judge that only keep a diary; the named recipe is the first that holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holds: int, executed: bool = True) -> None:
        self.holds, self.executed, self.diary = holds, executed, list[str]()
        self.judged_on: set[str] = set()
        monkeypatch.setattr(convert, "_write", self.write)
        monkeypatch.setattr(recipes, "failed_clauses", self.judge)

    def write(
        self, out: Path, item: Item, work: object, calibration: None, recipe: QuantizationRecipe
    ) -> None:
        """Convert."""
        self.diary.append(f"make {recipe.number}")

    def judge(self, artifact: Path, on: EvaluationInputs, threads: int) -> tuple[Contract | None, str]:
        """Judge what was made last."""
        self.judged_on.add(on.split.name)
        number = int(self.diary[-1].removeprefix("make "))
        self.diary.append(f"judge {number}")
        contract = replace(CONTRACT, float_layers=("stem",) if number == 3 else ())
        return contract if self.executed else None, "" if number >= self.holds else f"too low: {number}"

    def run(self, first: int = 1, last: int | None = None) -> tuple[RecipeRecord, ...]:
        """Make ort int8 by those of its recipes."""
        item = Item("ort", "int8")
        plan = ConversionPlan((item,), Path("out"), PolicySettings(), first, last)
        test = replace(trial(SCORES), split=replace(trial(SCORES).split, name="test"))
        shared = convert.Shared(Path("program.pt2"), test, trial(SCORES))
        work = convert._FormatWork((item,), shared, Path("staging"), plan, 1)
        return convert._write_int8(Path("model.ort"), item, work, None, lambda stage: None)


@pytest.mark.parametrize(
    ("holds", "tried"),
    [(1, [True]), (2, [False, True]), (3, [False, False, True]), (4, [False, False, False])],
)
def test_recipes_are_tried_until_one_holds(
    monkeypatch: pytest.MonkeyPatch, holds: int, tried: list[bool]
) -> None:
    """Each recipe is made and judged in turn, none after the first that holds, none twice."""
    workshop = Workshop(monkeypatch, holds)
    records = workshop.run()
    assert [record.passed for record in records] == tried
    assert workshop.diary == [f"{what} {n + 1}" for n in range(len(tried)) for what in ("make", "judge")]


def test_the_validation_split_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe is never chosen on the test split, which judges what was chosen."""
    workshop = Workshop(monkeypatch, holds=3)
    workshop.run()
    assert workshop.judged_on == {"validation"}


@pytest.mark.parametrize(("first", "last", "numbers"), [(2, None, [2, 3]), (1, 2, [1, 2]), (3, 3, [3])])
def test_a_person_says_where_to_begin_and_end(
    monkeypatch: pytest.MonkeyPatch, first: int, last: int | None, numbers: list[int]
) -> None:
    """`--min-recipe` and `--max-recipe` are the first and the last recipe that is tried."""
    assert [record.number for record in Workshop(monkeypatch, holds=4).run(first, last)] == numbers


def test_a_record_says_what_was_tried_and_why_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number, method, reason and the layers left in float stand in each recipe's record."""
    first, _, last = Workshop(monkeypatch, holds=3).run()
    names = [recipe.name for recipe in FORMATS["ort"].recipes]
    assert (first.number, first.name, first.reason, first.float_layers) == (1, names[0], "too low: 1", ())
    assert (last.number, last.name, last.reason, last.float_layers) == (3, names[2], "", ("stem",))


def test_what_cannot_be_executed_ends_the_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recipe mends an artifact that this machine cannot execute, so no further one is made."""
    (record,) = Workshop(monkeypatch, holds=4, executed=False).run()
    assert not record.passed


@pytest.mark.parametrize("name", [row.name for row in FORMATS.values() if "int8" in row.precisions])
def test_the_recipes_of_a_format_are_numbered_from_one(name: str) -> None:
    """The number of a recipe is its place among those of its format."""
    found = FORMATS[name].recipes
    assert [recipe.number for recipe in found] == list(range(1, len(found) + 1))
    assert found


Answer = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def trial(scores: NDArray[np.float64]) -> EvaluationInputs:
    """200 validation images, and those answers of the source model."""
    images = np.zeros((len(LABELS), 64, 64), np.uint8)
    images[:, 0, 0] = np.arange(len(LABELS))
    split = Split("validation", "custom", images, LABELS)
    data = DataRecord(
        origin="custom", name="x", file_digest="5" * 64, split="validation", digest=split.digest,
        pneumonia=100, normal=100,
    )  # fmt: skip
    return EvaluationInputs(
        split, data, SourceScores("source", "4" * 64, scores, "a test", 0.5), PolicySettings()
    )


def judged(monkeypatch: pytest.MonkeyPatch, source: NDArray[np.float64], answers: NDArray[np.float64]) -> str:
    """What falls short in an artifact of those answers."""
    predictor = Predictor(CONTRACT, lambda images: answers[images[:, 0, 0].astype(int)], None, "made up")
    monkeypatch.setattr(recipes, "open_predictor", lambda path, threads: predictor)
    contract, reason = failed_clauses(Path("model.ort"), trial(source))
    assert contract == CONTRACT
    return reason


def missing(scores: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Those scores, but the first images with pneumonia are missed."""
    changed = scores.copy()
    changed[:count] = 0.45
    return changed


@pytest.mark.parametrize(
    ("source", "answers", "reason"),
    [
        (SCORES, SCORES, ""),
        (SCORES, missing(SCORES, 2), ""),
        (SCORES, missing(SCORES, 3), "sensitivity: 0.9700, 3 missed"),
        # a source model that misses more than the policy allows, on this split alone, is the measure itself
        (missing(SCORES, 3), missing(SCORES, 3), ""),
        (missing(SCORES, 3), missing(SCORES, 4), "sensitivity: 0.9600, 4 missed"),
        (SCORES, np.where(LABELS == 0, 0.45, SCORES), ""),
        (SCORES, np.where(np.arange(200) > 195, 0.9, SCORES), "specificity drop"),
        (SCORES, np.where(np.arange(200) == 7, np.nan, SCORES), "1 images with a non-finite output"),
    ],
)
def test_a_candidate_is_held_to_the_policy(
    source: NDArray[np.float64],
    answers: NDArray[np.float64],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The policy's clauses judge a candidate; of sensitivity no more is asked than the source has."""
    found = judged(monkeypatch, source, answers)
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_candidate_that_cannot_be_executed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can execute it there is no contract, and the reason names why."""

    def refuse(path: Path, threads: int) -> Predictor:
        raise UnsupportedError("an operation is not executed here")

    monkeypatch.setattr(recipes, "open_predictor", refuse)
    contract, reason = failed_clauses(Path("model.mlpackage"), trial(SCORES))
    assert contract is None
    assert "an operation is not executed here" in reason
