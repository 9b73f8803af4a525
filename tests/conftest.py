"""Fixtures that several folders share."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from udacimed_edge.core.data import ENVIRONMENT_VARIABLE, DataSet, open_data

if TYPE_CHECKING:
    import torch


LEFT_OUT = tuple(name for name in ("torch", "medmnist") if importlib.util.find_spec(name) is None)
"""What examples/python313.py leaves out; nothing in a whole environment."""


def _skip_or_fail(report: pytest.TestReport | pytest.CollectReport, path: Path) -> None:
    """Make a failure for want of torch a skip and, with REQUIRE_ALL=1, a skip a failure."""
    said = report.longreprtext + report.capstdout + report.capstderr
    absent = [name for name in LEFT_OUT if f"No module named '{name}'" in said]
    if report.failed and absent:
        report.outcome = "skipped"
        report.longrepr = (str(path), 0, f"Skipped: {absent[0]} is not installed here")
    if report.skipped and os.environ.get("REQUIRE_ALL") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL is set, and this was not checked. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at the outcome of a test."""
    report = yield
    _skip_or_fail(report, item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at the outcome of reading a test module."""
    report = yield
    _skip_or_fail(report, collector.path)
    return report


@pytest.fixture(scope="session")
def real_data() -> DataSet:
    """Real radiographs, where the environment names them."""
    choice = os.environ.get(ENVIRONMENT_VARIABLE)
    if not choice:
        pytest.skip(f"clinical test: set {ENVIRONMENT_VARIABLE} to a PneumoniaMNIST .npz file")
    return open_data(choice)


@pytest.fixture(scope="module")
def one_thread() -> Generator[None, None, None]:
    """Let PyTorch compute in one thread: those that wait for a busy core cost more than they bring."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def small_network() -> torch.nn.Module:
    """A small network with the operators of a ResNet, raw pixels to two logits; its answers mean nothing."""
    import torch
    from torch import nn

    class Small(nn.Module):
        """Normalisation, strided convolution, batch norm, pooling, a residual sum and a linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(1, 8, 5, 2, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
            )
            self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.head = nn.Linear(8, 2)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            features = self.stem(pixels * (1 / 127.5) - 1.0)
            result: torch.Tensor = self.head(self.pool(features + self.block(features)).flatten(1))
            return result

    torch.manual_seed(0)
    network = Small().eval().requires_grad_(False)
    radiographs = torch.from_numpy(open_data("synthetic").read("train").images[:64, None].astype(np.float32))
    logits = network(radiographs)
    network.head.weight *= 1.5 / (logits[:, 1] - logits[:, 0]).std()  # answers over the whole of 0..1
    network.head.bias -= network(radiographs).mean(0)
    return network


@pytest.fixture(scope="session")
def small_program(small_network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network as a saved exported program for any batch."""
    import torch

    batch = torch.export.Dim("batch", min=1, max=4096)
    example = (torch.zeros(2, 1, 64, 64),)
    path = tmp_path_factory.mktemp("program") / "program.pt2"
    torch.export.save(torch.export.export(small_network, example, dynamic_shapes=({0: batch},)), path)
    return path


@pytest.fixture(scope="session")
def small_answers(small_network: torch.nn.Module) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """What PyTorch answers with the small network: the probability of pneumonia for images (n, 64, 64)."""
    import torch

    from udacimed_edge.runtime.contract import probability_of_pneumonia

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return probability_of_pneumonia(
            small_network(torch.from_numpy(images[:, None].astype(np.float32))).numpy()
        )

    return answer
