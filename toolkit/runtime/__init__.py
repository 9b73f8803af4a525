"""What ships to the device: reads an artifact and screens an image.

Standard library, numpy, Pillow and one inference runtime; nothing else of the toolkit. The code that
reads an artifact here is the code that read it in validation.
"""

if __name__ != "udacimed_edge.runtime":
    raise ImportError(f"import udacimed_edge.runtime, not {__name__}")
