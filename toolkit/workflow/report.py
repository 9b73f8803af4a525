"""Reports for people: gathers report.json files, writes HTML, Markdown and model cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from udacimed_edge.core.artifact import REPORT_NAME, locate, report_of
from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import path_digest, write_atomic
from udacimed_edge.validation.judging.compare import Change, compare_reports, require_same
from udacimed_edge.validation.report import Report, read_report

__all__ = ["CARD_NAME", "collect", "compare_paths", "write_card", "write_html", "write_markdown"]

CARD_NAME = "model-card.md"
"""What a model card is called beside its artifact."""


def collect(paths: Sequence[Path]) -> list[Report]:
    """The reports that a person named, each once, in the order named.

    Args:
        paths: Files are reports; folders are searched for `report.json` at any depth.

    Raises:
        InputError: There is nothing at a path, no report in a folder, a report was changed since it was
            written, or the reports differ in version, data or policy.
    """
    files = list(dict.fromkeys(file for path in paths for file in _report_files(path)))
    if not files:
        raise InputError("no report was named", "name a folder that `convert` wrote, or report.json files")
    reports = [read_report(file) for file in files]
    require_same(reports, [str(file) for file in files])
    return list({report.report_digest: report for report in reports}.values())


def _report_files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(
            f"there is no report at {path}", "name a folder that `convert` wrote, or a report.json"
        )
    if not path.is_dir():
        return [path]
    found = [file for file in path.rglob(REPORT_NAME) if not _is_hidden(file.relative_to(path))]
    if not found:
        raise InputError(
            f"{path} holds no {REPORT_NAME}", "convert or validate first, or name another folder"
        )
    return sorted(found)


def _is_hidden(path: Path) -> bool:
    """Whether it lies in a folder that is still being written."""
    return any(part.startswith(".") for part in path.parts)


def write_html(reports: Sequence[Report], path: Path, images: Split | None = None) -> None:
    """Write one HTML page over reports of one data set, whole or not at all.

    Args:
        reports: From `collect`.
        path: The file.
        images: The test split, to show missed and changed images; without it no image leaves.

    Raises:
        InputError: `images` is not the split the reports speak of.
        OutputError: The file cannot be written.
    """
    from udacimed_edge.validation.rendering.html import render_html

    write_atomic(path, render_html(reports, images).encode())


def write_markdown(reports: Sequence[Report], path: Path) -> None:
    """Write the same figures as Markdown, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    from udacimed_edge.validation.rendering.markdown import render_markdown

    write_atomic(path, render_markdown(reports).encode())


def write_card(report: Report, path: Path) -> None:
    """Write the model card of one artifact, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    from udacimed_edge.validation.rendering.markdown import render_card

    write_atomic(path, render_card(report).encode())


def compare_paths(before: Path, after: Path) -> Change:
    """Compare two artifacts, or two reports, or one of each.

    Raises:
        InputError: A report is missing or was changed, an artifact is not the one its report speaks of, or
            the two cannot be compared.
    """
    return compare_reports(_report_at(before), _report_at(after))


def _report_at(path: Path) -> Report:
    """The report a person named, or that of the artifact they named."""
    if path.is_file() and path.suffix == ".json":
        return read_report(path)
    artifact = locate(path)
    report = read_report(report_of(artifact))
    if report.artifact.digest != path_digest(artifact):
        raise InputError(
            f"{artifact} was changed after its report was written",
            "validate it again, or convert the model again",
        )
    return report
