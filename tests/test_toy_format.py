"""A new format is one row, one writer, one reader and one audit file: a toy is added to a copy and used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import udacimed_edge
from udacimed_edge.core.data import open_data

ROOT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "dev").is_dir(), reason="no source folders beside the tests"),
]

ROW = """\
        FormatSpec(
            name="toy",
            title="A toy",
            suffix=".toy",
            extra="toy",
            to_convert=("torch",),
            to_execute=("numpy",),
            library="numpy",
            precisions=("fp32",),
            standard=("fp32",),
            processors=("native",),
            words="by one matrix product",
        ),
"""

WRITER = '''\
"""Writes toys: the one matrix that an affine network is, taken from its answers."""

import numpy as np
import torch

from udacimed_edge.runtime.contract import SIDE


def convert(program, contract, quantization, out):
    """Ask for the answers to a black image and to each single pixel."""
    network = torch.export.load(program).module()
    ask = lambda pixels: network(torch.as_tensor(pixels, dtype=torch.float32)).detach().numpy()
    bias = ask(np.zeros((1, 1, SIDE, SIDE)))[0]
    weight = ask(np.eye(SIDE * SIDE).reshape(-1, 1, SIDE, SIDE)) - bias
    with out.open("wb") as file:
        np.savez(file, weight=weight, bias=bias, contract=contract.to_json())
'''

READER = '''\
"""Reads toys."""

import numpy as np

from udacimed_edge.runtime.contract import ArtifactError, Contract, Predictor, probability_of_pneumonia


def open_artifact(path, threads=0):
    """Open a toy."""
    try:
        with np.load(path, allow_pickle=False) as file:
            weight, bias, text = file["weight"], file["bias"], str(file["contract"])
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path} is no toy: {error}") from error

    def predict(images):
        flat = images.reshape(len(images), -1).astype(np.float32)
        return probability_of_pneumonia(np.stack([image @ weight + bias for image in flat]))

    return Predictor(Contract.from_json(text), predict, None, f"numpy {np.__version__}")
'''

AUDIT = '''\
"""Counts what a toy holds."""

import numpy as np

from udacimed_edge.validation.judging.audit.base import Operation, count_elements


def weight_dtypes(path):
    """Weight elements per type."""
    with np.load(path) as file:
        return count_elements([(file["weight"].dtype.name, file["weight"].shape)])


def operations(path):
    """Its one product."""
    with np.load(path) as file:
        yield Operation("product", "fp32", file["weight"].size)
'''

DEVICE = """\
#:schema profile.schema.json
name = "toy-board"
title = "Toy board"
description = "Runs toys."
operating_system = "linux"
architecture = "x86_64"
minimum = "any"
formats = [{ target = "toy", precision = "fp32" }]
budget = { size_mib = 1, ram_mib = 100, latency_ms = 10, images_per_second = 10 }
"""
"""A device that takes it; what takes no toy needs none."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the toolkit with the toy added."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("toolkit", "converters", "targets", "validation", "dev"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "node_modules")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    table = copy / "toolkit" / "runtime" / "formats.py"
    before, end, after = table.read_text(encoding="utf-8").rpartition("    )\n}\n")
    assert end
    table.write_text(before + ROW + end + after, encoding="utf-8")
    for name, text in {
        "converters/toy.py": WRITER,
        "toolkit/runtime/toy.py": READER,
        "validation/judging/audit/toy.py": AUDIT,
        "targets/devices/profiles/toy-board.toml": DEVICE,
    }.items():
        (copy / name).write_text(text, encoding="utf-8")
    return copy


def call(checkout: Path, *arguments: str) -> str:
    """What the copy's program prints."""
    done = subprocess.run(
        [sys.executable, "-m", "udacimed_edge", *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "dev"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def model(checkout: Path) -> Path:
    """An affine classifier, fitted to the synthetic training images."""
    import torch

    train = open_data("synthetic").read("train")
    pixels = train.images.reshape(len(train.images), -1) / 255
    centre = pixels.mean(axis=0)
    sides = 2.0 * train.labels - 1
    kernel = (pixels - centre) @ (pixels - centre).T  # ridge regression, in its dual form
    slope = (pixels - centre).T @ np.linalg.solve(kernel + 10 * np.eye(len(pixels)), sides - sides.mean())
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(centre.size, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.from_numpy(np.stack([-slope, slope])))
        network[1].bias.copy_(torch.from_numpy(np.array([1, -1]) * (slope @ centre - sides.mean())))
    path = checkout / "affine.pt2"
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = (torch.zeros(2, 1, 64, 64),)
    torch.export.save(torch.export.export(network.eval(), example, dynamic_shapes=({0: batch},)), path)
    return path


STATED = ("--mean", "0", "--std", "1", "--labels", "normal,pneumonia", "--data", "synthetic")
LENIENT = ("--min-sensitivity", "0.9")


def test_the_copy_is_what_runs(checkout: Path) -> None:
    """The commands below run the copy and not what is installed."""
    script = "import udacimed_edge.runtime.toy as toy; print(toy.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(checkout / "dev")}
    shown = subprocess.check_output([sys.executable, "-c", script], env=environment, cwd=checkout, text=True)
    assert Path(shown.strip()).is_relative_to(checkout)
    assert not Path(str(udacimed_edge.__file__)).is_relative_to(checkout)


def test_doctor_and_targets_know_the_toy(checkout: Path) -> None:
    """The doctor says who computes it, the help of convert names it, a device may take it."""
    assert "yes, by one matrix product" in call(checkout, "doctor")
    assert "isa: toy-native" in call(checkout, "doctor")
    assert "triton, toy, all, or a device" in " ".join(call(checkout, "convert", "--help").split())
    assert "toy fp32" in call(checkout, "targets")
    assert "toy fp32" in call(checkout, "targets", "toy-board")


def test_the_toy_is_converted_judged_and_measured(checkout: Path, model: Path) -> None:
    """It is written, judged from its bytes over the whole split, judged again, and measured."""
    out = checkout / "out"
    call(
        checkout,
        "convert",
        str(model),
        *STATED,
        *LENIENT,
        "--target",
        "toy",
        "--out",
        str(out),
        "--isa",
        "here",
    )
    report = json.loads((out / "toy-fp32" / "report.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "PASS"
    assert report["artifact"]["weight_dtypes"] == {"fp32": 2 * 64 * 64} == report["artifact"]["macs"]
    assert [case["name"] for case in report["processors"]] == ["toy-native"]
    assert report["executor"] == f"numpy {np.__version__}"
    artifact = str(out / "toy-fp32")
    again = call(checkout, "validate", artifact, *STATED, *LENIENT, "--source", str(model), "--isa", "all")
    assert "PASS" in again
    record = checkout / "bench.json"
    measured = call(checkout, "benchmark", artifact, "--batch", "1", "--rounds", "1", "--json", str(record))
    (figures,) = json.loads(record.read_text(encoding="utf-8"))["measurements"]
    assert "toy" in measured
    assert figures["opened"]["executor"] == f"numpy {np.__version__}"
    assert figures["p50_ms"] > 0
