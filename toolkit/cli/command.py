"""What every command does with its command line, whatever it is for."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from udacimed_edge.core.outputs import require_writable_file, require_writable_folder
from udacimed_edge.core.words import nearest

__all__ = ["EdgeCommand", "Named", "OutputPath", "command_text", "given_options"]


class EdgeCommand(click.Command):
    """A command that refuses an option given twice where it takes one value: none is dropped in silence."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, once each option was counted.

        Raises:
            click.UsageError: An option that takes one value is given more than once.
        """
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for parameter, times in Counter(order).items():
                if times > 1 and isinstance(parameter, click.Option) and not parameter.multiple:
                    raise click.UsageError(
                        f"{parameter.opts[0]} is given {times} times; it takes one value", ctx
                    )
        return super().parse_args(ctx, args)


class Named(click.ParamType[str]):
    """One of the names a function returns; a wrong one is refused with the nearest, never corrected."""

    def __init__(self, name: str, names: Callable[[], list[str]]) -> None:
        self.name = name
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as it is.

        Raises:
            click.BadParameter: There is no such name.
        """
        known = self.names()
        if value not in known:
            near = nearest(str(value), known)
            question = f"did you mean '{near}'? " if near else ""
            self.fail(f"there is no {self.name} '{value}'; {question}known: {', '.join(known)}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so, for a shell."""
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


class OutputPath(click.ParamType[Path]):
    """Where results go; that it can be written is made sure of before any work.

    Args:
        kind: "file" or "folder".
    """

    def __init__(self, kind: str) -> None:
        self.name = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return it as a path.

        Raises:
            OutputError: It cannot be written.
        """
        if ctx is None or not ctx.resilient_parsing:
            check = require_writable_folder if self.name == "folder" else require_writable_file
            check(Path(value), param.opts[0] if isinstance(param, click.Option) else "")
        return Path(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Whatever files or folders the shell finds."""
        return [CompletionItem(incomplete, type="dir" if self.name == "folder" else "file")]


def command_text(words: Sequence[object]) -> str:
    """A command line as it can be copied, whatever its paths hold."""
    return shlex.join(["udacimed-edge", *map(str, words)])


def given_options(names: Iterable[str]) -> list[str]:
    """The options of the running command among these that a person gave, as they would give them again."""
    context = click.get_current_context()
    found = []
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if parameter.name in names and given:
            value = context.params[parameter.name]
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            found += [f"{parameter.opts[0]}={text}"]
    return found
