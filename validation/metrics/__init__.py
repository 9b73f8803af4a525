"""Figures: what answers are worth, and how sure that is."""

if __name__ != "udacimed_edge.validation.metrics":
    raise ImportError(f"import udacimed_edge.validation.metrics, not {__name__}")
