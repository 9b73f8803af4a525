"""The command line as a whole: the commands in their order, and how each error ends it."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from udacimed_edge import __version__
from udacimed_edge.cli.benchmark import benchmark
from udacimed_edge.cli.convert import convert
from udacimed_edge.cli.devices import keygen, package, runner, sign, targets
from udacimed_edge.cli.doctor import doctor
from udacimed_edge.cli.optimize import optimize
from udacimed_edge.cli.reports import compare, report
from udacimed_edge.cli.validate import validate
from udacimed_edge.cli.verify import verify
from udacimed_edge.core.errors import EXIT_CODES, EdgeError

__all__ = ["cli", "main"]

INTERRUPTED = 130


_HELP = f"""Take a pneumonia classifier to edge devices, and prove every artifact from its own bytes.

Exit codes: {", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())}.

Environment: UDACIMED_DATA names the data where --data does not; UDACIMED_DEBUG=1 shows where the program
itself failed.

Example: udacimed-edge convert --target all --data synthetic
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="udacimed-edge")
def cli() -> None:
    """All commands, in the order of the work."""


making = (convert, validate, optimize, benchmark, report, compare)
shipping = (targets, package, runner, keygen, sign, verify)
for command in (*making, *shipping, doctor):
    cli.add_command(command)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    for ending in (signal.SIGTERM, signal.SIGHUP):  # a second one must not end the clearing away
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Run the command line; a person sees a message and an exit code, never a traceback."""
    for ending in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: what was begun is cleared away
        if signal.getsignal(ending) is signal.SIG_DFL:  # nohup asks that SIGHUP be ignored
            signal.signal(ending, _interrupt)
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EdgeError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "Interrupted. Artifacts that were already finished are kept; nothing half-done is.", err=True
        )
        sys.exit(INTERRUPTED)
    except Exception as error:  # a defect of ours, which is no reason to show a person a traceback
        if os.environ.get("UDACIMED_DEBUG"):
            raise
        click.echo(
            f"Error: udacimed-edge itself failed: {type(error).__name__}: {error}\n"
            "Please report it; with UDACIMED_DEBUG=1 set, the same command shows where.",
            err=True,
        )
        sys.exit(1)
