"""Models as people have them: what was exported elsewhere loads, and answers as it did there."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from udacimed_edge.core.errors import InputError
from udacimed_edge.source.load import SourceOptions, build_resnet18, load_source

OPTIONS = SourceOptions((0.5,), (0.5,), ("normal", "pneumonia"))


pytestmark = pytest.mark.usefixtures("one_thread")


class Small(nn.Module):
    """Two convolutions, then what a test puts behind them."""

    def __init__(self, rest: Callable[[Any, Tensor], Tensor], outputs: int = 2) -> None:
        """Build it with random weights."""
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 8, 5, stride=4), nn.Conv2d(8, 8, 3, padding=1)
        self.fc, self.prelu, self.group = nn.Linear(8, outputs), nn.PReLU(8), nn.GroupNorm(4, 8)
        self.rest = rest

    def forward(self, x: Tensor) -> Tensor:
        """Float32 of shape (n, 1, 64, 64) to what `rest` gives."""
        return self.rest(self, x)

    def features(self, x: Tensor) -> Tensor:
        """Float32 of shape (n, 8, h, w)."""
        found: Tensor = self.second(functional.relu(self.first(x)))
        return found


def mean(x: Tensor) -> Tensor:
    """Of height and width."""
    return x.mean((2, 3))


def zeros_beside(m: Any, x: Tensor) -> Tensor:
    """One logit made two."""
    z = m.fc(mean(m.features(x)))[:, :1]
    return torch.cat([torch.zeros_like(z), z], 1)


def shuffled(m: Any, x: Tensor) -> Tensor:
    """ShuffleNet's exchange of channels."""
    f = m.features(x)
    b, c, h, w = f.shape
    return m.fc(mean(f.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)))


def chunked(m: Any, x: Tensor) -> Tensor:
    """A gate."""
    a, b = m.features(x).chunk(2, 1)
    return m.fc(torch.cat([mean(a * b.sigmoid()), mean(b)], 1))


GRAPHS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "zeros_like": zeros_beside,
    "view size(0)": lambda m, x: m.fc(functional.adaptive_avg_pool2d(m.features(x), 1).view(x.size(0), -1)),
    "squeeze": lambda m, x: m.fc(functional.adaptive_avg_pool2d(m.features(x), 1).squeeze(-1).squeeze(-1)),
    "group norm": lambda m, x: m.fc(mean(m.group(m.features(x)) * m.features(x))),
    "chunk": chunked,
    "channel shuffle": shuffled,
    "resize inside": lambda m, x: m.fc(
        mean(m.features(functional.interpolate(x, size=(96, 96), mode="bilinear", align_corners=False)))
    ),
    "prelu, mish, gelu": lambda m, x: m.fc(mean(functional.gelu(functional.mish(m.prelu(m.features(x)))))),
    "ceil, leaky, pad": lambda m, x: m.fc(
        mean(
            functional.pad(
                functional.max_pool2d(functional.leaky_relu(m.features(x)), 3, 2, ceil_mode=True), (1, 0)
            )
        )
    ),
}


def exported(network: nn.Module, folder: Path, opset: int = 17, dynamo: bool = False, **how: Any) -> Path:
    """An ONNX file of a free batch."""
    path, image = folder / "model.onnx", torch.zeros(2, 1, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            how |= {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},), "verbose": False}
        else:
            how |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        torch.onnx.export(network.eval(), (image,), path, dynamo=dynamo, opset_version=opset, **how)
    return path


def pixels(count: int = 3) -> Tensor:
    """Raw pixels: float32 of shape (count, 1, 64, 64), values 0..255."""
    return torch.randint(0, 256, (count, 1, 64, 64), generator=torch.Generator().manual_seed(1)).float()


