"""The recipes of INT8: one after another, judged on the validation split, until one holds.

Which recipe an artifact stands on is a choice, and a choice made on the test split would flatter it there.
So the validation split chooses, and the test split judges only what was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from udacimed_edge.core.errors import UnsupportedError
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.runtime.formats import QuantizationRecipe
from udacimed_edge.validation.judging.evaluate import BATCH, open_predictor
from udacimed_edge.validation.judging.inputs import EvaluationInputs
from udacimed_edge.validation.metrics.metrics import compare, compute_metrics
from udacimed_edge.validation.policy.clauses import Evidence
from udacimed_edge.validation.policy.policy import processor_policy
from udacimed_edge.validation.report import RecipeRecord

__all__ = ["choose_recipe", "failed_clauses"]


def choose_recipe(
    recipes: Sequence[QuantizationRecipe],
    make: Callable[[QuantizationRecipe], None],
    judge: Callable[[], tuple[Contract | None, str]],
) -> tuple[RecipeRecord, ...]:
    """Convert by one recipe after another until a candidate holds.

    Args:
        recipes: The lowest first.
        make: Makes a recipe's candidate, in the place of the one before.
        judge: Judges the candidate that was made last: its contract, and why it does not hold, empty where
            it does. What cannot be executed here has no contract, and then no other is tried.

    Returns:
        The recipes that were tried; the candidate of the last one is what stands.
    """
    tried: list[RecipeRecord] = []
    for recipe in recipes:
        make(recipe)
        contract, reason = judge()
        kept = contract.float_layers if contract else ()
        tried.append(
            RecipeRecord(
                number=recipe.number, name=recipe.name, passed=not reason, reason=reason, float_layers=kept
            )
        )
        if not reason or contract is None:
            break
    return tuple(tried)


def failed_clauses(artifact: Path, trial: EvaluationInputs) -> tuple[Contract | None, str]:
    """Why an artifact's answers do not satisfy the policy on the split that chooses.

    Sensitivity is held to the policy's bound, or to what the source model itself reaches on this split
    where that is less: a threshold may have been set where the source misses a few more here, and no recipe
    can mend that.

    Args:
        artifact: The candidate.
        trial: The validation split, and what the source model answers for it.

    Returns:
        Its contract, None where it cannot be executed here, and the clauses that do not hold, in words.
    """
    try:
        predictor = open_predictor(artifact, trial.threads)
        images, batch = trial.split.images, predictor.batch or BATCH
        answers = np.concatenate(
            [predictor.predict(images[i : i + batch]) for i in range(0, len(images), batch)]
        )
    except UnsupportedError as error:
        return None, f"not executed: {error}"
    labels, threshold = trial.split.labels, predictor.contract.threshold
    source = compute_metrics(labels, trial.source.probabilities, threshold)
    finite = np.isfinite(answers)
    evidence = Evidence(artifact=None, non_finite=int((~finite).sum()), source=source)
    if finite.all():
        evidence = replace(
            evidence,
            artifact=compute_metrics(labels, answers, threshold),
            comparison=compare(labels, trial.source.probabilities, answers, threshold),
        )
    found, least = source.sensitivity, trial.settings.min_sensitivity
    bound = min(least, found.successes / found.total)
    clauses = processor_policy(trial.settings.model_copy(update={"min_sensitivity": bound})).judge(evidence)
    return predictor.contract, "; ".join(str(clause) for clause in clauses if not clause.passed)
