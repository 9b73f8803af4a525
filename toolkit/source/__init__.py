"""A file or a module of PyTorch to one module that takes raw pixels."""

if __name__ != "udacimed_edge.source":
    raise ImportError(f"import udacimed_edge.source, not {__name__}")
