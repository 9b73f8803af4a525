"""Executes a saved Core ML package where Apple's runtime is absent.

The package's description and weights are loaded back into coremltools' own program (MIL) and run over
torch, operation by operation, from a literal table of what our networks consist of. What it proves is
that the stored program and the stored weights find pneumonia; Core ML's arithmetic on a device is not
part of it, and the executor's name says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from udacimed_edge.core.errors import InputError, UnsupportedError
from udacimed_edge.core.extras import require
from udacimed_edge.runtime.contract import SIDE, Contract, Predictor
from udacimed_edge.runtime.coreml import INPUT, PROBABILITIES, model_file, quiet, read_contract
from udacimed_edge.validation.coreml.operations import OPERATIONS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["open_artifact", "operations", "weight_dtypes"]


def open_artifact(
    path: Path, threads: int = 0, operations: Mapping[str, Callable[..., Any]] | None = None
) -> Predictor:
    """Open a Core ML package for execution on any operating system.

    Arithmetic is float32 on the stored weights; what the program stores as float16 is rounded to it
    after each operation, so that a value beyond float16's range is seen here as it would be on a phone.

    Args:
        path: The `.mlpackage` folder.
        threads: Not used: PyTorch's own number of threads holds for the whole process.
        operations: Computes in the place of `OPERATIONS`.

    Raises:
        ArtifactError: Not a Core ML package, damaged, or without a contract of ours.
        InputError: Its program or weights cannot be read, or do not fit the contract.
        UnsupportedError: It holds an operation, or a form of one, outside `OPERATIONS`.
        ExtraMissingError: coremltools is not installed.
    """
    import torch

    contract = read_contract(path)
    function = _load(path)
    _check_interface(function, contract, path)
    constants = _constants(function)
    table = operations or OPERATIONS

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        # One by one, as the program is written. Sums of a batch are ordered otherwise, and rounding to
        # float16 makes that visible: a probability moved by up to 0.004.
        with torch.inference_mode():
            pixels = torch.from_numpy(images.astype(np.float32))
            answers = [_run(function, constants, table, image[None, None])[0, 1].item() for image in pixels]
        return np.array(answers, dtype=np.float64)

    predict(np.zeros((1, SIDE, SIDE), dtype=np.uint8))  # an unsupported form of an operation shows now
    executor = (
        f"MIL executor (torch {torch.__version__.split('+')[0]}, float32 arithmetic on the stored weights, "
        "rounded to float16 where the program stores float16; Core ML itself was not executed)"
    )
    return Predictor(contract=contract, predict=predict, batch=1, executor=executor)


def weight_dtypes(path: Path) -> dict[str, int]:
    """How the weights of a package's convolutions and linear layers are stored.

    Returns:
        Elements per stored type, for example {"int8": 11161664}; biases are left out. The types are
        MIL's ("fp32", "fp16", "int8", "uint8"); "computed" where a weight is the result of operations.

    Raises:
        ArtifactError: Not a Core ML package.
        InputError: Its program or weights cannot be read.
        UnsupportedError: It holds an operation outside `OPERATIONS`.
        ExtraMissingError: coremltools is not installed.
    """
    weights = {
        operation.inputs[name]: None  # one that is used twice is stored once
        for operation in _load(path).operations
        if (name := _WEIGHTS.get(operation.op_type))
    }
    counts: dict[str, int] = {}
    for weight in weights:
        dtype = _stored_in(weight.op)
        counts[dtype] = counts.get(dtype, 0) + int(np.prod(weight.shape))
    return counts


# Loading


def operations(path: Path) -> Iterator[tuple[str, str, list[tuple[int, ...]], tuple[int, ...]]]:
    """What a package's program does.

    Yields:
        Of each operation its name, the type its weights are stored in (of one without weights: of its
        output), the shapes of its first inputs and of its output; raises as `weight_dtypes` does.
    """
    from coremltools.converters.mil.mil import types

    for operation in _load(path).operations:
        if not _is_constant(operation):
            name, output = _WEIGHTS.get(operation.op_type), operation.outputs[-1]
            dtype = _stored_in(operation.inputs[name].op) if name else types.builtin_to_string(output.dtype)
            shapes = [tuple(operation.inputs[i].shape) for i in ("x", name) if i in operation.inputs]
            yield operation.op_type, dtype, shapes, tuple(output.shape)


def _load(path: Path) -> Any:
    """The package's `main` function as coremltools' MIL, weights included."""
    file = model_file(path)
    with quiet():
        require("coremltools", "coreml")
        from coremltools.converters.mil.frontend.milproto.load import load

        spec = _read_spec(file)
        _check_operations(spec, path)
        _check_weight_files(spec, file, path)
        try:
            # coremltools meets a damaged package with errors of a dozen kinds, all of them about the file
            program = load(spec, spec.specificationVersion, file_weights_dir=str(file.parent / "weights"))
            return program.functions["main"]
        except Exception as error:
            raise InputError(f"{path}: its program or weights cannot be read: {error}") from error


def _read_spec(file: Path) -> Any:
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    try:
        spec = Model_pb2.Model.FromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"{file} cannot be read as a Core ML model: {error}") from error
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise InputError(f"{file} is not an ML program but {kind or 'empty'}")
    return spec


def _check_operations(spec: Any, path: Path) -> None:
    """Refuse what is outside the table before anything of the package is loaded.

    Raises:
        UnsupportedError: Naming every such operation.
    """
    known = {*OPERATIONS, *_CONSTANTS}
    unknown = sorted({operation.type for operation in _operations(spec)} - known)
    if unknown:
        names = ", ".join(unknown)
        raise UnsupportedError(f"{path} uses Core ML operations that are not executed here: {names}")


def _check_weight_files(spec: Any, file: Path, path: Path) -> None:
    """Make sure that every weight comes from a file inside the package.

    Raises:
        InputError: A weight file is missing, named outside the package's folder of weights, or a link.
    """
    values = (value for operation in _operations(spec) for value in _values(operation))
    names = {value.blobFileValue.fileName for value in values if value.HasField("blobFileValue")}
    for name in sorted(names):
        folder, relative = PurePosixPath(name).parent, PurePosixPath(name).name
        if folder != PurePosixPath("@model_path/weights"):
            raise InputError(f"{path} takes weights from outside the package: {name}")
        if not (file.parent / "weights" / relative).is_file():
            raise InputError(f"{path} has no weights/{relative}, which its program reads")
    for link in (inner for inner in path.rglob("*") if inner.is_symlink()):
        raise InputError(f"{path} may lead out of the package: {link.relative_to(path)} is a link")


def _operations(spec: Any) -> Iterator[Any]:
    """Every operation of every function; nested blocks belong to operations outside the table."""
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            yield from block.operations


def _values(operation: Any) -> Iterator[Any]:
    yield from operation.attributes.values()
    for argument in operation.inputs.values():
        yield from (binding.value for binding in argument.arguments if binding.HasField("value"))


def _check_interface(function: Any, contract: Contract, path: Path) -> None:
    """Make sure that the program takes one 64x64 gray image and answers with the contract's labels.

    Raises:
        InputError: It does not.
    """
    shapes = {name: tuple(var.shape) for name, var in function.inputs.items()}
    if shapes != {INPUT: (1, 1, SIDE, SIDE)}:
        raise InputError(f"{path} takes {shapes}, not one {SIDE}x{SIDE} gray image named '{INPUT}'")
    last = function.operations[-1]
    if last.op_type != "classify" or PROBABILITIES not in {var.name for var in function.outputs}:
        raise InputError(f"{path} does not end as a classifier with an output named '{PROBABILITIES}'")
    labels = tuple(getattr(label, "val", label) for label in last.inputs["classes"].val)
    if labels != contract.labels:
        raise InputError(f"{path} classifies into {labels}, its contract says {contract.labels}")


# Executing


def _run(
    function: Any, constants: Mapping[Any, Any], table: Mapping[str, Callable[..., Any]], image: Tensor
) -> Tensor:
    """The program's probabilities for one image.

    Args:
        function: The `main` function.
        constants: From `_constants`.
        table: What computes each operation.
        image: float32 of shape (1, 1, 64, 64), values 0..255.

    Returns:
        float32 of shape (1, 2), values 0..1: normal, pneumonia.
    """
    from coremltools.converters.mil.mil import types

    values = {**constants, function.inputs[INPUT]: image}
    for operation in function.operations:
        if _is_constant(operation):
            continue
        answer = table[operation.op_type](**_inputs(operation, values))
        answers = answer if isinstance(answer, tuple) else (answer,)
        outputs = operation.outputs[-len(answers) :]  # classify has the label first, the probabilities last
        for output, part in zip(outputs, answers, strict=True):
            values[output] = part.half().float() if output.dtype == types.fp16 else part
    result: Tensor = values[function.operations[-1].outputs[-1]]
    return result


def _inputs(operation: Any, values: Mapping[Any, Any]) -> dict[str, Any]:
    """An operation's inputs by name; a few, such as those of `concat`, are lists."""
    return {
        name: [values[v] for v in var] if isinstance(var, (list, tuple)) else values[var]
        for name, var in operation.inputs.items()
        if var is not None
    }


