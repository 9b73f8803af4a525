"""How convert and validate end: what did not pass and why, and the exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from udacimed_edge.workflow.plan import ItemResult

__all__ = ["explain", "leave"]


def explain(results: Sequence[ItemResult], console: Console) -> None:
    """Why an item did not pass, and what to do."""
    from udacimed_edge.workflow.plan import explanation

    for text in filter(None, map(explanation, results)):
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def leave(results: Sequence[ItemResult]) -> None:
    """Exit with the code of what these results end in; return where all is well."""
    from udacimed_edge.workflow.plan import error_of

    error = error_of(results)
    if error is not None:
        sys.exit(error.exit_code)
