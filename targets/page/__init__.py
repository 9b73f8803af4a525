"""The page a clinic can open: one offline HTML file with the model, its runtime and its self-test inside."""

if __name__ != "udacimed_edge.targets.page":
    raise ImportError(f"import udacimed_edge.targets.page, not {__name__}")
