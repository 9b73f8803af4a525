"""Loading a classifier: every format gives the same logits, and every bad file a clear error."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, version_converter
from safetensors.torch import save_file

from udacimed_edge.core.errors import InputError
from udacimed_edge.source import load as source
from udacimed_edge.source.load import SourceOptions, build_resnet18, load_source

MEAN, STD = 0.5, 0.25
OPTIONS = SourceOptions(mean=(MEAN,), std=(STD,), labels=("normal", "pneumonia"))
Writer = Callable[[torch.nn.Module, Path], Path]


def options_for(path: Path) -> SourceOptions:
    """Weights alone need their network's name too."""
    alone = path.suffix in (".safetensors", ".pth", ".pt", ".ckpt")
    return replace(OPTIONS, architecture="torchvision-resnet18") if alone else OPTIONS


pytestmark = pytest.mark.usefixtures("one_thread")


class Tiny(torch.nn.Module):
    """The operators of ResNet-18 in a network that takes milliseconds to export."""

    def __init__(self) -> None:
        """Build it."""
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(1, 8, 7, stride=4, bias=False), torch.nn.BatchNorm2d(8)
        self.conv2, self.bn2 = torch.nn.Conv2d(8, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8)
        self.relu = torch.nn.ReLU(inplace=True)
        self.pool = torch.nn.MaxPool2d(3, stride=2, padding=1)
        self.mean = torch.nn.AdaptiveAvgPool2d(1)
        self.fc = torch.nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 of shape (n, 1, 64, 64) to (n, 2)."""
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.relu(self.bn2(self.conv2(x)) + x)
        logits: torch.Tensor = self.fc(torch.flatten(self.mean(x), 1))
        return logits


def randomized(network: torch.nn.Module) -> torch.nn.Module:
    """The network in eval mode, its batch norms with random statistics."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.momentum = 0.0  # an export in training mode would change them
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def resnet() -> torch.nn.Module:
    """ResNet-18 for gray images with random weights."""
    torch.manual_seed(0)
    return randomized(build_resnet18(1))


@pytest.fixture(scope="module")
def tiny() -> torch.nn.Module:
    """The small network with random weights."""
    torch.manual_seed(0)
    return randomized(Tiny())


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Raw pixels: float32 of shape (3, 1, 64, 64), values 0..255."""
    return torch.randint(0, 256, (3, 1, 64, 64), generator=torch.Generator().manual_seed(1)).float()


def half(network: torch.nn.Module) -> torch.nn.Module:
    """A copy whose weights went through float16."""
    return copy.deepcopy(network).half().float()


@torch.no_grad()
def logits(module: torch.nn.Module, images: torch.Tensor, batch: int = 3) -> torch.Tensor:
    """The module's outputs, computed in batches."""
    return torch.cat([module(part) for part in images.split(batch)])


# every format, the same logits


def safetensors(network: torch.nn.Module, folder: Path) -> Path:
    """Weights alone."""
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors"


def safetensors_half(network: torch.nn.Module, folder: Path) -> Path:
    """Weights alone, in float16."""
    return safetensors(copy.deepcopy(network).half(), folder)


def pth(network: torch.nn.Module, folder: Path) -> Path:
    """A state dict."""
    torch.save(network.state_dict(), folder / "model.pth")
    return folder / "model.pth"


def pt_of_data_parallel(network: torch.nn.Module, folder: Path) -> Path:
    """A checkpoint as training scripts write it."""
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, folder / "model.pt")
    return folder / "model.pt"


def pt2(network: torch.nn.Module, folder: Path, batch: int | None = None) -> Path:
    """A torch.export program; the batch is free, or fixed."""
    free = ({0: torch.export.Dim.DYNAMIC},) if batch is None else None
    program = torch.export.export(network, (torch.zeros(batch or 2, 1, 64, 64),), dynamic_shapes=free)
    torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def pt2_of_one(network: torch.nn.Module, folder: Path) -> Path:
    """A torch.export program for one image."""
    return pt2(network, folder, batch=1)


def pt2_of_torch_2_8(network: torch.nn.Module, folder: Path) -> Path:
    """A program whose weights lie in one pickle, as torch 2.8 wrote them."""
    pickled = io.BytesIO()
    torch.save(network.state_dict(keep_vars=True), pickled)
    return rewrite(
        pt2(network, folder),
        lambda name, content: None if "weights/" in name else content,
        {"data/weights/model.pt": pickled.getvalue()},
    )


