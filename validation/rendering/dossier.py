"""What a reader of a regulator's file looks for: calibration, failures, reasons; what is not done is said."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.data import Split
from udacimed_edge.validation.metrics.metrics import least_count, proportion
from udacimed_edge.validation.metrics.records import Proportion
from udacimed_edge.validation.rendering.statements import alarms_text, interval_text, missed, value_text
from udacimed_edge.validation.rendering.tables import Table
from udacimed_edge.validation.report import Report

__all__ = [
    "brier",
    "calibration_text",
    "evidence_table",
    "failure_table",
    "reliability_bins",
    "reliability_table",
    "sections",
]

BINS = 10

_Z = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""


def brier(report: Report) -> tuple[float, float, float]:
    """The mean squared error of the probabilities (Brier 1950), and the ends of its 95 % interval.

    The interval is the normal one of a mean over so many images, cut at 0 and 1.

    Args:
        report: Of an artifact that was measured, on two images at least.

    Returns:
        Score, lower end and upper end, each 0..1; 0 is best, 0.25 what always answering 0.5 gets.
    """
    labels, probabilities = _answers(report)
    errors = (probabilities - labels) ** 2
    score, half = float(errors.mean()), _Z * float(errors.std(ddof=1)) / math.sqrt(len(errors))
    return score, max(0.0, score - half), min(1.0, score + half)


def calibration_text(report: Report) -> str:
    """How far the probabilities are what they say, in words."""
    score, low, high = brier(report)
    labels, probabilities = _answers(report)
    return (
        f"Brier score {score:.4f}, 95 % interval {low:.4f} to {high:.4f} (0 is best). The mean probability "
        f"is {probabilities.mean():.3f}; {labels.mean():.3f} of this split are ill. Where fewer are ill "
        "the probabilities are too high, and only the decision was judged. They were not recalibrated."
    )


def reliability_bins(report: Report) -> list[tuple[float, Proportion]]:
    """Of ten equal ranges of probability that hold an image: its mean, and how many of its images are ill."""
    labels, probabilities = _answers(report)
    place = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probabilities)
    return [
        (float(probabilities[here].mean()), proportion(int(labels[here].sum()), int(here.sum())))
        for here in (place == number for number in range(BINS))
        if here.any()
    ]


def reliability_table(report: Report) -> Table:
    """The reliability curve in figures: of images that got such a probability, how many are ill."""
    rows = tuple(
        (f"{mean:.4f}", f"{ill.total}", f"{ill.successes}", value_text(ill), interval_text(ill))
        for mean, ill in reliability_bins(report)
    )
    columns = ("Mean probability", "Images", "Ill", "Share that is ill", "95 % interval")
    caption = "Calibration: images in ten equal ranges of probability, and how many of them are ill"
    return Table("reliability", caption, columns, rows)


def failure_table(report: Report, images: Split | None = None) -> Table:
    """The missed images' properties; gray values only where the images are at hand.

    Args:
        report: Of an artifact that was measured.
        images: The split that it was judged on.
    """
    source = report.predictions.source
    own = report.threshold if report.source.threshold is None else report.source.threshold
    rows = []
    for index in missed(report):
        probability = report.predictions.artifact[index]
        rows.append(
            (
                f"{index}",
                f"{probability:.4f}",
                f"{source[index]:.4f}",
                "missed too" if source[index] < own else "found",
                *_gray(images, index),
            )
        )
    if images is not None and rows:
        ill = images.images[images.labels == 1]
        middle = (np.median(ill.mean((1, 2))), np.median(ill.std((1, 2))))
        rows.append(("all with pneumonia, median", "", "", "", *(f"{value:.1f}" for value in middle)))
    columns: tuple[str, ...] = ("Image", "Probability", "The source model's", "Source model")
    if images is not None:
        columns += ("Mean gray", "Standard deviation of gray")
    caption = "Failure analysis: images with pneumonia that were missed, by index in the split, from 0"
    return Table("failures", caption, columns, tuple(rows))


def _gray(images: Split | None, index: int) -> tuple[str, ...]:
    if images is None:
        return ()
    return f"{images.images[index].mean():.1f}", f"{images.images[index].std():.1f}"


def sections(reports: Sequence[Report]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Terms that a reader of a regulator's file looks for, and what is true of each."""
    least, data = reports[0].policy.settings.min_sensitivity, reports[0].data
    m, most = reports[0].source.metrics, data.pneumonia - least_count(least, data.pneumonia)
    return (
        (
            f"Rationale for a sensitivity of {least:g}",
            (
                f"A bound of the policy, fixed before anything was judged: {most} of {data.pneumonia} images "
                "with pneumonia may be missed at most. A missed pneumonia weighs more than a false alarm, "
                "which a clinician's look resolves.",
                "Not done: it was not derived from a study of harms, costs or the use of the answers.",
            ),
        ),
        (
            "Rationale for the threshold",
            (
                *dict.fromkeys(f"{r.threshold:.6f}: {r.threshold_origin}." for r in reports),
                f"Its price at the source model: {alarms_text(m.fp)} of {m.tn + m.fp} without pneumonia.",
                "Not done: no threshold was set for another place, device or share of ill patients.",
            ),
        ),
        (
            "Failure analysis",
            (
                "Missed images are listed with each artifact, with what the source model says of them.",
                "Not done: no radiologist looked at the missed images again, and the data have no age, "
                "sex, device or severity to group them by.",
            ),
        ),
        (
            "Monitoring",
            (
                "Not done: no artifact was watched in use. Nothing reports back; a site must compare answers "
                "with what became of the patients itself.",
            ),
        ),
        (
            "Cybersecurity",
            (
                "Conversion, judgement and screening need no network but for a download that a user asks "
                "for, and send nothing. Artifact and report name each other by SHA-256, and a bundle can be "
                "signed.",
                "Not done: no penetration test, and no scan of the software listed here for known "
                "vulnerabilities, is part of this report.",
            ),
        ),
        (
            "Software of unknown provenance",
            ("Listed below with versions. Not done: no list of its known anomalies was evaluated.",),
        ),
        ("Clinical evaluation", ("Not done: no patient was examined with it, no reader study was made.",)),
    )


