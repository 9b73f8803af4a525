"""What was measured, as a report keeps it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "Agreement",
    "ChangedDecision",
    "Comparison",
    "Interval",
    "Invariance",
    "Label",
    "McNemar",
    "Metrics",
    "Proportion",
    "Record",
]

Label = Literal["normal", "pneumonia"]


class Record(BaseModel):
    """Base of what is written to report.json: frozen, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )


class Interval(Record):
    """A two-sided 95 % confidence interval of a proportion; both ends within 0..1."""

    low: float
    high: float


class Proportion(Record):
    """A number of successes among independent trials, with its uncertainty.

    Attributes:
        successes: Trials that succeeded.
        total: Trials, at least `successes`.
        value: `successes / total`; None where there was no trial.
        wilson: Score interval (Wilson 1927, J. Am. Stat. Assoc. 22:209-212); None where there was no trial.
        clopper_pearson: Exact interval (Clopper and Pearson 1934, Biometrika 26:404-413); it never covers
            less than 95 %. None where there was no trial.
    """

    successes: int
    total: int
    value: float | None
    wilson: Interval | None
    clopper_pearson: Interval | None


class Metrics(Record):
    """What one classifier does with one split at one threshold.

    Attributes:
        tp: Images with pneumonia that were called positive.
        fn: Images with pneumonia that were missed.
        tn: Normal images that were called negative.
        fp: Normal images that were called positive.
        sensitivity: tp of all images with pneumonia.
        specificity: tn of all normal images.
        ppv: tp of all images called positive, at the split's own prevalence.
        npv: tn of all images called negative, at the split's own prevalence.
        accuracy: tp and tn of all images.
        auc: Area under the ROC curve, 0..1; it does not depend on the threshold.
    """

    tp: int
    fn: int
    tn: int
    fp: int
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion
    accuracy: Proportion
    auc: float


class ChangedDecision(Record):
    """An image on which source model and artifact decide differently.

    Attributes:
        index: Position in the split, from 0.
        label: What the image shows, by its label.
        source: What the source model decides.
        artifact: What the artifact decides.
        source_probability: Probability of pneumonia by the source model, 0..1.
        artifact_probability: Probability of pneumonia by the artifact, 0..1.
    """

    index: int
    label: Label
    source: Label
    artifact: Label
    source_probability: float
    artifact_probability: float


class McNemar(Record):
    """Exact McNemar test: do source model and artifact err equally often on the same images?

    A large p-value does not show that they do; it may only show that few decisions changed.

    Attributes:
        only_source_correct: Images that only the source model decides correctly.
        only_artifact_correct: Images that only the artifact decides correctly.
        p_value: Two-sided binomial p-value of that split at 1/2 (McNemar 1947, Psychometrika 12:153-157);
            1 where no decision changed.
    """

    only_source_correct: int
    only_artifact_correct: int
    p_value: float


class Comparison(Record):
    """How far an artifact's answers are those of the model it was made from.

    Attributes:
        changed: Every image whose decision changed, by index.
        agreement: Share of images whose decision is the same, 0..1.
        mcnemar_positives: Test on the images with pneumonia, that is of sensitivity.
        mcnemar_negatives: Test on the normal images, that is of specificity.
        max_probability_difference: Largest absolute difference, 0..1.
        mean_probability_difference: Mean absolute difference, 0..1.
    """

    changed: tuple[ChangedDecision, ...]
    agreement: float
    mcnemar_positives: McNemar
    mcnemar_negatives: McNemar
    max_probability_difference: float
    mean_probability_difference: float


class Agreement(Record):
    """How far two ways of answering the same images agree.

    Attributes:
        images: How many, at least 1.
        changed: Decisions that differ.
        max_difference: Largest difference in probability, 0..1.
    """

    images: int
    changed: int
    max_difference: float


class Invariance(Record):
    """How far one artifact's answers depend on how it is asked.

    Attributes:
        max_difference: Largest difference between two answers for one image, 0..1.
        flips: Number of images whose decision is not the same in every run.
    """

    max_difference: float
    flips: int