def onnx_torchscript(
    network: torch.nn.Module, folder: Path, opset: int = 17, batch: int | None = None, **options: Any
) -> Path:
    """As PyTorch's older exporter writes it, in any opset."""
    image = torch.zeros(batch or 2, 1, 64, 64, dtype=next(network.parameters()).dtype)
    free = {"image": {0: "n"}} if batch is None else None
    torch.onnx.export(
        network,
        (image,),
        folder / "model.onnx",
        dynamo=False,
        opset_version=opset,
        input_names=["image"],
        dynamic_axes=free,
        **options,
    )
    return folder / "model.onnx"


def onnx_opset_11(network: torch.nn.Module, folder: Path) -> Path:
    """The oldest opset."""
    return onnx_torchscript(network, folder, opset=11)


def onnx_of_one(network: torch.nn.Module, folder: Path) -> Path:
    """An ONNX model for one image."""
    return onnx_torchscript(network, folder, opset=13, batch=1)


def onnx_in_half(network: torch.nn.Module, folder: Path) -> Path:
    """An ONNX model in float16, input and output too."""
    return onnx_torchscript(copy.deepcopy(network).half(), folder)


def onnx_in_training(network: torch.nn.Module, folder: Path) -> Path:
    """An ONNX model whose batch norms are in training mode."""
    training = {"training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False}
    return onnx_torchscript(copy.deepcopy(network).train(), folder, **training)


@cache  # an export takes seconds
def exported_by_dynamo(network: torch.nn.Module) -> dict[str, bytes]:
    """The files that PyTorch's own ONNX exporter writes, by name."""
    pytest.importorskip("onnxscript")
    image, free = torch.zeros(2, 1, 64, 64), ({0: torch.export.Dim.DYNAMIC},)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(network, (image,), file, dynamo=True, dynamic_shapes=free, verbose=False)
        return {f.name: f.read_bytes() for f in Path(folder).iterdir()}


def onnx_dynamo(network: torch.nn.Module, folder: Path) -> Path:
    """As PyTorch's exporter writes it today: its default opset, weights in model.onnx.data."""
    written = exported_by_dynamo(network)
    assert set(written) == {"model.onnx", "model.onnx.data"}
    for name, content in written.items():
        (folder / name).write_bytes(content)
    return folder / "model.onnx"


def onnx_opset_21(network: torch.nn.Module, folder: Path) -> Path:
    """The newest opset."""
    path = onnx_dynamo(network, folder)
    onnx.save(version_converter.convert_version(onnx.load(path), 21), path)
    return path


def rewrite(
    path: Path, change: Callable[[str, bytes], bytes | None], added: dict[str, bytes] | None = None
) -> Path:
    """Replace each member of a .pt2 file by what `change` returns for it, and add further ones."""
    with zipfile.ZipFile(path) as archive:
        members = {m.partition("/")[2]: archive.read(m) for m in archive.namelist()}
    changed = {name: change(name, content) for name, content in members.items()} | (added or {})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in changed.items():
            if content is not None:
                archive.writestr(f"model/{name}", content)
    return path


def tiny_onnx(
    folder: Path,
    shape: tuple[str | int, ...] = ("n", 1, 64, 64),
    classes: int = 2,
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    tail: onnx.NodeProto | None = None,
    weight: float = 0.5,
    inputs: int = 1,
    external: str = "",
) -> Path:
    """An ONNX file that averages each channel and multiplies by a matrix; `tail` turns "y" into "z"."""
    channels = shape[1] if isinstance(shape[1], int) else 1
    matrix = np.linspace(-weight, weight, classes * channels, dtype=np.float32).reshape(channels, classes)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x0"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["y"]),
        *([tail] if tail else []),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(f"x{i}", dtype, shape) for i in range(inputs)],
        [helper.make_tensor_value_info("z" if tail else "y", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(matrix, "w")],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("acme", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=bool(external), location=external, size_threshold=0)
    return path


@pytest.mark.parametrize(
    ("network", "write", "through", "tolerance", "batch"),
    [
        ("resnet", safetensors, None, 1e-5, 3),
        ("resnet", safetensors_half, half, 1e-5, 3),
        ("resnet", pth, None, 1e-5, 3),
        ("resnet", pt_of_data_parallel, None, 1e-5, 3),
        ("resnet", pt2, None, 1e-5, 3),
        ("resnet", onnx_torchscript, None, 1e-4, 3),
        ("tiny", pt2_of_one, None, 1e-5, 1),
        ("tiny", pt2_of_torch_2_8, None, 1e-5, 3),
        ("tiny", onnx_opset_11, None, 1e-4, 3),
        ("tiny", onnx_of_one, None, 1e-4, 1),
        ("tiny", onnx_in_training, None, 1e-4, 3),
        ("tiny", onnx_dynamo, None, 1e-4, 3),
        ("tiny", onnx_opset_21, None, 1e-4, 3),
        ("tiny", onnx_in_half, half, 1e-2, 3),  # the exporter folds batch norm into float16 weights
        pytest.param("resnet", onnx_dynamo, None, 1e-4, 3, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of the exporters
def test_every_format_gives_the_logits_of_the_network(
    request: pytest.FixtureRequest,
    images: torch.Tensor,
    tmp_path: Path,
    network: str,
    write: Writer,
    through: Callable[[torch.nn.Module], torch.nn.Module] | None,
    tolerance: float,
    batch: int,
) -> None:
    """A file gives the logits of the network it was written from, on raw pixels."""
    original = request.getfixturevalue(network)
    path = write(original, tmp_path)
    model = load_source(path, options_for(path))
    expected = logits(through(original) if through else original, (images / 255 - MEAN) / STD)
    torch.testing.assert_close(logits(model.module, images, batch), expected, rtol=0, atol=tolerance)
    assert model.dynamic_batch == (batch != 1)
    assert not model.module.training
    assert all(tensor.dtype == torch.float32 for tensor in model.module.parameters())


@pytest.mark.parametrize("write", [onnx_dynamo, onnx_of_one, pt2])
@pytest.mark.filterwarnings("ignore")
def test_what_was_loaded_can_be_exported(
    tiny: torch.nn.Module, images: torch.Tensor, tmp_path: Path, write: Writer
) -> None:
    """A model read from a graph can be traced by torch.export, where every converter begins."""
    model = load_source(write(tiny, tmp_path), OPTIONS)
    free = ({0: torch.export.Dim.DYNAMIC},) if model.dynamic_batch else None
    some = images[:2] if model.dynamic_batch else images[:1]
    program = torch.export.export(model.module.eval(), (some,), dynamic_shapes=free)
    torch.testing.assert_close(program.module()(some), model.module(some))


# normalisation, labels, threshold, name


def test_three_channels_see_the_gray_image_thrice(tmp_path: Path, images: torch.Tensor) -> None:
    """A network of three channels gets the gray image in each, normalised with that channel's numbers."""
    torch.manual_seed(0)
    network = build_resnet18(3).eval()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    path = safetensors(network, tmp_path)
    module = load_source(
        path, SourceOptions(mean, std, ("normal", "pneumonia"), architecture="resnet18")
    ).module
    channels = [(images / 255 - m) / s for m, s in zip(mean, std, strict=True)]
    torch.testing.assert_close(
        logits(module, images), logits(network, torch.cat(channels, dim=1)), rtol=0, atol=1e-5
    )


def test_outputs_are_put_in_our_order(tiny: torch.nn.Module, tmp_path: Path, images: torch.Tensor) -> None:
    """A model whose first output is pneumonia has its outputs swapped."""
    path = pt2(tiny, tmp_path)
    straight = load_source(path, OPTIONS).module
    swapped = load_source(path, SourceOptions((MEAN,), (STD,), ("pneumonia", "normal"))).module
    assert torch.equal(logits(swapped, images), logits(straight, images).flip(1))


def write_card(model: Path, **changes: Any) -> None:
    """A card beside the model, with changes."""
    card = {"schema_version": 1, "name": "a model", "architecture": "tiny", "mean": [MEAN], "std": [STD]}
    card |= {"labels": ["normal", "pneumonia"], "weights_sha256": sha256(model)}
    model.with_suffix(".json").write_text(json.dumps(card | changes), encoding="utf-8")


def sha256(path: Path) -> str:
    """What `sha256sum` prints for a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_card_says_what_the_file_cannot(tmp_path: Path) -> None:
    """Beside a card no option is needed, and the card's name, threshold and its origin are taken."""
    path = tiny_onnx(tmp_path)
    write_card(path, threshold=0.3, threshold_origin="validation split")
    model = load_source(path)
    assert (model.name, model.threshold, model.threshold_origin) == ("a model", 0.3, "validation split")
    assert model.digest == sha256(path)


def test_a_threshold_always_has_an_origin(tmp_path: Path) -> None:
    """A card's threshold without an origin is said to come from that card."""
    path = tiny_onnx(tmp_path)
    write_card(path, threshold=0.3)
    assert load_source(path).threshold_origin == "the model card model.json"


def test_options_override_the_card(tmp_path: Path, images: torch.Tensor) -> None:
    """What a person states replaces what the card says, and only that."""
    path = tiny_onnx(tmp_path)
    write_card(path, threshold=0.3)
    from_card = load_source(path)
    model = load_source(path, SourceOptions(mean=(0.1,), threshold=0.6))
    assert (model.name, model.threshold) == ("a model", 0.6)
    assert model.threshold_origin == "the command line (--threshold)"
    assert not torch.allclose(logits(model.module, images), logits(from_card.module, images))


def test_without_a_threshold_there_is_none(tmp_path: Path) -> None:
    """A model without card and without --threshold has the file's name and no threshold."""
    model = load_source(tiny_onnx(tmp_path), OPTIONS)
    assert (model.name, model.threshold, model.threshold_origin) == ("model", None, None)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (SourceOptions(), "missing: --mean, --std, --labels\n"),
        (SourceOptions(mean=(0.5,)), "missing: --std, --labels\n"),
        (SourceOptions(mean=(0.5,), std=(0.5,), threshold=0.5), "missing: --labels\n"),
    ],
)
def test_nothing_is_guessed(tmp_path: Path, options: SourceOptions, missing: str) -> None:
    """Without a card each option that is missing is named, and so is the card that would do."""
    with pytest.raises(InputError) as caught:
        load_source(tiny_onnx(tmp_path), options)
    assert missing in str(caught.value)
    assert "model.json" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (SourceOptions((0.5, 0.5, 0.5), (0.5,), ("normal", "pneumonia")), "--mean has 3 values"),
        (SourceOptions((0.5,), (0.5, 0.5), ("normal", "pneumonia")), "--std has 2 values"),
        (SourceOptions((0.5,), (0.0,), ("normal", "pneumonia")), r"std\[0\]: Input should be greater than 0"),
        (SourceOptions((float("nan"),), (0.5,), ("normal", "pneumonia")), "NaN is not a finite number"),
        (SourceOptions((0.5,), (0.5,), ("normal", "ill")), "expected normal and pneumonia"),
        (
            SourceOptions((0.5,), (0.5,), ("normal", "pneumonia"), 1.5),
            "threshold: Input should be less than 1",
        ),
    ],
)
def test_options_are_checked_as_a_card_is(tmp_path: Path, options: SourceOptions, fragment: str) -> None:
    """An option out of range, or of another number of channels, is refused."""
    path = tiny_onnx(tmp_path)
    with pytest.raises(InputError, match=fragment) as caught:
        load_source(path, options)
    assert str(path) in caught.value.message


