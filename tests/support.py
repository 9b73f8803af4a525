"""What tests of several folders share besides fixtures."""

from __future__ import annotations

from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.workflow.plan import Item

LENIENT = PolicySettings(
    min_sensitivity=0, min_specificity=0, max_specificity_drop=1, max_auc_drop=1, min_agreement=0
)
"""Bounds that anything satisfies: for tests of everything but the policy."""

FP32 = (Item("ort", "fp32"),)


def silent(event: object) -> None:
    """Nobody watches."""
