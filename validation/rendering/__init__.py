"""Reports for people: HTML, Markdown, figures."""

if __name__ != "udacimed_edge.validation.rendering":
    raise ImportError(f"import udacimed_edge.validation.rendering, not {__name__}")
