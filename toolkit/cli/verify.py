"""The command verify."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from udacimed_edge.cli.command import EdgeCommand
from udacimed_edge.cli.output import CommandOutput, machine_options
from udacimed_edge.core.errors import GateRefusedError

__all__ = ["verify"]


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--public-key", metavar="KEY", help="Who must have signed it: a .pub file, or the line in it.")
@machine_options
def verify(bundle: Path, public_key: str | None, command_output: CommandOutput) -> None:
    """Check a bundle: that nobody changed it, and that it should have been packaged.

    BUNDLE is the folder or the zip that `package` wrote. Nothing in it is run before everything else holds.
    The exit code is 6 where something is not in order, 3 where it is no bundle or could do harm.

    Example: udacimed-edge verify clinic-laptop-ort-int8.zip --public-key hospital.key.pub
    """
    from udacimed_edge.cli.records import check_records
    from udacimed_edge.workflow.verify import verify_bundle

    checks = verify_bundle(bundle, public_key)
    command_output.content["checks"] = check_records(checks)
    for check in checks:
        line = f"{check.outcome:<12} {check.name:<10} {check.detail}"
        # no name in a bundle can forge a line or move the cursor
        click.echo("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line))
    if any(check.outcome == "NOT OK" for check in checks):
        click.echo(f"{bundle} is REFUSED: do not use it; get it again from whoever made it")
        sys.exit(GateRefusedError.exit_code)
    click.echo(f"{bundle}: everything that was checked is in order")
