"""What tests of several folders share besides fixtures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from udacimed_edge.core.data import open_data
from udacimed_edge.runtime.contract import Predictor
from udacimed_edge.validation.judging import evaluate as evaluation
from udacimed_edge.validation.judging.audit import ComputeCost
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.workflow.plan import Item

LENIENT = PolicySettings(
    min_sensitivity=0, min_specificity=0, max_specificity_drop=1, max_auc_drop=1, min_agreement=0
)
"""Bounds that anything satisfies: for tests of everything but the policy."""

FP32 = (Item("ort", "fp32"),)


def silent(event: object) -> None:
    """Nobody watches."""


def make_up(
    monkeypatch: pytest.MonkeyPatch, counted: dict[str, int], predictor: Predictor | None = None
) -> None:
    """Judge made-up artifacts: any file has so many weights and operations of each type.

    Args:
        monkeypatch: Undoes it.
        counted: Weight elements by type; the multiply-accumulates are the same.
        predictor: What any file answers; None where nothing is executed.
    """
    monkeypatch.setattr(evaluation, "weight_dtypes", lambda path: counted)
    monkeypatch.setattr(evaluation, "count_macs", lambda path: ComputeCost({}, counted))
    if predictor is not None:
        monkeypatch.setattr(evaluation, "open_predictor", lambda path, threads: predictor)


def write_synthetic(path: Path, train: int, validation: int, test: int) -> Path:
    """Write a MedMNIST file of so many synthetic images in each split."""
    drawn = open_data("synthetic").read("train")
    ends = np.cumsum([train, validation, test])
    arrays = {}
    for name, stop, count in zip(("train", "val", "test"), ends, (train, validation, test), strict=True):
        arrays[f"{name}_images"] = drawn.images[stop - count : stop]
        arrays[f"{name}_labels"] = drawn.labels[stop - count : stop, None]
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def load_script(path: Path) -> ModuleType:
    """A script as a module; its name stays known, for dataclasses and for pickle."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
