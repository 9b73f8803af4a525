"""Which networks, as which files, become artifacts that answer as they do: the table of docs/your-model.md.

    python examples/model_table.py --out table.json            # resumes where it was interrupted
    python examples/model_table.py --out table.json --first 5  # the smallest five
    python examples/model_table.py --out table.json --show     # as Markdown

Each network is untrained: what counts is that the artifact of each format, read back from its bytes, agrees
with the network's own outputs in PyTorch, on 32 seeded images. The last layer is scaled so that the answers
spread, and the threshold is their median, where agreement is hardest. Nothing here is judged clinically.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from udacimed_edge import __version__
from udacimed_edge.converters import FORMATS
from udacimed_edge.converters.base import run
from udacimed_edge.core.errors import EdgeError
from udacimed_edge.core.extras import import_torchvision
from udacimed_edge.core.files import write_atomic
from udacimed_edge.runtime.contract import Contract, probability_of_pneumonia
from udacimed_edge.source.load import SourceModel, SourceOptions, load_source
from udacimed_edge.validation.judging.evaluate import open_predictor

IMAGES, SPREAD, LEAST_SQNR_DB = 32, 0.05, 30.0
"""How many; the least standard deviation of probabilities; the least signal over noise of fp32, in dB."""


@dataclass(frozen=True)
class Row:
    """A network as one file.

    Attributes:
        network: Its name: of torchvision, or "timm/..." where timm is installed.
        file: "legacy" and "dynamo" are PyTorch's two ONNX exporters, "program" is a .pt2.
        opset: Of ONNX; 0 for a program.
        channels: Of its input.
    """

    network: str
    file: str
    opset: int
    channels: int

    def __str__(self) -> str:
        """The row's key."""
        return f"{self.network}, {self.file} {self.opset or ''}".strip() + f", {self.channels} ch."


ROWS = (
    Row("squeezenet1_1", "legacy", 11, 1),
    Row("shufflenet_v2_x0_5", "legacy", 13, 1),
    Row("mobilenet_v3_small", "legacy", 17, 1),
    Row("mnasnet0_5", "legacy", 17, 3),
    Row("shufflenet_v2_x0_5", "dynamo", 18, 3),
    Row("squeezenet1_1", "dynamo", 20, 1),
    Row("mobilenet_v3_small", "dynamo", 23, 1),
    Row("mobilenet_v3_small", "program", 0, 3),
    Row("mobilenet_v2", "legacy", 12, 3),
    Row("mobilenet_v2", "dynamo", 24, 1),
    Row("mobilenet_v2", "program", 0, 1),
    Row("efficientnet_b0", "legacy", 17, 3),
    Row("efficientnet_b0", "dynamo", 20, 1),
    Row("regnet_y_400mf", "legacy", 14, 3),
    Row("regnet_y_400mf", "dynamo", 22, 1),
    Row("resnet18", "legacy", 11, 1),
    Row("resnet18", "legacy", 17, 3),
    Row("resnet18", "dynamo", 21, 1),
    Row("resnet18", "program", 0, 1),
    Row("resnet34", "legacy", 16, 1),
    Row("resnet50", "legacy", 17, 3),
    Row("resnet50", "dynamo", 18, 1),
    Row("densenet121", "legacy", 17, 3),
    Row("densenet121", "dynamo", 19, 1),
    Row("mnasnet1_0", "dynamo", 18, 1),
    Row("mobilenet_v3_large", "legacy", 15, 3),
    Row("shufflenet_v2_x1_0", "program", 0, 1),
    Row("convnext_tiny", "legacy", 17, 3),
    Row("convnext_tiny", "dynamo", 20, 3),
    Row("efficientnet_v2_s", "legacy", 17, 3),
    Row("timm/vit_tiny_patch16_224", "legacy", 17, 3),
    Row("timm/repvgg_a0", "legacy", 17, 3),
)


