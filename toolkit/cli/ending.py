"""How convert and validate end: what did not pass and why, and the exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from udacimed_edge.core.errors import GateRefusedError, StatedError

if TYPE_CHECKING:
    from rich.console import Console

    from udacimed_edge.workflow.plan import ItemResult

__all__ = ["explain", "leave"]


def explain(results: list[ItemResult], console: Console) -> None:
    """Why an item did not pass, and what to do."""
    for result in results:
        if result.error is not None:
            console.print(f"{result.item}: {result.error}", markup=False, highlight=False, soft_wrap=True)
        elif result.report is not None and result.report.verdict != "PASS":
            text = f"{result.item}: {result.report.verdict}: {result.report.reason}"
            console.print(f"{text}{_whereabouts(result)}", markup=False, soft_wrap=True)


def _whereabouts(result: ItemResult) -> str:
    """Where an artifact that did not pass lies, and whether an earlier one that did is still there."""
    if result.artifact is None:
        return ""
    folder = result.artifact.parent
    earlier = folder.parent.parent / folder.name
    still = f"; {earlier} still holds an earlier artifact" if earlier.exists() and earlier != folder else ""
    return f"; it is in {folder}{still}"


def leave(results: list[ItemResult]) -> None:
    """Exit with the first error's code, the gate's, or that of a verdict on somebody's word; else return."""
    errors = [result.error for result in results if result.error]
    if errors:
        sys.exit(errors[0].exit_code)
    if any(result.report and result.report.verdict != "PASS" for result in results):
        sys.exit(GateRefusedError.exit_code)
    if any(result.report and result.report.stated for result in results):
        sys.exit(StatedError.exit_code)
