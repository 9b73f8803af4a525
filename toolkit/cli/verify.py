"""The command verify."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from udacimed_edge.cli.command import EdgeCommand
from udacimed_edge.cli.output import CommandOutput, machine_options
from udacimed_edge.core.errors import GateRefusedError, OriginError

__all__ = ["verify"]


@click.command(cls=EdgeCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--public-key", metavar="KEY", help="Who must have signed it: a .pub file, or the line in it.")
@click.option("--unsigned", is_flag=True, help="Accept a bundle that nothing shows the origin of.")
@click.option("--brief", is_flag=True, help="A line for each check, without what it proves and what not.")
@machine_options
def verify(
    bundle: Path, public_key: str | None, unsigned: bool, brief: bool, command_output: CommandOutput
) -> None:
    """Check a bundle: that nobody changed it, who made it, and that it should have been packaged.

    BUNDLE is the folder or the zip that `package` wrote. Nothing in it is run before everything else holds.
    The exit code is 6 where something is not in order, 10 where all is but nothing shows who made it
    (--unsigned makes that 0), 3 where it is no bundle, could do harm, or the key cannot be read.

    Example: udacimed-edge verify clinic-laptop-ort-int8.zip --public-key hospital.key.pub
    """
    from udacimed_edge.cli.records import check_records
    from udacimed_edge.workflow.verify import is_origin_proven, verify_bundle

    if unsigned and public_key is not None:
        raise click.UsageError("name either --public-key or --unsigned")
    checks = verify_bundle(bundle, public_key)
    command_output.content["checks"] = check_records(checks)
    for check in checks:
        click.echo(_plain(f"{check.outcome:<12} {check.name:<10} {check.detail}"))
        if not brief:
            click.echo(f"{'':<23} proves: {check.proves}")
            click.echo(f"{'':<23} not:    {check.leaves_open}")
    if any(check.outcome == "NOT OK" for check in checks):
        click.echo(f"{bundle} is REFUSED: do not use it; get it again from whoever made it")
        sys.exit(GateRefusedError.exit_code)
    open_ = sum(check.outcome == "not checked" for check in checks)
    rest = f"{len(checks) - open_} checks hold, {open_} could not be made here"
    if is_origin_proven(checks):
        click.echo(f"{bundle} is INTACT, and signed with the named key: {rest}")
        return
    click.echo(f"{bundle} is INTACT, ORIGIN NOT PROVEN: {rest}, and anybody could have made it")
    sys.exit(0 if unsigned else OriginError.exit_code)


def _plain(line: str) -> str:
    """No name in a bundle can forge a line or move the cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
