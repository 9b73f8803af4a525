"""Distillation: the student network learns from a larger model, and is kept if the policy lets it pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from udacimed_edge.core.data import DataSet
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import staging, write_atomic
from udacimed_edge.optimization.measure import flops
from udacimed_edge.optimization.trained import (
    REHEARSAL,
    TRAINED_LIMITS,
    Gray,
    figures,
    measured,
    set_threshold,
    training_record,
    write_markdown,
    write_model,
)
from udacimed_edge.optimization.training import Recipe, Task, examples, stressed, train
from udacimed_edge.source.load import SourceModel
from udacimed_edge.source.network import build_student
from udacimed_edge.source.spec import ModelSpec, spec_path
from udacimed_edge.validation.metrics.metrics import compute_metrics
from udacimed_edge.validation.metrics.records import Metrics
from udacimed_edge.validation.policy.clauses import ClauseResult, Evidence, MaxAucDrop, MinSensitivity
from udacimed_edge.validation.policy.policy import Policy
from udacimed_edge.workflow.prepare import set_threshold as threshold_of
from udacimed_edge.workflow.prepare import source_probabilities

__all__ = ["DistillationPlan", "Distilled", "distill"]

MOST_PARAMETERS = 2_000_000
"""2 MB in INT8, a byte each."""

MOST_MACS = 40_000_000
"""Multiply-accumulates for one image."""

POLICY = Policy((MinSensitivity(0.98), MaxAucDrop(0.01)))
"""On the test split, at the student's own validation threshold; the AUC against its teacher's."""


@dataclass(frozen=True)
class DistillationPlan:
    """How a student is made.

    Attributes:
        out: The .safetensors to write; the card lies beside it as .json and, for people, as .md.
        epochs: How many.
        seed: Of weights, order and augmentation.
    """

    out: Path
    epochs: int = 90
    seed: int = 0


@dataclass(frozen=True)
class Distilled:
    """What became of it.

    Attributes:
        path: Where the student lies: at `DistillationPlan.out`, or in `rejected/` beside it.
        card: Its card.
        clauses: The policy's verdict, clause by clause.
    """

    path: Path
    card: ModelSpec
    clauses: tuple[ClauseResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every clause holds."""
        return all(clause.passed for clause in self.clauses)


def distill(
    teacher: SourceModel, data: DataSet, plan: DistillationPlan, notify: Callable[[str], None]
) -> Distilled:
    """Train a student from a model and from the labels; then open the test split, once.

    Args:
        teacher: The model whose probabilities are learned.
        data: The training split teaches, the validation split chooses the epoch and sets the threshold.
        plan: How, and where to.
        notify: Told of each epoch and of the threshold.

    Raises:
        InputError: A split is unusable, or the teacher takes only one image at once.
        OutputError: Nothing can be written there.
    """
    if not teacher.dynamic_batch:
        raise InputError(
            f"{teacher.name} takes only one image at once and cannot teach", "export it with a free batch"
        )
    validation = data.read("validation")
    learn = examples(data.read("train"), leave_out=validation.images)
    pooled = stressed(examples(validation), seed=1000)
    recipe = Recipe(epochs=plan.epochs, learning_rate=2e-3)
    with staging(plan.out.parent) as folder:  # before training, so that a wrong --out costs no time
        task = Task(learn, pooled, recipe, plan.seed, [_teacher(teacher)])
        network = train(lambda: Gray(build_student), task, notify).network
        staged = folder / plan.out.name
        blank = _blank_card(teacher, data, plan, len(learn.labels), recipe)
        card = set_threshold(staged, write_model(network, blank, staged), validation, pooled)
        write_model(network, card, staged)
        notify(f"threshold {card.threshold}: {card.threshold_origin}; now the test split is opened")
        test_figures, clauses = _examine(staged, card, teacher, data)
        finished = write_model(network, card.model_copy(update={"test": test_figures}), staged)
        write_markdown(spec_path(staged))
        passed = all(clause.passed for clause in clauses)
        final = plan.out if passed else plan.out.parent / "rejected" / plan.out.name
        for suffix in (".json", ".md", plan.out.suffix):
            write_atomic(final.with_suffix(suffix), staged.with_suffix(suffix).read_bytes())
    return Distilled(final, finished, clauses)


def _teacher(source: SourceModel) -> Callable[[Tensor], Tensor]:
    module = source.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def logits(images: Tensor) -> Tensor:
        answer: Tensor = module(images * 255)
        return answer

    return logits


def _blank_card(
    teacher: SourceModel, data: DataSet, plan: DistillationPlan, learned: int, recipe: Recipe
) -> ModelSpec:
    """The card of a student whose threshold is not set and whose test split is not opened."""
    rehearsal = (REHEARSAL,) if data.origin == "synthetic" else ()
    return ModelSpec(
        schema_version=1,
        name=plan.out.stem,
        architecture="student",
        mean=(0.5,),
        std=(0.5,),
        labels=("normal", "pneumonia"),
        limits=[*rehearsal, *TRAINED_LIMITS],
        training={
            **training_record(data, learned, plan.seed),
            "recipe": asdict(recipe),
            "teacher": {"name": teacher.name, "sha256": teacher.digest},
        },
    )


def _examine(
    path: Path, card: ModelSpec, teacher: SourceModel, data: DataSet
) -> tuple[dict[str, Any], tuple[ClauseResult, ...]]:
    """Open the test split: the student's figures, what it costs against its teacher, and the verdict."""
    threshold = threshold_of(teacher, data).value
    test = data.read("test")
    assert card.threshold is not None  # set before the test split is opened
    student = measured(path, test, card.threshold)
    before = compute_metrics(test.labels, source_probabilities(teacher, test.images), threshold)
    clauses = (*POLICY.judge(Evidence(artifact=student, non_finite=0, source=before)), *_size_clauses())
    record = {
        **figures(student),
        "against the teacher": _differences(student, before),
        "policy": {c.name: f"{c.measured}; required: {c.requirement}" for c in clauses},
        "split digest": test.digest,
    }
    return record, clauses


def _differences(student: Metrics, teacher: Metrics) -> dict[str, str]:
    """What the student costs, each model at its own validation threshold; below 0 is lost."""

    def change(after: float | None, before: float | None) -> str:
        if after is None or before is None:
            return "not measured"
        return f"{after - before:+.4f}, the teacher has {before:.4f}"

    return {
        "sensitivity": change(student.sensitivity.value, teacher.sensitivity.value),
        "specificity": change(student.specificity.value, teacher.specificity.value),
        "auc": change(student.auc, teacher.auc),
    }


def _size_clauses() -> tuple[ClauseResult, ClauseResult]:
    network = build_student().eval()
    count = sum(parameter.numel() for parameter in network.parameters())
    macs = flops(network, torch.zeros(1, 1, 64, 64)) // 2
    return (
        ClauseResult(
            name="size",
            requirement=f"<= {MOST_PARAMETERS:,} parameters, a byte each in INT8",
            measured=f"{count:,} parameters",
            passed=count <= MOST_PARAMETERS,
        ),
        ClauseResult(
            name="work",
            requirement=f"<= {MOST_MACS / 1e6:g} million multiply-accumulates an image",
            measured=f"{macs / 1e6:.1f} million",
            passed=macs <= MOST_MACS,
        ),
    )
