"""Judging an artifact from its own bytes: metrics, policy, report."""

if __name__ != "udacimed_edge.validation":
    raise ImportError(f"import udacimed_edge.validation, not {__name__}")
