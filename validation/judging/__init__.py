"""Executes artifacts and asks the policy."""

if __name__ != "udacimed_edge.validation.judging":
    raise ImportError(f"import udacimed_edge.validation.judging, not {__name__}")
