"""Makes a bundle as small as those in `kept/`: `python tests/targets/make_kept_bundle.py OUT`.

The model is a toy, fitted to the built-in synthetic set, that passes the policy on it: a rehearsal, and no
evidence of anything. OUT/ort-int8 is the artifact, OUT/kept.zip its bundle for a phone, OUT/kept.pub the
key it is signed with. Whoever releases a version copies these two to `kept/VERSION.zip` and
`kept/VERSION.pub`, and leaves those of earlier versions as they are.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from udacimed_edge.core.data import DataSet, Split, open_data
from udacimed_edge.runtime.contract import probability_of_pneumonia
from udacimed_edge.source.load import SourceModel
from udacimed_edge.targets.bundle.signing import generate_key
from udacimed_edge.targets.devices.profile import find_profile
from udacimed_edge.validation.metrics.metrics import highest_threshold
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.workflow.convert import convert_all
from udacimed_edge.workflow.package import PackageRequest, package
from udacimed_edge.workflow.plan import ConversionPlan, Item


class Toy(nn.Module):
    """Eight random filters over tiles of 8x8 pixels, and a linear layer on what they leave."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 8, 8), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(512, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float (n, 1, 64, 64), values 0..255, to logits (n, 2)."""
        logits: torch.Tensor = self.head(self.features(pixels * (1 / 127.5) - 1.0))
        return logits


def fit(train: Split) -> Toy:
    """The toy with the linear layer that fits the training images best (ridge regression, penalty 1)."""
    torch.manual_seed(0)
    toy = Toy().eval().requires_grad_(False)
    features = toy.features(_pixels(train) * (1 / 127.5) - 1.0).double().numpy()
    with_one = np.column_stack([features, np.ones(len(features))])
    wanted = np.where(train.labels == 1, 2.0, -2.0)
    fitted = torch.from_numpy(
        np.linalg.solve(with_one.T @ with_one + np.eye(with_one.shape[1]), with_one.T @ wanted)
    )
    toy.head.weight.copy_(torch.stack([-fitted[:-1], fitted[:-1]]))
    toy.head.bias.copy_(torch.stack([-fitted[-1], fitted[-1]]))
    return toy


def _pixels(split: Split) -> torch.Tensor:
    return torch.from_numpy(split.images[:, None].astype(np.float32))


def source(data: DataSet) -> SourceModel:
    """The toy with a threshold that finds 99 % on the validation split."""
    toy, validation = fit(data.read("train")), data.read("validation")
    answers = probability_of_pneumonia(toy(_pixels(validation)).numpy())
    threshold = highest_threshold(validation.labels, answers, 0.99)
    digest = hashlib.sha256(b"".join(p.numpy().tobytes() for p in toy.parameters())).hexdigest()
    return SourceModel(
        "toy", toy, digest, threshold, "validation split, sensitivity 0.99", dynamic_batch=True
    )


def main(out: Path) -> None:
    """Convert, judge and package."""
    data = open_data("synthetic")
    plan = ConversionPlan((Item("ort", "int8"),), out, PolicySettings())
    (result,) = convert_all(source(data), data, plan, lambda event: None)
    if result.artifact is None:
        raise SystemExit(str(result.error))
    key = out / "kept.key"
    generate_key(key, out / "kept.pub")
    made = package(
        result.artifact, PackageRequest(find_profile("android-phone"), out, rehearsal=True, key=key)
    )
    shutil.copyfile(made.archive, out / "kept.zip")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