def _constants(function: Any) -> dict[Any, Any]:
    """The program's constants by variable."""
    return {
        operation.outputs[0]: _as_value(_CONSTANTS[operation.op_type](operation))
        for operation in function.operations
        if _is_constant(operation)
    }


def _is_constant(operation: Any) -> bool:
    return operation.op_type in _CONSTANTS


def _as_value(value: Any) -> Any:
    """Floats as a float32 tensor, a vector of integers as a list, anything else as it is."""
    import torch

    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    if value.dtype.kind == "f":
        return torch.from_numpy(np.array(value, dtype=np.float32))
    return value.tolist() if value.ndim < 2 else value


def _stored_in(constant: Any) -> str:
    """The type in which a constant's elements lie in the file, for example "int8"."""
    from coremltools.converters.mil.mil import types

    if constant is None or not _is_constant(constant):
        return "computed"
    name = _COMPRESSED.get(constant.op_type)
    var = constant.inputs[name] if name else constant.outputs[0]
    return str(types.builtin_to_string(var.dtype))


def _affine(operation: Any) -> NDArray[Any]:
    """Weights as scale * (data - zero point) along one axis, float16 where the scale is."""
    along = [1] * operation.quantized_data.rank
    along[operation.axis.val] = -1
    scale, zero = (np.asarray(v.val).reshape(along) for v in (operation.scale, operation.zero_point))
    steps = operation.quantized_data.val.astype(np.float32) - zero.astype(np.float32)
    dense: NDArray[Any] = (scale.astype(np.float32) * steps).astype(scale.dtype)
    return dense


def _decompressed(operation: Any) -> Any:
    """A compressed constant of a kind that our converter does not write, by coremltools' own rule."""
    return operation.materialized_val_inference()


_CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "const": lambda operation: operation.outputs[0].val,
    "constexpr_affine_dequantize": _affine,
    "constexpr_blockwise_shift_scale": _decompressed,
    "constexpr_lut_to_dense": _decompressed,
}

_COMPRESSED = {
    "constexpr_affine_dequantize": "quantized_data",
    "constexpr_blockwise_shift_scale": "data",
    "constexpr_lut_to_dense": "indices",
}
"""Which input of a compressed constant holds its elements."""

_WEIGHTS = {"conv": "weight", "linear": "weight", "matmul": "y"}
"""Which input of an operation holds its weights."""
