"""From a baseline to the optimized model, step by step, and training: fine-tuning and distillation."""

if __name__ != "udacimed_edge.optimization":
    raise ImportError(f"import udacimed_edge.optimization, not {__name__}")
