"""The JSON that `--json` writes, one form a command; docs/output.schema.json is made from these."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from udacimed_edge import __version__
from udacimed_edge.core.errors import EXIT_CODES, EdgeError
from udacimed_edge.targets.devices.profile import DeviceProfile
from udacimed_edge.validation.policy.clauses import ClauseResult
from udacimed_edge.validation.report import Report

if TYPE_CHECKING:
    from udacimed_edge.validation.judging.compare import Change
    from udacimed_edge.workflow.plan import ItemResult
    from udacimed_edge.workflow.verify import Check

__all__ = ["change_record", "check_records", "item_records", "record_text", "schema_text"]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, serialize_by_alias=True)


class ErrorRecord(_Form):
    """Why something did not come about."""

    kind: str
    """The class in Python, for example "InputError"; "UsageError" for the command line itself."""
    message: str
    """What went wrong, with the file or format concerned."""
    hint: str = ""
    """What to do next; empty where the message says it."""


class _Output(_Form):
    """What every command writes."""

    schema_version: Literal[1] = 1
    """The version of this form; fields may be added to it."""
    toolkit_version: str = __version__
    """Of udacimed-edge."""
    exit_code: int
    """What the program ended with."""
    meaning: str
    """The exit code in words."""
    error: ErrorRecord | None = None
    """What ended the command; null where it came to its end, also where that is a refusal."""


class ItemRecord(_Form):
    """What became of one artifact."""

    item: str
    """Its name in `convert`, for example "ort-int8"; its path in `validate`."""
    verdict: Literal["PASS", "FAIL", "SKIP", "ERROR"]
    """The policy's; ERROR where there is no artifact to judge."""
    stated: bool
    """Whether the verdict rests on somebody's word."""
    artifact: str | None
    """Where the artifact lies, its report.json beside it."""
    seconds: float
    """Spent on it."""
    error: ErrorRecord | None
    """Why there is no report."""
    report: Report | None
    """The whole judgement, as in report.json."""


class ConvertOutput(_Output):
    """What `convert --json` writes."""

    command: Literal["convert"] = "convert"
    results: tuple[ItemRecord, ...] = ()
    """In the order of the targets; empty where nothing was begun."""


class ValidateOutput(_Output):
    """What `validate --json` writes."""

    command: Literal["validate"] = "validate"
    results: tuple[ItemRecord, ...] = ()
    """In the order named."""


class ChangeRecord(_Form):
    """What changed from one artifact to another."""

    before: str
    """The title of the first's report."""
    after: str
    """Of the second's."""
    verdicts: tuple[str, str]
    """Of both."""
    report_digests: tuple[str, str]
    """Of both reports."""
    matters: bool
    """Whether it matters under the policy."""
    reasons: tuple[str, ...]
    """Why."""
    clauses: tuple[ClauseResult, ...]
    """The policy's bounds, with the first in the role of the source model."""
    newly_missed: tuple[int, ...]
    """Images with pneumonia that only the first found, by index."""
    newly_found: tuple[int, ...]
    """Images with pneumonia that only the second found."""
    new_alarms: tuple[int, ...]
    """Normal images that only the second calls ill."""
    alarms_gone: tuple[int, ...]
    """Normal images that only the first calls ill."""


class CompareOutput(_Output):
    """What `compare --json` writes."""

    command: Literal["compare"] = "compare"
    change: ChangeRecord | None = None


class CheckRecord(_Form):
    """One check of a bundle."""

    outcome: Literal["ok", "NOT OK", "not checked"]
    name: str
    detail: str
    proves: str
    """What follows where it is "ok"."""
    leaves_open: str
    """What does not follow."""


class VerifyOutput(_Output):
    """What `verify --json` writes."""

    command: Literal["verify"] = "verify"
    checks: tuple[CheckRecord, ...] = ()
    """In order; a bundle with one that is NOT OK is refused."""
    origin_proven: bool = False
    """Whether it is signed with the key that was named."""