GMLP = (
    ("1 Multi-disciplinary expertise through the life cycle", "Not available."),
    (
        "2 Good software engineering and security practices",
        "In part: Cybersecurity, and the list of software with versions. Not audited.",
    ),
    (
        "3 Participants and data sets represent the intended patients",
        "Not available beyond what Limits say of the data; no subgroup was looked at.",
    ),
    (
        "4 Training data sets are independent of test sets",
        "In part: splits and calibration images have digests under How it was made; what the source model "
        "was trained on, and had seen of the test split, is the word of its card.",
    ),
    ("5 Reference data sets are based on best available methods", "How it was made: Reference standard."),
    (
        "6 The model suits the available data and the intended use",
        "How it was made: Intended; What its model card says. No more is available.",
    ),
    ("7 Performance of the team of human and model", "Not available: no reader study was made."),
    (
        "8 Testing in clinically relevant conditions",
        "Not available: stored images were judged, none was taken at a clinic with it.",
    ),
    ("9 Users get clear, essential information", "This report, and the pages of a bundle."),
    ("10 Deployed models are monitored, retraining is managed", "Not available: see Monitoring."),
)
"""Good machine learning practice: the ten principles in short (FDA, Health Canada and MHRA, October 2021)."""


def evidence_table() -> Table:
    """Each principle of good machine learning practice, and where in a report its evidence stands."""
    caption = "Good machine learning practice (FDA, Health Canada, MHRA 2021): principle and evidence"
    return Table("gmlp", caption, ("Principle", "Evidence"), GMLP)


def _answers(report: Report) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Labels and the artifact's probabilities, each float64 of shape (n,)."""
    return np.array(report.predictions.labels, float), np.array(report.predictions.artifact, float)