def test_a_card_of_another_file_is_refused(tmp_path: Path) -> None:
    """A card that names another SHA-256 than the file's is not used."""
    path = tiny_onnx(tmp_path)
    write_card(path, weights_sha256="0" * 64)
    with pytest.raises(InputError, match=f"its SHA-256 is {sha256(path)}, the card names 000"):
        load_source(path)


def test_no_path_means_the_reference_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the weights inside the package are loaded."""
    assert source.REFERENCE.parts[-2:] == ("weights", "reference.safetensors")
    path = tiny_onnx(tmp_path)
    write_card(path)
    monkeypatch.setattr(source, "REFERENCE", path)
    assert load_source(None).digest == sha256(path)


def test_weights_in_further_files_are_in_the_digest(tmp_path: Path) -> None:
    """The digest covers external data, as `sha256sum` would list the files."""
    path = tiny_onnx(tmp_path, external="weights.bin")
    listing = "".join(f"{sha256(tmp_path / name)}  {name}\n" for name in ("model.onnx", "weights.bin"))
    assert load_source(path, OPTIONS).digest == hashlib.sha256(listing.encode()).hexdigest()


def test_importing_is_fast() -> None:
    """Importing the module imports neither torch nor onnx."""
    code = "import sys, udacimed_edge.source.load; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# bad files


def damaged(write: Callable[[Path], Path], keep: float = 0.7) -> Callable[[Path], Path]:
    """The file cut short."""

    def build(folder: Path) -> Path:
        path = write(folder)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])
        return path

    return build


def named(name: str, content: bytes = b"") -> Callable[[Path], Path]:
    """A file of this name and content."""

    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return build


def saved(content: Any, name: str = "model.pth") -> Callable[[Path], Path]:
    """Anything, as torch.save writes it."""

    def build(folder: Path) -> Path:
        torch.save(content, folder / name)
        return folder / name

    return build


def state(**changes: torch.Tensor) -> Callable[[Path], Path]:
    """The weights of ResNet-18 in float16 with tensors replaced or added; `__` stands for a dot."""

    def build(folder: Path) -> Path:
        content = copy.deepcopy(build_resnet18(1)).half().state_dict()
        content.update({name.replace("__", "."): tensor for name, tensor in changes.items()})
        save_file(content, folder / "model.safetensors")
        return folder / "model.safetensors"

    return build


def onnx_file(**options: Any) -> Callable[[Path], Path]:
    """A builder of `tiny_onnx`."""
    return lambda folder: tiny_onnx(folder, **options)


def onnx_reading(location: str) -> Callable[[Path], Path]:
    """An ONNX file whose weights are said to lie in `location`; such a file lies outside its folder."""

    def build(folder: Path) -> Path:
        inner = folder / "inner"
        inner.mkdir()
        path = tiny_onnx(inner, external="weights.bin")
        shutil.move(inner / "weights.bin", folder / "secret.bin")
        if location == "link.bin":
            os.symlink(folder / "secret.bin", inner / "link.bin")
        model = onnx.load(path, load_external_data=False)
        entry = next(e for e in model.graph.initializer[0].external_data if e.key == "location")
        entry.value = location.format(folder=folder)
        onnx.save(model, path)
        return path

    return build


def program(*shapes: tuple[int, ...], classes: int = 2, train: bool = False) -> Callable[[Path], Path]:
    """A .pt2 program whose inputs have these shapes."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(shapes[0][1])
            self.fc = torch.nn.Linear(shapes[0][1], classes)

        def forward(self, *images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.fc(self.norm(images[0]).mean((2, 3)))
            return logits

    def build(folder: Path) -> Path:
        network = Network().train(train)
        exported = torch.export.export(network, tuple(torch.zeros(shape) for shape in shapes))
        torch.export.save(exported, folder / "model.pt2")
        return folder / "model.pt2"

    return build


def torchscript(folder: Path) -> Path:
    """A TorchScript archive, which has the suffix of a checkpoint."""
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), folder / "model.pt")
    return folder / "model.pt"


