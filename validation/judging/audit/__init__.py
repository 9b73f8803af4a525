"""Which number types an artifact really holds and computes in, counted in its own tensors and operators.

One module a format, of the format's name: its `weight_dtypes` and its `operations`.
"""

if __name__ != "udacimed_edge.validation.judging.audit":
    raise ImportError(f"import udacimed_edge.validation.judging.audit, not {__name__}")

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

from udacimed_edge.core.errors import InputError
from udacimed_edge.runtime.formats import format_of
from udacimed_edge.validation.judging.audit.base import Operation

__all__ = ["ComputeCost", "count_macs", "weight_dtypes"]


@dataclass(frozen=True)
class ComputeCost:
    """What computing one image takes, by the type it is computed in: "int8", "fp16", "fp32" and others.

    INT8 sums in 32 bits in every format; what is meant is the type of the factors. "int16" is an activation
    of 16 bits times a weight of 8. Core ML multiplies in float16 or float32 whatever the weights are stored
    in: there the type is that of the stored weights.

    Attributes:
        operators: Number of operators.
        macs: Multiply-accumulates of convolutions and matrix products; those of a convolution are its
            output's elements times input channels of a group times the kernel's area.
    """

    operators: dict[str, int]
    macs: dict[str, int]


def weight_dtypes(path: Path) -> dict[str, int]:
    """Weight elements per type, over all tensors that are more than a vector.

    Biases and scales, one number per channel, stay wider in every INT8 format and are left out.

    Args:
        path: The artifact.

    Returns:
        Number of elements by type: "fp32", "fp16", "int8" and others as the format names them.
    """
    return cast("Callable[[Path], dict[str, int]]", _counter(path).weight_dtypes)(path)


def count_macs(path: Path) -> ComputeCost:
    """Count an artifact's operators and multiply-accumulates.

    Args:
        path: The artifact.

    Raises:
        InputError: It holds an operator whose work is not known here, or does not say its shapes.
    """
    operations = cast("Callable[[Path], Iterator[Operation]]", _counter(path).operations)
    known = set(_NO_PRODUCTS.split())
    operators: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    unknown = set()
    for kind, dtype, count in operations(path):
        if not count and kind.lower().replace("_", "") not in known:
            unknown.add(kind)
        operators[dtype] += 1
        macs[dtype] += count
    if unknown:
        raise InputError(
            f"{path} computes with operators whose work is not known here: {', '.join(sorted(unknown))}",
            "it cannot be shown in which type it computes, so it is not judged",
        )
    return ComputeCost(dict(operators), dict(+macs))


def _counter(path: Path) -> ModuleType:
    """The module that counts what artifacts of that format hold."""
    return import_module(f"{__name__}.{format_of(path).name}")


_NO_PRODUCTS = """
abs add argmax averagepool averagepool2d avgpool batchnorm batchnormalization broadcast cast ceil clamp
classify clip concat concatenation convert convertlike dequantize dequantizelinear div divide dropout elu
equal erf exp expand expanddims fakequantize flatten floor gather gelu globalaveragepool globalmaxpool
greater greaterequal hardsigmoid hardswish hsigmoid hswish identity layernorm layernormalization leakyrelu
less log logistic max maximum maxpool maxpool2d mean min minimum mul multiply mvn neg nhwcmaxpool pack pad
padv2 pow power prelu qlinearadd qlinearaveragepool qlinearconcat qlinearglobalaveragepool
qlinearleakyrelu qlinearmul qlinearreducemean qlinearsigmoid qlinearsoftmax quantize quantizelinear
quickgelu realdiv reduceall reducemax reducemean reducesum relu relu0to1 relu6 reshape round rsqrt select
shape shapeof sigmoid silu slice softmax split splitv sqrt square squareddifference squeeze stack
stridedslice sub subtract sum swish tanh tile transpose unsqueeze where
"""
"""Operators of all formats without a matrix product, in small letters: what vision networks consist of.
Any other is refused, since it might do most of the work."""
