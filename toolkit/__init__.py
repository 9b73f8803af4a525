"""Pneumonia classifier to edge devices, each artifact proved from its own bytes.

The folders `toolkit`, `converters`, `targets` and `validation` are installed as the one package
`udacimed_edge`: a top-level package named `validation` could be replaced by a file of that name in a
user's working directory, and the gate with it.
"""

if __name__ != "udacimed_edge":
    raise ImportError(f"import udacimed_edge, not {__name__}: install the project with `pip install -e .`")

__version__ = "0.2.0"
