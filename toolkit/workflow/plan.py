"""What is to be made, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.errors import EdgeError, InputError
from udacimed_edge.runtime.formats import FORMATS
from udacimed_edge.targets.devices.profile import DeviceProfile, find_profile
from udacimed_edge.validation.judging.inputs import IsaChoice
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import Report
from udacimed_edge.workflow.prepare import Calibrate

__all__ = ["ConversionPlan", "Item", "ItemResult", "Stage", "device_item", "plan_items"]


@dataclass(frozen=True)
class Item:
    """One artifact to be made."""

    format: str
    precision: Precision

    def __str__(self) -> str:
        """The name of its folder."""
        return f"{self.format}-{self.precision}"


@dataclass(frozen=True)
class Stage:
    """What is being done now, and for which item."""

    item: str
    name: str


@dataclass(frozen=True)
class ItemResult:
    """What became of one item.

    Attributes:
        item: Its name.
        report: Its report; None where there is no artifact to report on.
        error: Why there is none.
        artifact: Where the artifact lies, its report beside it.
        seconds: Spent on converting and judging it.
    """

    item: str
    report: Report | None = None
    error: EdgeError | None = None
    artifact: Path | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class ConversionPlan:
    """What `convert` was asked for.

    Attributes:
        items: What to make.
        out: Where it goes.
        settings: The policy's bounds.
        min_recipe: The first INT8 recipe that is tried, from 1.
        max_recipe: The last one that is tried; None for all.
        calibrate: Which images calibrate INT8.
        isa: Which processor cases are computed.
    """

    items: tuple[Item, ...]
    out: Path
    settings: PolicySettings
    min_recipe: int = 1
    max_recipe: int | None = None
    calibrate: Calibrate = "train"
    isa: IsaChoice = "none"


def plan_items(target: str, precision: Precision | None) -> tuple[Item, ...]:
    """The items that `--target` and `--precision` stand for.

    Args:
        target: A format, "all" (all but the server's), or a device: then the first of its formats, with
            that precision if given.
        precision: None for the format's default, the standard set, or the device's preference.

    Raises:
        InputError: The format or device has no such precision, or there is no such device.
    """
    if target == "all":
        return tuple(
            Item(row.name, chosen)
            for row in FORMATS.values()
            if row.standard
            for chosen in (row.standard if precision is None else (precision,))
            if chosen in row.precisions
        )
    if target not in FORMATS:
        return (device_item(find_profile(target), precision),)
    row = FORMATS[target]
    chosen = precision or row.precisions[0]
    if chosen not in row.precisions:
        raise InputError(f"{target} has no {chosen}", f"it has: {', '.join(row.precisions)}")
    return (Item(target, chosen),)


def device_item(profile: DeviceProfile, precision: Precision | None) -> Item:
    """The artifact that suits a device best.

    Raises:
        InputError: None of its formats has that precision.
    """
    for choice in profile.formats:
        if precision in (None, choice.precision):
            return Item(choice.format, choice.precision)
    has = ", ".join(f"{choice.format} {choice.precision}" for choice in profile.formats)
    raise InputError(f"{profile.name} takes no {precision}", f"it takes: {has}")
