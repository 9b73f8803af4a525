"""The verbs: convert, validate, package, verify, and what they share."""

if __name__ != "udacimed_edge.workflow":
    raise ImportError(f"import udacimed_edge.workflow, not {__name__}")
