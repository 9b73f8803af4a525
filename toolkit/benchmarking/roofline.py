"""The rate a processor reaches through a runtime: a dense network, converted and run as artifacts are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from udacimed_edge import __version__
from udacimed_edge.benchmarking.rounds import ArtifactMeasurement
from udacimed_edge.benchmarking.worker import BenchmarkSubject
from udacimed_edge.converters.base import Quantization, run
from udacimed_edge.converters.calibration import calibration_images
from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.data import open_data
from udacimed_edge.runtime.contract import Contract
from udacimed_edge.runtime.formats import FORMATS, SUFFIXES

if TYPE_CHECKING:
    import torch

__all__ = ["Share", "make_kernels", "share_of_peak"]

_PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")

CHANNELS, LAYERS = 256, 4
"""3x3 convolutions over 16x16 positions: each output takes 2304 multiply-accumulates, and the weights of a
layer fit the second-level cache in int8."""


@dataclass(frozen=True)
class Share:
    """What part of the dense network's rate an artifact reaches in the same runtime and precision.

    Attributes:
        name: Of the artifact.
        peak_gmacs: The dense network's rate at its best batch, in 10^9 multiply-accumulates per second.
        gmacs: The artifact's.
    """

    name: str
    peak_gmacs: float
    gmacs: float

    @property
    def share(self) -> float:
        """0..1; above 1 where the artifact's own layers suit the runtime better than the dense ones."""
        return self.gmacs / self.peak_gmacs


def make_kernels(subjects: Iterable[BenchmarkSubject], folder: Path) -> tuple[list[BenchmarkSubject], int]:
    """Convert the dense network to int8 and fp32 for each format, by the converters that make artifacts.

    Args:
        subjects: The artifacts whose formats these are.
        folder: Where they go.

    Returns:
        One subject each, named "peak <format>-<precision>", and the multiply-accumulates of one image.

    Raises:
        EdgeError: A library is not installed, or a converter failed.
    """
    import torch

    from udacimed_edge.optimization.measure import flops

    network = _dense()
    example, program = torch.zeros(2, 1, 64, 64), folder / "program.pt2"
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), program)
    formats = {SUFFIXES[subject.path.suffix]: subject.threads for subject in subjects}
    kernels = [
        BenchmarkSubject(_name(f"{target}-{precision}"), _convert(target, precision, program), threads)
        for target, threads in formats.items()
        for precision in _PRECISIONS
        if target in FORMATS and precision in FORMATS[target].precisions
    ]
    return kernels, flops(network, example[:1]) // 2


def _convert(target: str, precision: Precision, program: Path) -> Path:
    row, name = FORMATS[target], _name(f"{target}-{precision}")
    out = program.parent / name / f"model{row.suffix}"
    out.parent.mkdir()
    contract = Contract(target, precision, 0.5, "none", name, "", None, __version__)
    run(row, program, contract, _quantization(target) if precision == "int8" else None, out)
    return out


def _quantization(target: str) -> Quantization:
    data = open_data("synthetic")
    calibration = calibration_images(data.read("train"))
    return Quantization(FORMATS[target].recipes[0], calibration, data.read("validation"))


def _dense() -> torch.nn.Module:
    """Pixels spread to many channels, dense convolutions, two logits; its answers mean nothing."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, CHANNELS, 4, 4)]
    for _ in range(LAYERS):
        layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 2)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def share_of_peak(measurements: Sequence[ArtifactMeasurement], kernel_macs: int) -> list[Share]:
    """The dense networks' rates, and each artifact's share where its multiply-accumulates are known.

    Args:
        measurements: Artifacts and the subjects from `make_kernels`, measured in the same rounds.
        kernel_macs: Multiply-accumulates of the dense network.
    """
    rates = {m.subject.name: _gmacs(m, kernel_macs) for m in measurements if m.subject.name == _name(m.kind)}
    shares = [Share(name, rate, rate) for name, rate in rates.items()]
    for m in measurements:
        if m.macs and m.subject.name not in rates and _name(m.kind) in rates:
            shares.append(Share(m.subject.name, rates[_name(m.kind)], _gmacs(m, m.macs)))
    return shares


def _gmacs(measurement: ArtifactMeasurement, macs: int) -> float:
    """10^9 multiply-accumulates per second at the best batch."""
    return measurement.best[1].median * macs / 1e9


def _name(kind: str) -> str:
    return f"peak {kind}"
