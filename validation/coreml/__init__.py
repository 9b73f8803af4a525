"""Executes Core ML programs where Core ML is not."""

if __name__ != "udacimed_edge.validation.coreml":
    raise ImportError(f"import udacimed_edge.validation.coreml, not {__name__}")
