"""What a bundle is made from: a device, a passing report, and what was found while it was packaged.

Everything that the pages and lists of a bundle say comes from here, so that whoever has the same can write
them again and compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from udacimed_edge.core.artifact import Precision
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.targets.devices.profile import DeviceProfile, Target
from udacimed_edge.validation.report import Report

__all__ = ["REHEARSAL", "BundleSpec", "marked"]

REHEARSAL = "REHEARSAL, no evidence: judged on synthetic images, no patient is in them. NOT FOR ANY PATIENT."
"""The first words on every page of a bundle whose artifact passed a rehearsal only."""


def marked(report: Report, text: str) -> str:
    """The text, after the word REHEARSAL where the report is of one."""
    return f"{REHEARSAL} {text}" if report.rehearsal else text


@dataclass(frozen=True)
class BundleSpec:
    """What a bundle is made from.

    Attributes:
        profile: The device.
        report: The artifact's, which has passed.
        artifact: Name of the artifact's file or folder; of several files the one that is opened.
        summary: What the artifact found and missed, in a sentence for a clinician.
        executor: What computed the self-test's answers.
        signed: Whether the bundle is signed where it is packaged.
        budgets: By budget, what was checked and where.
        toolkit_version: The version of udacimed-edge that packages.
        contact: Name and telephone of the person to call; empty for a line to be filled in by hand.
    """

    profile: DeviceProfile
    report: Report
    artifact: str
    summary: str
    executor: str
    signed: bool
    budgets: Mapping[str, str]
    toolkit_version: str
    contact: str = ""

    @property
    def name(self) -> str:
        """What the bundle's folder is called."""
        return f"{self.profile.name}-{self.format}-{self.precision}"

    @property
    def format(self) -> Target:
        """The artifact's; that the device takes it was checked."""
        return self.report.artifact.format

    @property
    def precision(self) -> Precision:
        """The precision that the artifact has."""
        return cast("Precision", self.report.artifact.precision)

    @property
    def rehearsal(self) -> bool:
        """True where no patient is in the data that judged."""
        return self.report.rehearsal

    @property
    def created(self) -> str:
        """When the artifact was judged: the same inputs give the same bundle."""
        return self.report.created

    @property
    def artifact_digest(self) -> str:
        """As in the report."""
        return self.report.artifact.digest

    @property
    def threshold(self) -> float:
        """The decision is pneumonia where its probability is at least this."""
        return self.report.threshold

    @property
    def notice(self) -> str:
        """The limit of use, in one line."""
        return Contract.notice
