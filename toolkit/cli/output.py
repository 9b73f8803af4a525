"""What programs read: `--json FILE|-` and `--quiet`, alike in every command that has them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from udacimed_edge.cli.command import OutputPath
from udacimed_edge.core.errors import EdgeError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CommandOutput", "machine_options"]


class CommandOutput:
    """Where a command shows what it does.

    Attributes:
        quiet: Nothing but errors is shown.
        content: What `--json` writes besides what all commands write; see `cli.records`.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.content: dict[str, Any] = {}

    def console(self) -> Console:
        """For progress and hints, which `--quiet` leaves out; errors go to a console of their own."""
        from rich.console import Console

        return Console(stderr=True, quiet=self.quiet)


class _JsonPath(OutputPath):
    """A file, or "-" for standard output."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return Path(value) if str(value) == "-" else super().convert(value, param, ctx)


def machine_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--json` and `--quiet`; it is called with a `CommandOutput` named `command_output`."""

    @click.option(
        "--json",
        "record",
        type=_JsonPath("file"),
        metavar="FILE|-",
        help="Write the result as JSON; '-': to standard output, and nothing else there.",
    )
    @click.option("--quiet", "-q", is_flag=True, help="Show nothing but errors.")
    @functools.wraps(function)
    def command(*, record: Path | None, quiet: bool, **options: Any) -> None:
        command_output = CommandOutput(quiet)
        alone = record is not None and str(record) == "-"
        with _recorded(record, command_output), _silent() if quiet or alone else _as_it_is():
            function(command_output=command_output, **options)

    return command


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what is written to standard output."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


@contextmanager
def _recorded(record: Path | None, command_output: CommandOutput) -> Iterator[None]:
    """Write the record once the command has ended, however it ends but by a defect or Ctrl-C."""
    code, error = 0, None
    try:
        yield
    except SystemExit as ended:
        code = int(ended.code or 0)
        raise
    except (EdgeError, click.ClickException) as raised:
        code, error = raised.exit_code, raised
        raise
    except BaseException:
        record = None
        raise
    finally:
        if record is not None:
            _write(record, command_output.content, code, error)


def _write(
    record: Path, content: dict[str, Any], code: int, error: EdgeError | click.ClickException | None
) -> None:
    from udacimed_edge.cli.records import record_text
    from udacimed_edge.core.files import write_atomic

    text = record_text(str(click.get_current_context().info_name), content, code, error)
    if str(record) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_atomic(record, text.encode())
