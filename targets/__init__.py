"""Devices, the program that screens on them, and signatures."""

if __name__ != "udacimed_edge.targets":
    raise ImportError(f"import udacimed_edge.targets, not {__name__}")
