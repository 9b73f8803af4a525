"""Commands for devices: targets, runner, keygen, sign."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["keygen", "runner", "sign", "targets"]


@click.command()
@click.argument("name", required=False)
def targets(name: str | None) -> None:
    """List the devices that are known, or explain one.

    Example: udacimed-edge targets raspberry-pi-4
    """
    from udacimed_edge.display import devices_table, profile_text, stdout
    from udacimed_edge.targets.profile import find_profile, load_profiles

    if name is None:
        stdout().print(devices_table(load_profiles().values()))
    else:
        stdout().print(profile_text(find_profile(name)), markup=False, highlight=False, soft_wrap=True)


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
def runner(artifact: Path) -> None:
    """Put screen.pyz, the program a clinic runs, beside an artifact that passed on real radiographs.

    The device needs Python, numpy, pillow and the format's runtime; neither PyTorch nor this toolkit.

    Example: udacimed-edge runner out/ort-int8
    """
    from udacimed_edge.pipeline import add_runner

    program = add_runner(artifact)
    click.echo(f"{program}\nCopy its folder to the device; there: python screen.pyz IMAGE... --csv FILE")


@click.command()
@click.argument("key", type=click.Path(path_type=Path))
def keygen(key: Path) -> None:
    """Make a minisign key pair to sign with: KEY (secret, keep it) and KEY.pub.

    Example: udacimed-edge keygen hospital.key
    """
    from udacimed_edge.targets.signing import generate_key

    public = key.with_name(f"{key.name}.pub")
    click.echo(f"{generate_key(key, public)}\n{key} is secret; give away {public} or the line above")


@click.command()
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--key", type=click.Path(path_type=Path), required=True, help="The secret key `keygen` made.")
@click.option("--comment", default="", help="A line that is signed too, for example who signs.")
def sign(files: tuple[Path, ...], key: Path, comment: str) -> None:
    """Sign artifacts and reports, so that `minisign -V` shows that nobody changed them since.

    Example: udacimed-edge sign out/ort-int8/model.ort out/ort-int8/report.json --key hospital.key
    """
    from udacimed_edge.targets.signing import sign as sign_file

    for file in files:
        click.echo(sign_file(file, key, comment or f"file:{file.name}"))