@torch.no_grad()
def assert_same(path: Path, network: nn.Module, options: SourceOptions = OPTIONS) -> None:
    """Module and exported program give the network's answers, for a batch that nobody named before."""
    model = load_source(path, options)
    expected = network((pixels() / 255 - 0.5) / 0.5)
    torch.testing.assert_close(model.module(pixels()), expected, rtol=1e-4, atol=1e-5)
    assert model.dynamic_batch
    assert model.program is not None
    torch.testing.assert_close(model.program.module()(pixels()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", GRAPHS)
def test_shapes_computed_in_the_graph_load(tmp_path: Path, name: str) -> None:
    """A graph that computes its own shapes keeps its free batch and its answers."""
    network = Small(GRAPHS[name])
    assert_same(exported(network, tmp_path), network)


@pytest.mark.parametrize(("opset", "name"), [(11, "channel shuffle"), (12, "chunk"), (14, "group norm")])
def test_older_opsets_load(tmp_path: Path, opset: int, name: str) -> None:
    """What an operator meant in an older opset is what is computed."""
    network = Small(GRAPHS[name])
    assert_same(exported(network, tmp_path, opset), network)


@pytest.mark.parametrize(
    ("opset", "name"),
    [(18, "chunk"), (20, "prelu, mish, gelu"), (23, "channel shuffle"), (24, "resize inside")],
)
def test_newer_opsets_load(tmp_path: Path, opset: int, name: str) -> None:
    """What PyTorch's present exporter writes loads, in the newest opsets too."""
    pytest.importorskip("onnxscript")
    network = Small(GRAPHS[name])
    assert_same(exported(network, tmp_path, opset, dynamo=True), network)


@pytest.mark.parametrize("name", ["group norm", "prelu, mish, gelu", "chunk", "zeros_like", "resize inside"])
def test_programs_load(tmp_path: Path, name: str) -> None:
    """A .pt2 with the operators of newer networks is read."""
    network = Small(GRAPHS[name]).eval()
    free = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(
        torch.export.export(network, (torch.zeros(2, 1, 64, 64),), dynamic_shapes=free),
        tmp_path / "model.pt2",
    )
    assert_same(tmp_path / "model.pt2", network)


def test_a_batch_that_cannot_be_free_is_one(tmp_path: Path) -> None:
    """A graph that is right for one image alone is exported for one, and says so."""
    path = exported(Small(lambda m, x: m.fc(mean(m.features(x)))), tmp_path)
    model = onnx.load(path)
    shape = numpy_helper.from_array(np.array([1, 2], np.int64), "shape")
    last = model.graph.node[-1]
    model.graph.node.append(helper.make_node("Reshape", ["before", "shape"], [last.output[0]]))
    last.output[0] = "before"
    model.graph.initializer.append(shape)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    loaded = load_source(path, OPTIONS)
    assert not loaded.dynamic_batch
    assert any("one image at a time" in note for note in loaded.notes)


def tiny_graph(folder: Path, nodes: list[onnx.NodeProto], **how: Any) -> Path:
    """An ONNX file of these nodes from "x" to "y", with a matrix "w" of one row and two columns."""
    shape, dtype = how.get("shape", ["n", 1, 64, 64]), how.get("dtype", TensorProto.FLOAT)
    matrix = np.array([[-0.5, 0.5]], how.get("weight", np.float32))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", how.get("out", TensorProto.FLOAT), ["n", 2])],
        [numpy_helper.from_array(matrix, "w"), *how.get("more", [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


POOL = [
    helper.make_node("GlobalAveragePool", ["x"], ["p"]),
    helper.make_node("Flatten", ["p"], ["f"]),
    helper.make_node("Gemm", ["f", "w"], ["y"]),
]
EXPECTED = (pixels() / 255 - 0.5).mean((1, 2, 3))[:, None] / 0.5 * torch.tensor([[-0.5, 0.5]])


def pool(image: str) -> list[onnx.NodeProto]:
    """The same, of another tensor than the input."""
    first = helper.make_node("GlobalAveragePool", [image], ["p"])
    return [first, *POOL[1:]]


@pytest.mark.parametrize(
    ("nodes", "how", "expected"),
    [
        (
            [
                *POOL[:2],
                helper.make_node("Identity", ["w"], ["same"]),
                helper.make_node("Gemm", ["f", "same"], ["y"]),
            ],
            {},
            EXPECTED,
        ),
        (
            [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), *pool("t")],
            {"shape": ["n", 64, 64, 1]},
            EXPECTED,
        ),
        (POOL, {"dtype": TensorProto.DOUBLE, "weight": np.float64, "out": TensorProto.DOUBLE}, EXPECTED),
        (
            [
                helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
                *pool("h")[:2],
                helper.make_node("Gemm", ["f", "w"], ["g"]),
                helper.make_node("Cast", ["g"], ["y"], to=TensorProto.FLOAT),
            ],
            {"weight": np.float16},
            EXPECTED,
        ),
    ],
    ids=["weights behind Identity", "channels last", "float64", "float16 between float32 ends"],
)
def test_what_people_export_loads(
    tmp_path: Path, nodes: list[onnx.NodeProto], how: dict[str, Any], expected: Tensor
) -> None:
    """Usual ways to write the same network are read alike."""
    model = load_source(tiny_graph(tmp_path, nodes, **how), OPTIONS)
    torch.testing.assert_close(model.module(pixels()), expected, rtol=1e-4, atol=1e-5)


def test_bytes_are_raw_pixels(tmp_path: Path) -> None:
    """A network that takes bytes gets pixels 0..255, and is refused where normalisation is stated for it."""
    cast = helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT)
    path = tiny_graph(tmp_path, [cast, *pool("c")], dtype=TensorProto.UINT8)
    with pytest.raises(InputError, match=r"takes bytes 0\.\.255 .*\n.*--mean 0 --std 0\.0039"):
        load_source(path, OPTIONS)
    model = load_source(path, SourceOptions((0.0,), (1 / 255,), OPTIONS.labels))
    expected = pixels().mean((1, 2, 3))[:, None] * torch.tensor([[-0.5, 0.5]])
    torch.testing.assert_close(model.module(pixels()), expected)


# what the output is


def softly(m: Any, x: Tensor) -> Tensor:
    """Two logits that differ between images."""
    logits: Tensor = m.fc(mean(m.features(x))) * 20
    return logits


OUTPUTS: dict[str, tuple[int, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "softmax": (2, lambda z: z.softmax(1), lambda p: p[:, 1]),
    "log-softmax": (2, lambda z: z.log_softmax(1), lambda p: p[:, 1].exp()),
    "sigmoids": (2, lambda z: z.sigmoid(), lambda p: p[:, 1]),
    "logit": (1, lambda z: z, lambda z: z[:, 0].sigmoid()),
    "sigmoid": (1, lambda z: z.sigmoid(), lambda p: p.reshape(-1)),
}


@pytest.mark.parametrize("deep", [False, True], ids=["at the end", "deeper"])
@pytest.mark.parametrize("kind", OUTPUTS)
def test_an_output_becomes_two_logits(tmp_path: Path, kind: Any, deep: bool) -> None:
    """Whatever the network answers, the softmax of two logits is the probability that its owner reads."""
    outputs, last, probability = OUTPUTS[kind]

    def answer(m: Any, x: Tensor) -> Tensor:
        y = last(softly(m, x))
        return y * 1.0 + 0.0 * y.flip(1) if deep else y

    network = Small(answer, outputs)
    model = load_source(exported(network, tmp_path), replace(OPTIONS, output=kind))
    with torch.no_grad():
        expected = probability(network((pixels() / 255 - 0.5) / 0.5))
        found = model.module(pixels()).softmax(1)[:, 1]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert model.output == kind
    assert any("its own output is" in note for note in model.notes)


def test_one_output_may_be_squeezed(tmp_path: Path) -> None:
    """An answer of shape (n,) is one output; with the labels turned it is the probability of normal."""
    network = Small(lambda m, x: softly(m, x).squeeze(1).sigmoid(), 1)
    path = exported(network, tmp_path)
    straight = load_source(path, replace(OPTIONS, output="sigmoid")).module(pixels()).softmax(1)
    turned = load_source(path, SourceOptions((0.5,), (0.5,), ("pneumonia", "normal"), output="sigmoid"))
    with torch.no_grad():
        torch.testing.assert_close(straight[:, 1], network((pixels() / 255 - 0.5) / 0.5))
    torch.testing.assert_close(turned.module(pixels()).softmax(1)[:, 0], straight[:, 1])


@pytest.mark.parametrize(
    ("outputs", "last", "stated", "said"),
    [
        (
            2,
            "sigmoid",
            None,
            r"last operator is Sigmoid\): what they are is not stated\nsay it: --output sigmoids",
        ),
        (2, "softmax", None, "say it: --output softmax$"),
        (1, "plain", None, "one number an image .*\nsay it: --output logit"),
        (1, "sigmoid", None, "say it: --output sigmoid$"),
        (2, "sigmoid", "logits", "it ends in a Sigmoid, so it answers with probabilities"),
        (2, "plain", "softmax", r"probabilities lie in 0\.\.1"),
        (2, "sigmoid", "softmax", "add up to .*, not to 1"),
        (2, "plain", "log-softmax", "do not add up to 1"),
        (2, "plain", "sigmoid", r"answers with 2 number\(s\)"),
        (1, "plain", "logits", r"answers with 1 number\(s\)"),
    ],
)
def test_an_output_is_never_guessed(tmp_path: Path, outputs: int, last: str, stated: Any, said: str) -> None:
    """What may be read in two ways is asked for, and what was stated wrongly is refused."""
    ends: dict[str, Callable[[Tensor], Tensor]] = {
        "plain": lambda z: z - 30,
        "sigmoid": torch.sigmoid,
        "softmax": lambda z: z.softmax(1),
    }
    path = exported(Small(lambda m, x: ends[last](softly(m, x)), outputs), tmp_path)
    with pytest.raises(InputError, match=said):
        load_source(path, replace(OPTIONS, output=stated))


# weights without a graph


def resnet() -> nn.Module:
    """ResNet-18 for gray images."""
    torch.manual_seed(0)
    return build_resnet18(1).eval()


def cifar() -> nn.Module:
    """A ResNet-18 that has every tensor of torchvision's, and neither its first stride nor its pooling."""
    network: Any = resnet()
    network.conv1.stride = (1, 1)
    network.maxpool = nn.Identity()
    changed: nn.Module = network
    return changed


def check_file(network: nn.Module, folder: Path, **changes: Any) -> Path:
    """The owner's own answers for four images."""
    with torch.no_grad():
        outputs = network((pixels(4) / 255 - 0.5) / 0.5).numpy()
    arrays = {"images": pixels(4)[:, 0].numpy().astype(np.uint8), "outputs": outputs} | changes
    np.savez(folder / "check.npz", **{name: value for name, value in arrays.items() if value is not None})
    return folder / "check.npz"


def saved(network: nn.Module, folder: Path, wrap: Callable[[dict[str, Any]], Any] = lambda s: s) -> Path:
    """A checkpoint."""
    torch.save(wrap(network.state_dict()), folder / "model.pth")
    return folder / "model.pth"


def test_weights_alone_are_not_a_network(tmp_path: Path) -> None:
    """Tensors that fit a known network are not taken for it unless somebody says or proves so."""
    path = saved(cifar(), tmp_path)
    with pytest.raises(
        InputError, match=r"they fit torchvision-resnet18.*\n.*--architecture torchvision-resnet18"
    ):
        load_source(path, OPTIONS)
    with pytest.raises(InputError, match=r"does not give the answers .*torchvision-resnet18: "):
        load_source(path, replace(OPTIONS, check=check_file(cifar(), tmp_path)))


def test_a_stated_architecture_is_named(tmp_path: Path) -> None:
    """What was stated is taken, and said to be nothing but stated."""
    model = load_source(saved(resnet(), tmp_path), replace(OPTIONS, architecture="torchvision-resnet18"))
    assert model.architecture == "torchvision-resnet18"
    assert "stated with --architecture; the weights alone do not prove it" in " ".join(model.notes)


def test_a_check_proves_the_network(tmp_path: Path) -> None:
    """Answers that agree prove the network without a word about it, and the report's note says so."""
    path = saved(resnet(), tmp_path)
    model = load_source(path, replace(OPTIONS, check=check_file(resnet(), tmp_path)))
    assert model.architecture == "torchvision-resnet18"
    assert model.checked is not None
    assert model.checked.startswith("4 answers of check.npz")
    with pytest.raises(InputError, match="does not give the answers"):  # another normalisation
        load_source(path, SourceOptions((0.4,), (0.5,), OPTIONS.labels, check=tmp_path / "check.npz"))


def test_a_check_holds_a_graph_too(tmp_path: Path) -> None:
    """A graph is compared with its owner's answers as well."""
    network = Small(softly)
    path = exported(network, tmp_path)
    assert load_source(path, replace(OPTIONS, check=check_file(network, tmp_path))).checked
    wrong = check_file(network, tmp_path, outputs=np.linspace(0, 1, 8, dtype=np.float32).reshape(4, 2))
    with pytest.raises(InputError, match=r"its graph: .*allowed 0\.0001"):
        load_source(path, replace(OPTIONS, check=wrong))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outputs": None}, "has no array 'outputs'"),
        ({"outputs": np.zeros((3, 2), np.float32)}, "do not match"),
        ({"outputs": np.zeros((4, 2), np.float32)}, "whose finite answers differ"),
        ({"outputs": np.full((4, 2), np.nan, np.float32)}, "whose finite answers differ"),
        ({"images": np.full((4, 64, 64), 0.5, np.float32)}, r"not raw pixels 0\.\.255"),
        ({"images": np.zeros((4, 28, 28), np.uint8)}, "do not match"),
        ({"images": np.array(3)}, "do not match"),
    ],
)
def test_a_check_that_proves_nothing_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """A file that could not tell one network from another is no proof."""
    network = Small(softly)
    with pytest.raises(InputError, match=said):
        load_source(
            exported(network, tmp_path), replace(OPTIONS, check=check_file(network, tmp_path, **changes))
        )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {f"model.{n}": t for n, t in s.items()},
        lambda s: {f"_orig_mod.module.{n}": t for n, t in s.items()},
        lambda s: {"net": {f"backbone.{n}": t for n, t in s.items()}, "acc": 0.9, "epoch": 3},
        lambda s: {"weights": s},
        lambda s: {"model_state": s, "optimizer": {"lr": 0.1}},
        lambda s: {"state_dict": {f"net.{n}": t for n, t in s.items()}, "hyper_parameters": {"lr": 0.1}},
        lambda s: {n: t.double() for n, t in s.items()},
        lambda s: {n.replace("fc.", "fc.1."): t for n, t in s.items()},
        lambda s: {n.replace("fc.", "linear.").replace("downsample", "shortcut"): t for n, t in s.items()},
    ],
)
def test_checkpoints_are_unwrapped(tmp_path: Path, wrap: Callable[[dict[str, Any]], Any]) -> None:
    """Containers, prefixes, float64 and a head behind a dropout change nothing."""
    path = saved(resnet(), tmp_path, wrap).rename(tmp_path / "model.ckpt")
    model = load_source(path, replace(OPTIONS, architecture="torchvision-resnet18"))
    with torch.no_grad():
        expected = resnet()((pixels() / 255 - 0.5) / 0.5)
    torch.testing.assert_close(model.module(pixels()), expected, rtol=1e-4, atol=1e-5)


