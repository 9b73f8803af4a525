"""The recipes of INT8: one after another, judged on the validation split, until one holds.

Which recipe an artifact stands on is a choice, and a choice made on the test split would flatter it there.
So the validation split chooses, and the test split judges only what was chosen.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from udacimed_edge.core.errors import UnsupportedError
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.runtime.formats import QuantizationRecipe
from udacimed_edge.validation.judging.evaluate import in_batches, open_predictor
from udacimed_edge.validation.judging.inputs import EvaluationInputs
from udacimed_edge.validation.metrics.metrics import compare, compute_metrics
from udacimed_edge.validation.policy.clauses import Evidence
from udacimed_edge.validation.policy.policy import PolicySettings, processor_policy
from udacimed_edge.validation.report import RecipeRecord

__all__ = ["RecipeTrial", "failed_clauses", "try_recipe"]


class RecipeTrial(RecipeRecord):
    """A recipe that was tried; no other one mends an artifact that cannot be executed here."""

    executed: bool

    @property
    def is_last(self) -> bool:
        """Whether no further recipe is tried."""
        return self.passed or not self.executed

    def record(self) -> RecipeRecord:
        """What a report keeps of it."""
        return RecipeRecord(**self.model_dump(exclude={"executed"}))


def try_recipe(
    recipe: QuantizationRecipe, artifact: Path, trial: EvaluationInputs, threads: int = 0
) -> RecipeTrial:
    """Judge an artifact that a recipe made on the split that chooses.

    Args:
        recipe: What made it.
        artifact: The candidate.
        trial: The validation split, and what the source model answers for it.
        threads: Threads of one prediction; 0 for one per core.
    """
    contract, reason = failed_clauses(artifact, trial, threads)
    return RecipeTrial(
        number=recipe.number,
        name=recipe.name,
        passed=not reason,
        reason=reason,
        float_layers=contract.float_layers if contract else (),
        executed=contract is not None,
    )


def failed_clauses(artifact: Path, trial: EvaluationInputs, threads: int = 0) -> tuple[Contract | None, str]:
    """Why an artifact's answers do not satisfy the policy on the split that chooses.

    Sensitivity is held to the policy's bound, or to what the source model itself reaches on this split
    where that is less: a threshold may have been set where the source misses a few more here, and no recipe
    can mend that. Specificity likewise.

    Args:
        artifact: The candidate.
        trial: The validation split, and what the source model answers for it.
        threads: Threads of one prediction; 0 for one per core.

    Returns:
        Its contract, None where it cannot be executed here, and the clauses that do not hold, in words.
    """
    try:
        predictor = open_predictor(artifact, threads)
        answers = in_batches(predictor, trial.split.images)
    except UnsupportedError as error:
        return None, f"not executed: {error}"
    labels, threshold, scores = trial.split.labels, predictor.contract.threshold, trial.source
    source = compute_metrics(labels, scores.probabilities, scores.threshold)
    finite = np.isfinite(answers)
    evidence = Evidence(artifact=None, non_finite=int((~finite).sum()), source=source)
    if finite.all():
        evidence = replace(
            evidence,
            artifact=compute_metrics(labels, answers, threshold),
            comparison=compare(labels, scores.probabilities, answers, threshold, scores.threshold),
        )
    settings = trial.settings
    reached = PolicySettings(
        min_sensitivity=min(
            settings.min_sensitivity, source.sensitivity.successes / source.sensitivity.total
        ),
        min_specificity=min(
            settings.min_specificity or 0.0, source.specificity.successes / source.specificity.total
        ),
        max_specificity_drop=settings.max_specificity_drop,
        max_auc_drop=settings.max_auc_drop,
        min_agreement=settings.min_agreement,
    )
    clauses = processor_policy(reached).judge(evidence)
    return predictor.contract, "; ".join(str(clause) for clause in clauses if not clause.passed)
