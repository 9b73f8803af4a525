"""The commands, one module per family: parse, call, print. Nothing else prints."""

if __name__ != "udacimed_edge.commands":
    raise ImportError(f"import udacimed_edge.commands, not {__name__}")
