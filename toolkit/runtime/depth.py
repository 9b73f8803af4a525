"""Gray values of more than 8 bits as 8 bits: how many bits a file really uses, and a table for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["full_scale", "through"]

DEPTHS = (8, 10, 12, 14, 16)
"""Bits per pixel that detectors deliver, in a container of 16."""

_BEYOND = 100
"""One pixel in so many may lie beyond full scale: letters and marks burnt in at the container's white."""

_AT_ONCE = 1 << 20
"""Pixels that are looked up together: numpy widens an index to 8 bytes each."""


def full_scale(values: NDArray[Any], bits: int, signed: bool, notes: list[str]) -> tuple[int, int]:
    """The stored values that stand for black and white where a file states no window.

    Full scale is that of the smallest depth d among 8, 10, 12, 14 and 16 bits which holds at least 99 in
    100 of the pixels, and never more than the file's own `bits`. Counted, not interpolated: with n pixels
    in all and b of them beyond the depth, 100 * b <= n. Unsigned, a pixel is beyond at 2**d or more; black
    is 0 and white 2**min(d, bits) - 1. Signed values are taken as unsigned ones of `bits` - 1 where
    100 * (number below 0) <= n; else a pixel is beyond below -2**(d - 1) or at 2**(d - 1) or more, and
    these bounds, the upper one less 1, are black and white. Files of 8 bits or fewer keep their own scale.

    Args:
        values: Whole numbers of any shape.
        bits: What the file says it stores.
        signed: Whether it says that they may be negative.
        notes: Gets a line where fewer bits were taken than the file says.
    """
    floor = -(1 << bits - 1) if signed else 0
    if signed and bits > 8 and _BEYOND * np.count_nonzero(values < 0) <= values.size:
        return full_scale(values, bits - 1, False, notes)
    if bits <= 8:
        return floor, floor + (1 << bits) - 1
    for depth in (one for one in DEPTHS if one < bits):
        low = -(1 << depth - 1) if signed else 0
        high = low + (1 << depth) - 1
        beyond = int(np.count_nonzero(values > high)) + int(np.count_nonzero(values < low))
        if _BEYOND * beyond <= values.size:
            cut = f", {beyond} beyond them cut off" if beyond else ""
            notes.append(f"{bits}-bit pixels taken as {depth}-bit, which hold 99 % of them{cut}")
            return low, high
    return floor, floor + (1 << bits) - 1


def through(table: NDArray[Any], values: NDArray[Any], first: int = 0) -> NDArray[Any]:
    """`table[values - first]`, some rows at a time.

    Args:
        table: The answer for `first`, `first` + 1 and so on.
        values: Whole numbers of shape (rows, columns), none outside the table.
        first: The value that the table begins with.
    """
    result = np.empty(values.shape, table.dtype)
    step = max(1, _AT_ONCE // max(1, values.shape[1]))
    for top in range(0, len(values), step):
        index = values[top : top + step].astype(np.intp)
        index -= first
        np.take(table, index, out=result[top : top + step], mode="clip")  # "raise" would copy the rows
    return result
