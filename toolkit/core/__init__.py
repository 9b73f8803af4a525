"""What everything else stands on: errors, files, data, machine, formats."""

if __name__ != "udacimed_edge.core":
    raise ImportError(f"import udacimed_edge.core, not {__name__}")
