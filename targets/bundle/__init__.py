"""What a clinic is given: writing it, and looking into it."""

if __name__ != "udacimed_edge.targets.bundle":
    raise ImportError(f"import udacimed_edge.targets.bundle, not {__name__}")
