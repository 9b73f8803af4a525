"""Set up an ARM root: Python, onnxruntime and LiteRT of a Raspberry Pi 4, for qemu on another computer.

    python examples/arm_root.py --out ~/.cache/udacimed-edge/arm64
    udacimed-edge validate out/ort-int8 --isa all --data pneumoniamnist_64.npz

Needs Debian (or a derivative whose apt sources offer arm64), no root rights and no chroot: apt works in a
folder of its own and the computer's packages stay as they are. qemu itself: apt-get install qemu-user-static
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import click

from udacimed_edge.core.errors import EdgeError, InputError
from udacimed_edge.core.files import replace_directory, staging
from udacimed_edge.validation.judging.emulation import WHEELS, arm_root

PACKAGES = ("python3", "libstdc++6", "libgomp1")
"""apt adds what these need, down to the C library."""

LIBRARIES = ("numpy", "onnxruntime", "ai-edge-litert")
"""In the very versions installed here, as far as they are."""

PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")

CPUINFO = """\
processor\t: {core}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
"""One core of a Cortex-A72 as Linux shows it on a Raspberry Pi 4; part 0xd08 is in Arm's manual of it."""

CORES = 4


def call(command: list[str]) -> None:
    """Run a command in silence.

    Raises:
        InputError: It is not there, or it fails; the message ends with what it said last.
    """
    if shutil.which(command[0]) is None:
        raise InputError(f"{command[0]} is not installed", "run this on Debian or one of its derivatives")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise InputError(f"{' '.join(command[:2])} failed:\n{said}", "see the lines above")


def download_packages(folder: Path) -> list[Path]:
    """Fetch PACKAGES and all that they need for arm64, through the computer's own apt sources.

    Args:
        folder: Takes apt's lists and the packages; apt is told that nothing is installed.
    """
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",  # its usual one may not read a private folder
        "Dir::Cache": folder / "cache",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
    }
    apt = ["apt-get", "-q", "-y", *(f"-o{name}={value}" for name, value in settings.items())]
    call([*apt, "update"])
    call([*apt, "install", "--download-only", *PACKAGES])
    return sorted((folder / "cache/archives").glob("*.deb"))


def unpack(packages: list[Path], root: Path) -> str:
    """Unpack them; the version of the Python inside, for example "3.11"."""
    for package in packages:
        call(["dpkg", "-x", str(package), str(root)])
    if not (root / "lib").exists():  # a newer Debian leaves this link to a package that is not needed
        (root / "lib").symlink_to("usr/lib")
    return (root / "usr/bin/python3").readlink().name.removeprefix("python")


def install_libraries(root: Path, python: str) -> None:
    """Unpack the aarch64 wheels of LIBRARIES, and of what they need, below the root."""
    wanted = []
    for name in LIBRARIES:
        try:
            wanted.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            click.echo(f"{name} is not installed here: left out")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(root / WHEELS)]
    platforms = [f"--platform={name}" for name in PLATFORMS]
    interpreter = ["--implementation=cp", f"--python-version={python}", "--only-binary=:all:"]
    call([*pip, *platforms, *interpreter, *wanted])


def describe_processor(root: Path) -> None:
    """Write what a Cortex-A72's Linux says of it: without, the libraries would read the computer's own."""
    files = {"proc/cpuinfo": "".join(CPUINFO.format(core=core) for core in range(CORES))}
    for name in ("possible", "present", "online"):
        files[f"sys/devices/system/cpu/{name}"] = f"0-{CORES - 1}\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=arm_root, help="The root; replaced whole.")
def main(out: Path) -> None:
    """Make it: 255 MB, about a minute."""
    try:
        with staging(out.parent) as folder, tempfile.TemporaryDirectory() as downloads:
            root = folder / "root"
            root.mkdir()
            click.echo("Debian packages ...")
            python = unpack(download_packages(Path(downloads)), root)
            click.echo(f"aarch64 wheels for Python {python} ...")
            install_libraries(root, python)
            describe_processor(root)
            replace_directory(root, out)
    except EdgeError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out} is ready: udacimed-edge validate ARTIFACT --isa all")
    if out != arm_root():
        click.echo(f"so that it is found: export UDACIMED_ARM_ROOT={out}")


if __name__ == "__main__":
    main()
