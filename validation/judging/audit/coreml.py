"""Counts what a Core ML package holds: its MIL program, as our executor reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from udacimed_edge.validation.coreml import executor
from udacimed_edge.validation.coreml.executor import weight_dtypes
from udacimed_edge.validation.judging.audit.base import Operation, convolution_macs

__all__ = ["operations", "weight_dtypes"]


def operations(path: Path) -> Iterator[Operation]:
    """Each operation that computes numbers."""
    for kind, dtype, inputs, output in executor.operations(path):
        if kind == "classify":  # labels, and no number is computed
            continue
        count = 0
        if kind == "conv":
            count = convolution_macs(inputs[1], output, output[1])
        elif kind in {"linear", "matmul"}:
            count = math.prod(output) * inputs[0][-1]
        yield Operation(kind, dtype, count)
