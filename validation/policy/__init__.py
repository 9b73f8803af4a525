"""What must hold: clauses, and the policies made of them."""

if __name__ != "udacimed_edge.validation.policy":
    raise ImportError(f"import udacimed_edge.validation.policy, not {__name__}")
