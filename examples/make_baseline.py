"""Make a baseline to try `udacimed-edge optimize` on: ResNet-18 at 224x224 with three channels.

    python examples/make_baseline.py --data pneumoniamnist_64.npz --out baseline.safetensors

It begins with the reference model's weights, each gray filter spread over three channels, and learns for a
few epochs from enlarged images what has changed. That is quick and stands in for a network trained from
the start on a GPU: its costs are those of such a network, its accuracy need not be.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from udacimed_edge.core.data import open_data
from udacimed_edge.optimization.techniques import BASELINE_SIDE
from udacimed_edge.optimization.trained import REHEARSAL, TRAINED_LIMITS, training_record, write_model
from udacimed_edge.optimization.training import Examples, Recipe, Task, examples, train
from udacimed_edge.source.load import build_resnet18, load_source
from udacimed_edge.source.spec import ModelSpec


class Enlarged(nn.Module):
    """The baseline as training calls it: images 0..1 of shape (n, 1, 64, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = build_resnet18(3)
        self.network.load_state_dict(widened_reference())

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, 2)."""
        large = functional.interpolate(images * 2 - 1, size=(BASELINE_SIDE, BASELINE_SIDE), mode="bilinear")
        logits: Tensor = self.network(large.expand(-1, 3, -1, -1))
        return logits


def widened_reference() -> dict[str, Tensor]:
    """The reference model's weights; each of three equal channels has a third of the gray filter."""
    network = load_source(None).module.get_submodule("network")
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state["conv1.weight"] = (state["conv1.weight"] / 3).repeat(1, 3, 1, 1)
    return state


@click.command()
@click.option("--data", "choice", required=True, help="A MedMNIST .npz file, 'medmnist' or 'synthetic'.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .safetensors to write.")
@click.option("--epochs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--images", type=click.IntRange(1), help="Learn from so many images only; all without it.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(choice: str, out: Path, epochs: int, images: int | None, seed: int) -> None:
    """Train on at 224x224 and write weights and card; the test split stays closed."""
    data = open_data(choice)
    validation = data.read("validation")
    learn = examples(data.read("train"), leave_out=validation.images)
    rows = torch.randperm(len(learn.labels), generator=torch.Generator().manual_seed(seed))[:images]
    learn = Examples(learn.images[rows], learn.labels[rows])
    recipe = Recipe(epochs=epochs, learning_rate=3e-4)
    network = train(Enlarged, Task(learn, examples(validation), recipe, seed), click.echo).network
    card = ModelSpec(
        schema_version=1,
        name=out.stem,
        architecture="torchvision-resnet18",
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        labels=("normal", "pneumonia"),
        limits=[*([REHEARSAL] if data.origin == "synthetic" else []), *TRAINED_LIMITS],
        training={
            **training_record(data, len(learn.labels), seed),
            "begun from": "the reference model, each gray filter spread over three channels",
            "input": f"enlarged to {BASELINE_SIDE}x{BASELINE_SIDE}",
            "epochs": epochs,
        },
    )
    write_model(network, card, out)
    click.echo(f"{out}\nNext: udacimed-edge optimize {out} --out model.safetensors --data {choice}")


if __name__ == "__main__":
    main()
