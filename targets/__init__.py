"""Devices and the offline bundles made for them."""

if __name__ != "udacimed_edge.targets":
    raise ImportError(f"import udacimed_edge.targets, not {__name__}")
