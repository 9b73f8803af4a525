"""The command doctor."""

from __future__ import annotations

import click

from udacimed_edge.cli.command import EdgeCommand
from udacimed_edge.cli.output import CommandOutput, machine_options

__all__ = ["doctor"]


@click.command(cls=EdgeCommand)
@machine_options
def doctor(command_output: CommandOutput) -> None:
    """Say what is installed, what each format can do here, and what is missing.

    Example: udacimed-edge doctor
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from udacimed_edge.core import machine
    from udacimed_edge.workflow.doctor import (
        arm_root_found,
        data_found,
        dicom_found,
        format_health,
        processor_health,
    )

    console = Console()
    table = Table()
    for column in ("format", "convert", "execute", "missing"):
        table.add_column(column)
    formats = format_health()
    for health in formats:
        table.add_row(
            health.name,
            "yes" if health.convert else "no",
            health.execute,
            ", ".join(health.missing) or "nothing",
        )
    console.print(table)
    for health in formats:
        if health.remedy:
            console.print(f"for {health.name}: {health.remedy}", markup=False, highlight=False)
    facts = {
        "processor": f"{machine.processor()}, {machine.cores()} cores",
        "instruction sets": " ".join(machine.instruction_sets()) or "unknown",
        **{f"isa: {name}": found for name, found in processor_health().items()},
        "ARM root": arm_root_found(),
        "DICOM files": dicom_found(),
        **{f"data: {way}": found for way, found in data_found().items()},
        **machine.tool_versions(),
    }
    command_output.content.update(formats=[asdict(health) for health in formats], facts=facts)
    for name, value in facts.items():
        console.print(f"{name:<24} {value}", markup=False, highlight=False, soft_wrap=True)
