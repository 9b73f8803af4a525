"""What the pages and lists of a bundle say about its artifact; whoever packages takes it from the report."""

from __future__ import annotations

from dataclasses import dataclass

from udacimed_edge.core.artifact import Precision
from udacimed_edge.targets.devices.profile import Target

__all__ = ["REHEARSAL", "DataFacts", "Facts", "Figure"]

REHEARSAL = "REHEARSAL, no evidence: judged on synthetic images, no patient is in them. NOT FOR ANY PATIENT."
"""The first words on every page of a bundle whose artifact passed a rehearsal only."""


@dataclass(frozen=True)
class Figure:
    """A measured figure with its exact 95 % interval, all 0..1; None where there is no interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DataFacts:
    """Images that judged or calibrated the artifact: a name, the SHA-256 of pixels and labels, and words."""

    name: str
    digest: str
    description: str


@dataclass(frozen=True)
class Facts:
    """What is known about an artifact.

    Attributes:
        title: The report's.
        rehearsal: True where no patient is in the data that judged.
        created: When it was judged, UTC, ISO 8601.
        toolkit_version: The version of udacimed-edge that packages.
        format: Its format.
        precision: Its precision.
        artifact: Name of its file or folder; of several files the one that is opened.
        artifact_digest: As in the report.
        input: What goes in, in words.
        output: What comes out, in words.
        source_name: The model it was made from.
        source_digest: SHA-256 of that model's file.
        threshold: The decision is pneumonia where its probability is at least this.
        threshold_origin: Where the threshold comes from.
        policy_digest: Of the policy's bounds.
        report_digest: The report's own digest.
        summary: What it found and missed, in a sentence for a clinician.
        figures: What was measured on the test split.
        datasets: The images it was judged and calibrated on.
        limits: What no figure shows.
        notice: The limit of use, in one line.
        processor_difference: Largest difference in probability that the report measured on another
            processor; 0 where it measured none.
    """

    title: str
    rehearsal: bool
    created: str
    toolkit_version: str
    format: Target
    precision: Precision
    artifact: str
    artifact_digest: str
    input: str
    output: str
    source_name: str
    source_digest: str
    threshold: float
    threshold_origin: str
    policy_digest: str
    report_digest: str
    summary: str
    figures: tuple[Figure, ...]
    datasets: tuple[DataFacts, ...]
    limits: tuple[str, ...]
    notice: str
    processor_difference: float = 0.0

    @property
    def marked_notice(self) -> str:
        """The limit of use, after the word REHEARSAL where it was one."""
        return f"{REHEARSAL} {self.notice}" if self.rehearsal else self.notice
