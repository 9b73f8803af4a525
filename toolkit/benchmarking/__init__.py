"""How fast artifacts are, measured in turn: rounds, one process each, scores, peaks, what is shown."""

if __name__ != "udacimed_edge.benchmarking":
    raise ImportError(f"import udacimed_edge.benchmarking, not {__name__}")
