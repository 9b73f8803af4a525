"""The MIL operations of networks beyond ResNet: a package made of them answers as PyTorch does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import run
from udacimed_edge.runtime.contract import Contract, probability_of_pneumonia
from udacimed_edge.validation.coreml.executor import open_artifact

pytest.importorskip("coremltools")

CONTRACT = Contract(
    format="coreml",
    precision="fp32",
    threshold=0.5,
    threshold_origin="a test",
    source_name="by hand",
    source_digest="0" * 64,
    calibration_digest=None,
    toolkit_version="0",
)


class Net(nn.Module):
    """A convolution, what a test puts behind it, and a mean of each channel."""

    def __init__(self, between: Callable[[nn.Module, Tensor], Tensor]) -> None:
        """Build it with random weights."""
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.between = nn.Conv2d(1, 8, 8, stride=8), nn.Linear(8, 2), between
        self.group, self.instance, self.prelu = nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.PReLU(8)
        self.layer, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 of shape (n, 1, 64, 64), values 0..255, to logits of shape (n, 2)."""
        logits: Tensor = self.fc(self.between(self, self.conv(x / 255 - 0.5)).mean((2, 3)))
        return logits


def gate(m: nn.Module, x: Tensor) -> Tensor:
    """Halves, and what activates them."""
    a, b = x.chunk(2, 1)
    joined = torch.cat(
        [functional.gelu(a) * functional.mish(b), functional.elu(a) + functional.softplus(b)], 1
    )
    return functional.leaky_relu(joined, 0.2) + functional.relu6(x) * functional.hardswish(x).tanh()


def normed(m: nn.Module, x: Tensor) -> Tensor:
    """Three norms and a slope."""
    last = m.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return m.group(x) * x + m.instance(x) * last + m.prelu(x)


def resized(m: nn.Module, x: Tensor) -> Tensor:
    """Larger, by interpolation; then cut and padded."""
    larger = functional.interpolate(x, size=(28, 28), mode="bilinear", align_corners=False)
    nearest = functional.interpolate(x, scale_factor=2.0, mode="nearest")
    cut = larger[:, :, 2:18, 2:18] + functional.pad(nearest[..., 2:], (1, 1, 0, 0))
    cut = functional.max_pool2d(cut[..., ::2], 3, 2, ceil_mode=True)
    return cut.square() + cut.abs().sqrt()


def attended(m: nn.Module, x: Tensor) -> Tensor:
    """Attention over the patches."""
    patches = x.flatten(2).transpose(1, 2)
    answer = m.attention(patches, patches, patches, need_weights=False)[0] + patches
    return answer.transpose(1, 2).reshape(-1, 8, 8, 8)


@pytest.mark.parametrize("between", [gate, normed, resized, attended])
def test_a_package_answers_as_pytorch_does(
    tmp_path: Path, between: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    """Operations of newer networks are executed, not skipped, and give PyTorch's numbers."""
    network = Net(between).eval().requires_grad_(False)
    program = torch.export.export(network, (torch.zeros(1, 1, 64, 64),))
    torch.export.save(program, tmp_path / "program.pt2")
    run(FORMATS["coreml"], tmp_path / "program.pt2", CONTRACT, None, tmp_path / "model.mlpackage")
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64), dtype=np.uint8)
    images //= np.array([1, 2, 4, 8], np.uint8)[:, None, None]  # of four contrasts
    with torch.no_grad():
        logits = torch.cat([network(torch.from_numpy(i.astype(np.float32))[None, None]) for i in images])
    found = open_artifact(tmp_path / "model.mlpackage").predict(images)
    np.testing.assert_allclose(found, probability_of_pneumonia(logits.numpy()), atol=1e-5)
    assert np.ptp(found) > 1e-3