ZERO = torch.zeros(1)
SOFTMAX = helper.make_node("Softmax", ["y"], ["z"], axis=1)
CUSTOM = helper.make_node("Sharpen", ["y"], ["z"], domain="acme")
UNKNOWN = helper.make_node("Hardmax", ["y"], ["z"])
GRAY = (1, 1, 64, 64)


@pytest.mark.parametrize(
    ("build", "fragment"),
    [
        (lambda folder: folder / "absent.pth", "does not exist"),
        (lambda folder: folder, "is a folder"),
        (
            named("model.bin", b"x"),
            r"suffix '\.bin' is not one of \.safetensors, \.pth, \.pt, \.ckpt, \.pt2, \.onnx",
        ),
        (named("model"), "suffix '' is not one of"),
        *[
            (named(f"model{suffix}"), "is empty")
            for suffix in (".safetensors", ".pth", ".pt", ".pt2", ".onnx")
        ],
        *[
            (named(f"model{suffix}", b"\x99" * 999), "cannot be used: .+\n.+")
            for suffix in (".safetensors", ".pth", ".pt2", ".onnx")
        ],
        (damaged(state()), "cannot be used: "),
        (damaged(saved({"x": torch.ones(9999)})), "cannot be used: "),
        (damaged(program(GRAY)), "cannot be used: "),
        (damaged(onnx_file(), keep=0.5), "cannot be used: "),
        (saved(3), "holds an object of type int, not a state dict"),
        (saved({"epoch": 3}), "is not a state dict: 'epoch' is of type int"),
        (
            saved(torch.nn.Linear(1, 1)),
            r"asks to run code while loading \(torch\.nn\..*Linear\), which is refused",
        ),
        (torchscript, "TorchScript"),
        (
            saved({"features.0.weight": ZERO}),
            r"102 tensors missing \(first: bn1.bias\), 1 unexpected \(first: fea",
        ),
        (state(layer1__2__bn1__bias=ZERO), r"0 tensors missing, 1 unexpected \(first: layer1.2.bn1.bias\)"),
        (state(fc__weight=torch.zeros(5, 512), fc__bias=torch.zeros(5)), "has 5 outputs, expected 2"),
        (state(conv1__weight=torch.zeros(64, 7, 7, 7)), "takes 7 input channels; 1 and 3 are supported"),
        (state(conv1__weight=torch.zeros(64, 1, 3, 3)), "size mismatch for conv1.weight"),
        (state(bn1__bias=torch.full((64,), torch.nan)), "the tensor 'bn1.bias' holds NaN or infinity"),
        (state(bn1__bias=torch.zeros(64, dtype=torch.int8)), "the tensor 'bn1.bias' is torch.int8"),
        (state(bn1__running_var=torch.full((64,), -1.0)), "returns NaN or infinity for a plain image"),
        (program((4, 1, 64, 64)), "takes only 4 images at once"),
        (
            program((1, 1, 28, 28)),
            r"input of shape \(1, 1, 28, 28\), expected one of shape \(n, 1 or 3, 64, 64\)",
        ),
        (program(GRAY, GRAY), "has 2 inputs"),
        (
            program(GRAY, classes=5),
            r"returns torch.float32 of shape \(1, 5\), expected float32 of shape \(n, 2\)",
        ),
        (program(GRAY, train=True), "was exported in training mode"),
        (onnx_file(shape=("n", 1, 28, 28)), r"input of shape \(free, 1, 28, 28\)"),
        (onnx_file(shape=("n", 7, 64, 64)), r"input of shape \(free, 7, 64, 64\)"),
        (onnx_file(shape=("n", "c", 64, 64)), r"input of shape \(free, free, 64, 64\)"),
        (onnx_file(shape=(1, 64, 64)), r"input of shape \(1, 64, 64\)"),
        (onnx_file(shape=(4, 1, 64, 64)), "takes only 4 images at once"),
        (onnx_file(inputs=2), "has 2 inputs"),
        (onnx_file(dtype=TensorProto.INT8), "takes INT8 numbers, expected FLOAT, FLOAT16, DOUBLE or UINT8"),
        (onnx_file(dtype=116), "no name defined for value 116"),
        (onnx_file(classes=5), r"returns torch.float32 of shape \(2, 5\)"),
        (onnx_file(opset=10), "is of opset 10; 11 to 24 are supported"),
        (onnx_file(opset=25), "is of opset 25; 11 to 24 are supported"),
        (
            onnx_file(tail=SOFTMAX),
            "last operator is Softmax.: what they are is not stated\n.*--output softmax$",
        ),
        (onnx_file(tail=CUSTOM), r"uses the custom operator acme\.Sharpen"),
        (onnx_file(tail=UNKNOWN), "the operator Hardmax is not supported"),
        (onnx_file(weight=float("nan")), "the tensor '.*' holds NaN or infinity"),
        (onnx_reading("../secret.bin"), r"reads '\.\./secret\.bin', outside its own folder"),
        (onnx_reading("{folder}/secret.bin"), "secret.bin', outside its own folder"),
        (onnx_reading("link.bin"), "reads 'link.bin', outside its own folder"),
        (onnx_reading("absent.bin"), "keeps weights in 'absent.bin', which is missing"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, build: Callable[[Path], Path], fragment: str) -> None:
    """A file that cannot be used is refused by name, with what is wrong and, mostly, what to do."""
    path = build(tmp_path)
    with pytest.raises(InputError, match=fragment) as caught:
        load_source(path, options_for(path))
    assert caught.value.message.startswith(str(path))
    assert "Traceback" not in str(caught.value)


# files that would run code


class Touch:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        """Remember the file."""
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a call of Path.touch."""
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", ["model.pth", "model.pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_cannot_run_code(tmp_path: Path, name: str, zipped: bool) -> None:
    """A checkpoint that would run code is refused before it does."""
    path, marker = tmp_path / name, tmp_path / "marker"
    torch.save({"x": Touch(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="asks to run code while loading"):
        load_source(path, options_for(path))
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the checkpoint of this test does not run code at all"


def pickled(marker: Path) -> bytes:
    """A checkpoint that makes the marker when it is loaded."""
    buffer = io.BytesIO()
    torch.save({"x": Touch(marker)}, buffer)
    return buffer.getvalue()


def replaced(member: str, old: str, new: str) -> Callable[[Path, Path], Path]:
    """A change of one text inside one member; CODE stands for Python that makes the marker."""

    def attack(path: Path, marker: Path) -> Path:
        code = f"__import__('pathlib').Path('{marker}').touch()"

        def change(name: str, content: bytes) -> bytes:
            if name != member:
                return content
            assert old in content.decode()
            return content.decode().replace(old, new.replace("CODE", json.dumps(code)[1:-1]), 1).encode()

        return rewrite(path, change)

    return attack


def with_member(member: str) -> Callable[[Path, Path], Path]:
    """The archive with a pickle in place of a member, or beside the others."""
    return lambda path, marker: rewrite(path, lambda _, content: content, {member: pickled(marker)})


def with_pickled_weight(path: Path, marker: Path) -> Path:
    """The archive with its first weight said to be a pickle."""
    replaced("data/weights/model_weights_config.json", '"use_pickle": false', '"use_pickle": true')(
        path, marker
    )
    return with_member("data/weights/weight_0")(path, marker)


GRAPH = "models/model.json"


@pytest.mark.parametrize(
    ("attack", "refused"),
    [
        (with_member("data/sample_inputs/model.pt"), None),
        (with_member("data/weights/model.pt"), "asks to run code"),
        (with_member("data/constants/opaque_obj_0"), "it holds 'data/constants/opaque_obj_0'"),
        (with_member("data/aotinductor/model/x.so"), "it holds 'data/aotinductor/model/x.so'"),
        (with_member("models/other.json"), "it holds 'models/other.json'"),
        (with_pickled_weight, "stores a tensor as a pickle"),
        (replaced(GRAPH, '"guards_code": []', '"guards_code": ["CODE"]'), None),
        (replaced(GRAPH, "torch.ops.aten.relu_.default", "torch.os.system"), "uses 'torch.os.system'"),
        (
            replaced(GRAPH, "torch.ops.aten.relu_.default", "torch.ops.aten.from_file.default"),
            "aten.from_file",
        ),
        (replaced(GRAPH, "Symbol('", "CODE,Symbol('"), "uses '__import__"),
        (replaced(GRAPH, '"name": "relu_"', '"name": "CODE"'), "uses '__import__"),
        (replaced(GRAPH, '\\"builtins.tuple\\"', '\\"enum.Enum\\"'), "enum.Enum"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # two members of one name
def test_a_program_cannot_run_code(
    tiny: torch.nn.Module,
    tmp_path: Path,
    attack: Callable[[Path, Path], Path],
    refused: str | None,
) -> None:
    """What a crafted .pt2 would run is refused, or left out where the program does not need it."""
    marker = tmp_path / "marker"
    path = attack(pt2(tiny, tmp_path), marker)
    if refused is None:
        load_source(path, OPTIONS)
    else:
        with pytest.raises(InputError, match=refused):
            load_source(path, OPTIONS)
    assert not marker.exists()


@pytest.mark.parametrize(
    "attack",
    [
        with_member("data/sample_inputs/model.pt"),
        with_pickled_weight,
        replaced(GRAPH, "Symbol('", "CODE,Symbol('"),
    ],
)
def test_the_attacks_are_real(
    tiny: torch.nn.Module, tmp_path: Path, attack: Callable[[Path, Path], Path]
) -> None:
    """PyTorch's own reader runs the code that ours refuses: the day it does not, ours can be shorter."""
    marker = tmp_path / "marker"
    path = attack(pt2(tiny, tmp_path), marker)
    with suppress(Exception):
        torch.export.load(path)
    assert marker.exists()
