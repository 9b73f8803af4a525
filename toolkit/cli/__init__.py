"""The command line: parse, call, show."""

if __name__ != "udacimed_edge.cli":
    raise ImportError(f"import udacimed_edge.cli, not {__name__}")