class MeasurementRecord(BaseModel):
    """What was measured of one artifact, with the rounds behind it; further fields explain themselves."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    subject: dict[str, Any]
    """Name, path and threads."""
    size_bytes: int
    """All its files together."""
    p50_ms: float
    """Latency of one image: the median of all rounds."""
    p95_ms: float
    """95 of 100 took no longer."""
    p99_ms: float
    """99 of 100 took no longer."""
    images_per_second: dict[int, list[float]]
    """By images in one call, one figure a round."""
    cold_start_ms: list[float]
    """One for each fresh process."""


class BenchmarkOutput(_Output):
    """What `benchmark --json` writes."""

    command: Literal["benchmark"] = "benchmark"
    machine: dict[str, Any] = {}
    plan: dict[str, Any] = {}
    measurements: list[MeasurementRecord] = []
    ratios: list[dict[str, Any]] = []
    """Of two that were measured in the same rounds; `shown` only where larger than its spread."""
    shares_of_peak: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    """What was named and not measured, with the reason."""


class TargetsOutput(_Output):
    """What `targets --json` writes."""

    command: Literal["targets"] = "targets"
    devices: tuple[DeviceProfile, ...] = ()


class FormatRecord(_Form):
    """What one format can do here."""

    name: str
    convert: bool
    execute: str
    missing: tuple[str, ...]
    remedy: str


class DoctorOutput(_Output):
    """What `doctor --json` writes."""

    command: Literal["doctor"] = "doctor"
    formats: tuple[FormatRecord, ...] = ()
    facts: dict[str, str] = {}
    """What else was found: processor, data, versions of libraries."""


_FORMS: dict[str, type[_Output]] = {
    "convert": ConvertOutput,
    "validate": ValidateOutput,
    "compare": CompareOutput,
    "verify": VerifyOutput,
    "benchmark": BenchmarkOutput,
    "targets": TargetsOutput,
    "doctor": DoctorOutput,
}

_Any = Annotated[
    ConvertOutput
    | ValidateOutput
    | CompareOutput
    | VerifyOutput
    | BenchmarkOutput
    | TargetsOutput
    | DoctorOutput,
    Field(discriminator="command"),
]


def record_text(
    command: str, content: dict[str, Any], code: int, error: EdgeError | click.ClickException | None
) -> str:
    """What `--json` writes.

    Args:
        command: The command's name.
        content: What it found, by the fields of its form.
        code: The exit code.
        error: What ended it; None where it came to its end.
    """
    form = _FORMS[command]
    record = form(exit_code=code, meaning=EXIT_CODES.get(code, ""), error=_error_record(error), **content)
    return f"{record.model_dump_json(indent=1)}\n"


def schema_text() -> str:
    """The JSON schema of all forms, as docs/output.schema.json holds it."""
    schema = TypeAdapter(_Any).json_schema(mode="serialization")
    return f"{json.dumps({'$schema': 'https://json-schema.org/draft/2020-12/schema', **schema}, indent=1)}\n"


def _error_record(error: EdgeError | click.ClickException | None) -> ErrorRecord | None:
    if error is None:
        return None
    if isinstance(error, EdgeError):
        return ErrorRecord(kind=type(error).__name__, message=error.message, hint=error.hint)
    return ErrorRecord(kind="UsageError", message=error.format_message())


def item_records(results: Iterable[ItemResult]) -> list[ItemRecord]:
    """One record an artifact."""
    return [
        ItemRecord(
            item=result.item,
            verdict=result.report.verdict if result.report else "ERROR",
            stated=result.report is not None and result.report.stated,
            artifact=_text(result.artifact),
            seconds=result.seconds,
            error=_error_record(result.error),
            report=result.report,
        )
        for result in results
    ]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def change_record(change: Change) -> ChangeRecord:
    """What `compare` found, in the form of its JSON."""
    before, after = change.before, change.after
    return ChangeRecord(
        before=before.title,
        after=after.title,
        verdicts=(before.verdict, after.verdict),
        report_digests=(before.report_digest, after.report_digest),
        matters=bool(change.reasons),
        reasons=change.reasons,
        clauses=change.clauses,
        newly_missed=change.newly_missed,
        newly_found=change.newly_found,
        new_alarms=change.new_alarms,
        alarms_gone=change.alarms_gone,
    )


def check_records(checks: Sequence[Check]) -> list[CheckRecord]:
    """What `verify` found, in the form of its JSON."""
    return [
        CheckRecord(
            outcome=c.outcome, name=c.name, detail=c.detail, proves=c.proves, leaves_open=c.leaves_open
        )
        for c in checks
    ]
