"""What is to be made, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.errors import (
    EdgeError,
    GateRefusedError,
    InputError,
    StatedError,
    UnsupportedError,
)
from udacimed_edge.core.words import did_you_mean
from udacimed_edge.runtime.formats import FORMATS
from udacimed_edge.targets.devices.profile import DeviceProfile, load_profiles
from udacimed_edge.validation.judging.diagnosis import way_on
from udacimed_edge.validation.judging.inputs import IsaChoice
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import Report
from udacimed_edge.workflow.prepare import Calibrate

__all__ = [
    "ConversionPlan",
    "Item",
    "ItemResult",
    "Stage",
    "device_item",
    "error_of",
    "explanation",
    "plan_all",
    "plan_items",
]


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
        InputError: The format or device has no such precision, or there is no such target.
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
        profiles = load_profiles()
        if target not in profiles:
            known = [*FORMATS, "all", *profiles]
            raise InputError(
                f"there is no target '{target}'{did_you_mean(target, known)}", f"known: {', '.join(known)}"
            )
        return (device_item(profiles[target], precision),)
    row = FORMATS[target]
    chosen = precision or row.precisions[0]
    if chosen not in row.precisions:
        raise InputError(f"{target} has no {chosen}", f"it has: {', '.join(row.precisions)}")
    return (Item(target, chosen),)


def plan_all(targets: Iterable[str], precision: Precision | None) -> tuple[Item, ...]:
    """The items of several targets, each once, in the order named.

    Raises:
        InputError: As for `plan_items`.
    """
    return tuple(dict.fromkeys(item for target in targets for item in plan_items(target, precision)))


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


def explanation(result: ItemResult) -> str:
    """Why an item did not pass, and where it lies; empty where it did."""
    if result.error is not None:
        return f"{result.item}: {result.error}"
    if result.report is None or result.report.verdict == "PASS":
        return ""
    told = f"{result.item}: {result.report.verdict}: {result.report.reason}{_whereabouts(result)}"
    hint = way_on(result.report, len(FORMATS[result.report.artifact.format].recipes))
    return f"{told}\n{hint}" if hint else told


def _whereabouts(result: ItemResult) -> str:
    """Where an artifact that did not pass lies, and whether an earlier one that did is still there."""
    if result.artifact is None:
        return ""
    folder = result.artifact.parent
    earlier = folder.parent.parent / folder.name
    still = f"; {earlier} still holds an earlier artifact" if earlier.exists() and earlier != folder else ""
    return f"; it is in {folder}{still}"


def error_of(results: Sequence[ItemResult]) -> EdgeError | None:
    """The error that these results end in: what failed, what was refused, what was not executed, a mere word.

    None where every artifact passed, and was executed here, against its source model computed here.
    """
    failed = [result.error for result in results if result.error]
    if failed:
        return failed[0]
    lines = "\n".join(filter(None, map(explanation, results)))
    verdicts = {result.report.verdict for result in results if result.report}
    if "FAIL" in verdicts:
        return GateRefusedError(f"the policy refuses it:\n{lines}", "read the clauses that failed")
    if "SKIP" in verdicts:
        return UnsupportedError(f"not executed here:\n{lines}", "take it to a machine that can execute it")
    stated = [result.item for result in results if result.report and result.report.stated]
    if stated:
        return StatedError(
            f"the verdict on {', '.join(stated)} rests on somebody's word", "name the model with --source"
        )
    return None
