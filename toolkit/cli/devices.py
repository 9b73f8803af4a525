"""Commands for devices: targets, package, runner, keygen, sign."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from udacimed_edge.cli.command import EdgeCommand, Named, OutputPath, command_text
from udacimed_edge.cli.options import data_option, devices
from udacimed_edge.cli.output import CommandOutput, machine_options

if TYPE_CHECKING:
    from rich.console import Console

    from udacimed_edge.workflow.package import PackageRequest

__all__ = ["keygen", "package", "runner", "sign", "targets"]


@click.command(cls=EdgeCommand)
@click.argument("name", required=False)
@machine_options
def targets(name: str | None, command_output: CommandOutput) -> None:
    """List the devices that are known, or explain one.

    Example: udacimed-edge targets raspberry-pi-4
    """
    from udacimed_edge.cli.display import devices_table, profile_text, stdout
    from udacimed_edge.targets.devices.profile import find_profile, load_profiles

    found = list(load_profiles().values()) if name is None else [find_profile(name)]
    command_output.content["devices"] = found
    if name is None:
        stdout().print(devices_table(found))
    else:
        stdout().print(profile_text(found[0]), markup=False, highlight=False, soft_wrap=True)


@click.command(cls=EdgeCommand)
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@click.option("--target", type=Named("device", devices), help="The device (see `udacimed-edge targets`).")
@click.option("--profile", type=click.Path(path_type=Path), help="A device of your own, a TOML file.")
@click.option(
    "--out",
    type=OutputPath("folder"),
    default=Path("bundles"),
    show_default=True,
    help="Output folder.",
)
@click.option("--sign", type=click.Path(path_type=Path), help="Sign with this key, which `keygen` made.")
@click.option(
    "--wheels", type=click.Path(path_type=Path), help="Take the wheels from here, without a network."
)
@click.option("--contact", default="", help="Name and telephone of the person to call, for START-HERE.txt.")
@click.option("--rehearsal", is_flag=True, help="Package a rehearsal too, marked on every page: no evidence.")
@data_option
def package(
    artifact: Path | None,
    target: str | None,
    profile: Path | None,
    out: Path,
    sign: Path | None,
    wheels: Path | None,
    contact: str,
    rehearsal: bool,
    data: str | None,
) -> None:
    """Make what a clinic is given: one folder and its zip, to install and check without a network.

    ARTIFACT is a folder that `convert` wrote, or the artifact in it. Without it, the built-in reference
    model is converted and judged first, on --data, in the format that suits the device best.

    Example: udacimed-edge package out/ort-int8 --target clinic-laptop --sign hospital.key
    """
    from rich.console import Console

    from udacimed_edge.core.files import staging
    from udacimed_edge.core.lock import locked
    from udacimed_edge.targets.devices.profile import find_profile, read_profile
    from udacimed_edge.workflow.package import PackageRequest
    from udacimed_edge.workflow.package import package as make_bundle

    if (target is None) == (profile is None):
        raise click.UsageError("name either --target or --profile")
    device = find_profile(str(target)) if profile is None else read_profile(profile)
    console = Console(stderr=True)
    ask = None if sign is None else password_of(sign)
    request = PackageRequest(device, out, rehearsal, wheels, sign, ask, contact)
    with locked(out), staging(out) as folder:
        found = artifact or _converted(request, data, folder, console)
        with console.status("packaging") as status:
            made = make_bundle(found, request, lambda stage: status.update(f"packaging: {stage}"))
    for path in (made.folder, made.archive):
        click.echo(path)
    for line in made.budgets.shown:
        click.echo(f"  {line}")
    signed = ["--public-key", f"{sign}.pub"] if sign else []
    click.echo(f"Next: {command_text(['verify', made.archive, *signed])}", err=True)


def password_of(key: Path) -> Callable[[], str]:
    """Asks for the password of a key; it is neither shown nor taken from the command line."""
    return lambda: str(click.prompt(f"Password of {key}", hide_input=True, err=True))


def _converted(request: PackageRequest, data: str | None, folder: Path, console: Console) -> Path:
    """The built-in model as the artifact that suits the device best."""
    from udacimed_edge.cli.display import progress
    from udacimed_edge.core.data import open_data
    from udacimed_edge.workflow.package import convert_for

    with progress(console) as notify:
        return convert_for(request, open_data(data), folder, notify)


@click.command(cls=EdgeCommand)
@click.argument("artifact", type=click.Path(path_type=Path))
def runner(artifact: Path) -> None:
    """Put screen.pyz, the program a clinic runs, beside an artifact that passed on real radiographs.

    The device needs Python, numpy, pillow and the format's runtime; neither PyTorch nor this toolkit.

    Example: udacimed-edge runner out/ort-int8
    """
    from udacimed_edge.workflow.package import add_runner

    program = add_runner(artifact)
    click.echo(f"{program}\nCopy its folder to the device; there: python screen.pyz IMAGE... --csv FILE")


@click.command(cls=EdgeCommand)
@click.argument("key", type=click.Path(path_type=Path))
def keygen(key: Path) -> None:
    """Make a minisign key pair to sign with: KEY (secret, keep it) and KEY.pub.

    Example: udacimed-edge keygen hospital.key
    """
    from udacimed_edge.runtime.signature import fingerprint
    from udacimed_edge.targets.bundle.signing import generate_key

    public = key.with_name(f"{key.name}.pub")
    line = generate_key(key, public)
    click.echo(f"{line}\n{key} is secret; give away {public} or the line above")
    click.echo(f"fingerprint, to be given on paper: {fingerprint(line)}")


@click.command(cls=EdgeCommand)
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--key", type=click.Path(path_type=Path), required=True, help="The secret key `keygen` made.")
@click.option("--comment", default="", help="A line that is signed too, for example who signs.")
def sign(files: tuple[Path, ...], key: Path, comment: str) -> None:
    """Sign artifacts and reports, so that `minisign -V` shows that nobody changed them since.

    Example: udacimed-edge sign out/ort-int8/model.ort out/ort-int8/report.json --key hospital.key
    """
    from udacimed_edge.targets.bundle.signing import load_key, sign_with

    secret = load_key(key, password_of(key))
    for file in files:
        click.echo(sign_with(file, secret, comment or f"file:{file.name}"))
