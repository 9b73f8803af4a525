"""What one call of a module costs: operations, memory for activations, time."""

from __future__ import annotations

import time
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["flops", "latency_ms", "peak_activation_bytes"]

_WARM_UP = 5
_REPETITIONS = 40


def flops(module: nn.Module, example: Tensor) -> int:
    """Floating-point operations of one call, by PyTorch's counter: a multiply-accumulate is two.

    Convolutions and matrix products alone are counted; fvcore counts a multiply-accumulate as one.

    Args:
        module: In eval mode.
        example: What it is called with.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(example)
    return int(counter.get_total_flops())


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of the tensors that operators return, until Python lets go of them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator and take note of what it returns."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.hold(tensor)
        return result

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor's storage once: views and in-place results share it."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.seen:
            self.seen.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self.release, key, size)

    def release(self, key: int, size: int) -> None:
        """Its storage is freed."""
        self.seen.discard(key)
        self.live -= size


def peak_activation_bytes(module: nn.Module, example: Tensor) -> int:
    """The most memory that the tensors between a module's operators hold at once, in bytes.

    The input is counted, weights are not; what an operator needs inside itself is not seen.

    Args:
        module: In eval mode.
        example: What it is called with.
    """
    mode = _LiveTensors()
    inside = {
        storage for value in module.state_dict().values() if (storage := value.untyped_storage()._cdata)
    }
    with torch.no_grad(), mode:
        mode.seen |= inside
        mode.hold(example)
        module(example)
    return mode.peak


@torch.no_grad()
def latency_ms(module: nn.Module, example: Tensor) -> tuple[float, float]:
    """Median and 95th percentile of the time of one call, in milliseconds, after a warm-up.

    Args:
        module: In eval mode; run as it is, by PyTorch without a compiler.
        example: What it is called with.
    """
    times = []
    for _ in range(_WARM_UP + _REPETITIONS):
        started = time.perf_counter()
        module(example)
        times.append(1000 * (time.perf_counter() - started))
    median, p95 = np.percentile(times[_WARM_UP:], [50, 95])
    return float(median), float(p95)
