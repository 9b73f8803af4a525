"""Devices: profiles and budgets."""

if __name__ != "udacimed_edge.targets.devices":
    raise ImportError(f"import udacimed_edge.targets.devices, not {__name__}")