def test_medmnist_s_own_network_is_known(tmp_path: Path) -> None:
    """MedMNIST's ResNet-18 has a stem of 3x3 and other names; it is told from torchvision's by its shapes."""
    network: Any = resnet()
    network.conv1 = nn.Conv2d(1, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    path = saved(
        network,
        tmp_path,
        lambda s: {
            "net": {n.replace("fc.", "linear.").replace("downsample", "shortcut"): t for n, t in s.items()}
        },
    )
    model = load_source(path, replace(OPTIONS, check=check_file(network, tmp_path)))
    assert model.architecture == "medmnist-resnet18"


@pytest.mark.parametrize(
    ("content", "stated", "said"),
    [
        ({"model": {"a": torch.ones(1)}, "weights": {"a": torch.ones(1)}}, None, "several state dicts"),
        ({"a": torch.ones(1)}, None, "fit no network which is known"),
        ({"a": torch.ones(1)}, "resnet19", "no network called 'resnet19' is known"),
    ],
)
def test_weights_of_nothing_known_are_refused(tmp_path: Path, content: Any, stated: Any, said: str) -> None:
    """What cannot be told is asked for or refused."""
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(InputError, match=said):
        load_source(tmp_path / "model.pth", replace(OPTIONS, architecture=stated))


# what is not read


def quantized(folder: Path) -> Path:
    """An ONNX file that somebody quantized."""
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "s")
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["q"])
    back = helper.make_node("DequantizeLinear", ["q", "s"], ["d"])
    return tiny_graph(folder, [node, back, *pool("d")], more=[scale])


