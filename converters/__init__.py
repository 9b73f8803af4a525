"""Source model to artifact bytes, one module per format, of the format's name."""

if __name__ != "udacimed_edge.converters":
    raise ImportError(f"import udacimed_edge.converters, not {__name__}")

from udacimed_edge.runtime.formats import FORMATS

__all__ = ["FORMATS"]