class Spread(nn.Module):
    """A network whose two outputs are scaled so that their probabilities spread."""

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            answers = network(images)
        self.register_buffer("middle", answers.mean(0, keepdim=True))
        self.register_buffer("scale", 1.5 / answers.sub(answers.mean(0)).std().clamp(min=1e-12).reshape(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Float32 images to logits of shape (n, 2)."""
        logits: Tensor = (self.network(x) - self.middle) * self.scale
        return logits


def pictures() -> NDArray[np.uint8]:
    """Seeded pictures that differ: coarse noise of many contrasts; uint8 of shape (32, 64, 64)."""
    draw = np.random.default_rng(0)
    coarse = draw.random((IMAGES, 8, 8)).repeat(8, 1).repeat(8, 2) * draw.random((IMAGES, 1, 1))
    return (255 * np.clip(coarse + 0.2 * draw.random((IMAGES, 64, 64)), 0, 1)).astype(np.uint8)


def network_of(row: Row) -> nn.Module:
    """The network with seeded weights, its batch norms with statistics of the pictures."""
    torch.manual_seed(0)
    if row.network.startswith("timm/"):
        import timm

        name, extra = row.network.removeprefix("timm/"), {"img_size": 64} if "vit" in row.network else {}
        network = timm.create_model(name, num_classes=2, in_chans=row.channels, **extra)
    else:
        network = getattr(import_torchvision().models, row.network)(weights=None, num_classes=2)
        if row.channels == 1:
            network = nn.Sequential(nn.Conv2d(1, 3, 1), network)
    images = inputs_of(row)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # else one batch hardly moves them, and images become alike
    with torch.no_grad():
        network.train()(images)
    return Spread(network.eval(), images).eval()


def inputs_of(row: Row) -> Tensor:
    """The pictures as the network takes them."""
    pixels = torch.from_numpy(pictures().astype(np.float32))[:, None] / 255
    return ((pixels - 0.5) / 0.5).repeat(1, row.channels, 1, 1)


def write(row: Row, network: nn.Module, folder: Path) -> Path:
    """The file, with a free batch."""
    image, free = torch.zeros(2, row.channels, 64, 64), ({0: torch.export.Dim.DYNAMIC},)
    if row.file == "program":
        torch.export.save(torch.export.export(network, (image,), dynamic_shapes=free), folder / "model.pt2")
        return folder / "model.pt2"
    how: dict[str, Any] = {"dynamo": True, "dynamic_shapes": free, "verbose": False}
    if row.file == "legacy":
        how = {"dynamo": False, "input_names": ["image"], "dynamic_axes": {"image": {0: "n"}}}
    torch.onnx.export(network, (image,), folder / "model.onnx", opset_version=row.opset, **how)
    return folder / "model.onnx"


def measure(row: Row, formats: tuple[str, ...]) -> dict[str, Any]:
    """Convert a row into each format and compare: what the table shows of it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        network = network_of(row)
        with torch.no_grad():
            own = network(inputs_of(row)).numpy()
        check = folder / "check.npz"
        np.savez(check, images=pictures(), outputs=own)
        options = SourceOptions((0.5,), (0.5,), ("normal", "pneumonia"), check=check)
        try:
            source = load_source(write(row, network, folder), options)
        except EdgeError as error:
            return {"refused": error.message.replace(str(folder), "")}
        scores = probability_of_pneumonia(own)
        found: dict[str, Any] = {"free batch": source.dynamic_batch, "spread": float(scores.std())}
        if scores.std() < SPREAD:
            return {**found, "refused": "its answers do not spread: no evidence"}
        program = folder / "program.pt2"
        torch.export.save(source.program, program)
        for target in formats:
            found[target] = _judged(target, source, program, scores)
    return {**found, "seconds": round(time.monotonic() - started)}


def _judged(target: str, source: SourceModel, program: Path, scores: NDArray[np.float64]) -> dict[str, Any]:
    threshold = float(np.median(scores))
    contract = Contract(
        format=target,
        precision="fp32",
        threshold=threshold,
        threshold_origin="the median of its own outputs",
        source_name=source.name,
        source_digest=source.digest,
        calibration_digest=None,
        toolkit_version=__version__,
    )
    row, out = FORMATS[target], program.with_name(f"model{FORMATS[target].suffix}")
    try:
        run(row, program, contract, None, out)
        predictor = open_predictor(out, threads=1)
        answers = np.concatenate([predictor.predict(image[None]) for image in pictures()])
    except EdgeError as error:
        return {"verdict": "SKIP" if error.exit_code == 8 else "FAIL", "reason": error.message[-200:]}
    signal, noise = np.square(_logit(scores)).sum(), np.square(_logit(scores) - _logit(answers)).sum()
    sqnr = float(10 * np.log10(signal / max(noise, 1e-30)))
    agree = int(((answers >= threshold) == (scores >= threshold)).sum())
    held = np.isfinite(answers).all() and sqnr >= LEAST_SQNR_DB and agree >= IMAGES - 1
    return {"verdict": "PASS" if held else "FAIL", "sqnr_db": round(sqnr, 1), "agree": agree}


def _logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = probabilities.clip(1e-12, 1 - 1e-12)
    result: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return result


def markdown(results: dict[str, dict[str, Any]], formats: tuple[str, ...]) -> str:
    """The table."""
    lines = [f"| network and file | batch | {' | '.join(formats)} |", "|---" * (2 + len(formats)) + "|"]
    for key, found in results.items():
        if "refused" in found:
            lines.append(f"| {key} | | refused: {found['refused']} |" + " |" * (len(formats) - 1))
            continue
        cells = [_cell(found[target]) for target in formats if target in found]
        lines.append(f"| {key} | {'free' if found['free batch'] else '1'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: dict[str, Any]) -> str:
    figures = f"{found['sqnr_db']:.0f} dB, {found['agree']}/{IMAGES}" if "agree" in found else found["reason"]
    return f"{found['verdict']}: {figures}"


def table(
    out: Path, rows: tuple[Row, ...], formats: tuple[str, ...], notify: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Measure the rows that the file does not hold yet; it is written after each."""
    results: dict[str, dict[str, Any]] = json.loads(out.read_text("utf-8")) if out.exists() else {}
    for row in rows:
        if str(row) not in results:
            results[str(row)] = measure(row, formats)
            notify(f"{row}: {results[str(row)]}")
            write_atomic(out, json.dumps(results, indent=1).encode())
    return results


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Results so far, JSON.")
@click.option("--first", type=click.IntRange(1), default=len(ROWS), help="So many rows, the smallest first.")
@click.option("--formats", default="ort,openvino,litert,coreml", show_default=True)
@click.option("--show", is_flag=True, help="Print what the file holds, as Markdown.")
def main(out: Path, first: int, formats: str, show: bool) -> None:
    """Convert many networks, and compare each artifact with its network."""
    chosen = tuple(formats.split(","))
    results = json.loads(out.read_text("utf-8")) if show else table(out, ROWS[:first], chosen, click.echo)
    if show:
        click.echo(markdown(results, chosen))


if __name__ == "__main__":
    main()