def torchscript(folder: Path) -> Path:
    """A TorchScript archive, with the suffix of a checkpoint."""
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), folder / "model.pt")
    return folder / "model.pt"


def keras_archive(folder: Path) -> Path:
    """A file as Keras 3 writes it."""
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, json.dumps({}))
    return folder / "model.keras"


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    """A file of this content."""

    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return build


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 94364655\n"


@pytest.mark.parametrize(
    ("build", "said", "way_on"),
    [
        (quantized, "is already quantized .*: give the float model", "quantizes it itself"),
        (torchscript, "is a TorchScript file", r"torch\.jit\.load"),
        (written("model.pth", LFS), "is a Git LFS pointer", "run `git lfs pull`"),
        (written("model.onnx", LFS), "is a Git LFS pointer", "run `git lfs pull`"),
        (written("model.onnx", b"<!DOCTYPE html><html>"), "is a web page", "link"),
        (written("model.tflite", b"\x1c\0\0\0TFL3"), "is a TFLite file", "Keras or PyTorch"),
        (written("model.h5", b"\x89HDF\r\n\x1a\n"), "is a Keras model", "tf2onnx"),
        (written("model.pth", b"\x89HDF\r\n\x1a\n"), "is a Keras model", "tf2onnx"),
        (keras_archive, "is a Keras model", "tf2onnx"),
        (written("model.pkl", b"\x80\x04N."), "is a pickle", r"state_dict\(\)"),
    ],
)
def test_other_kinds_are_named(tmp_path: Path, build: Callable[[Path], Path], said: str, way_on: str) -> None:
    """A model of a kind that is not read is called what it is, with the way on."""
    path = build(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        load_source(path, OPTIONS)
    assert caught.value.message.startswith(str(path))
    assert re.search(way_on, caught.value.hint)
