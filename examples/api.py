"""From an nn.Module to a verified bundle, from Python: what a training script would end with.

    python examples/api.py OUT

A rehearsal: a small network learns the built-in synthetic set in seconds, so nothing here is evidence of
anything. For a model of your own name real radiographs (`data="pneumoniamnist_64.npz"`) and leave
`rehearsal=True` out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import udacimed_edge as edge

MEAN, STD = 0.5, 0.25


class SmallNet(nn.Module):
    """Gray images of 64x64, normalised, to two logits: normal, pneumonia."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(8 * 8 * 8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float32 of shape (n, 1, 64, 64) to float32 of shape (n, 2)."""
        logits: torch.Tensor = self.head(self.features(images))
        return logits


def train(data: edge.DataSet) -> SmallNet:
    """A network that has learned the training split."""
    torch.manual_seed(0)
    network, split = SmallNet(), data.read("train")
    images = (torch.from_numpy(split.images)[:, None].float() / 255 - MEAN) / STD
    labels = torch.from_numpy(split.labels).long()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not say its type
        optimizer.step()
    return network


def make_bundle(out: Path) -> edge.Package:
    """Train, convert, look at the proof, and package."""
    data = edge.open_data("synthetic")
    # nothing is guessed: normalisation and labels are stated, the validation split sets the threshold
    model = edge.load_model(train(data), mean=MEAN, std=STD, labels=("normal", "pneumonia"))
    (artifact,) = edge.convert(model, target="ort", precision="fp32", data=data, out=out / "artifacts")

    report = edge.validate(artifact, data=data, source=model)
    assert report.verdict == "PASS"
    assert not report.stated

    opened = edge.open_artifact(artifact)
    first = opened.predict(data.read("test").images[:5])
    print("probability of pneumonia:", first.round(3), "threshold:", round(opened.contract.threshold, 3))
    tablet = Path(__file__).with_name("tablet.toml")  # or the name of a device: `udacimed-edge targets`
    return edge.package(artifact, tablet, out=out / "bundles", rehearsal=True)


parser = argparse.ArgumentParser(description="From an nn.Module to a verified bundle.")
parser.add_argument("out", type=Path, help="folder for the results")
bundle = make_bundle(parser.parse_args().out)
checked = edge.verify(bundle)
print(f"{bundle.archive}: {len(checked.checks)} checks, origin proven: {checked.origin_proven}")
