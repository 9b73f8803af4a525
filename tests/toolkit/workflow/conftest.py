"""A small model that was converted, for the tests of the verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from support import FP32, LENIENT, silent

from udacimed_edge.core.data import DataSet, open_data
from udacimed_edge.source.load import SourceModel
from udacimed_edge.workflow.convert import convert_all
from udacimed_edge.workflow.plan import ConversionPlan, ItemResult

if TYPE_CHECKING:
    import torch


@pytest.fixture(scope="session")
def data() -> DataSet:
    """The synthetic set."""
    return open_data("synthetic")


@pytest.fixture(scope="session")
def source(
    small_network: torch.nn.Module,
    small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    data: DataSet,
) -> SourceModel:
    """The small network with a threshold that calls 60 % of the normal images normal."""
    test = data.read("test")
    threshold = float(np.quantile(small_answers(test.images[test.labels == 0]), 0.6))
    return SourceModel("small", small_network, "2" * 64, threshold, "chosen for a test", dynamic_batch=True)


@pytest.fixture(scope="session")
def converted(source: SourceModel, data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> ItemResult:
    """The small network as an fp32 ORT artifact that passed."""
    out = tmp_path_factory.mktemp("converted")
    (result,) = convert_all(source, data, ConversionPlan(FP32, out, LENIENT), silent)
    assert result.error is None
    return result
