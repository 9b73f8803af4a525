"""Every error a user can meet, each kind with its own exit code; `EXIT_CODES` is the one list of them."""

from __future__ import annotations

__all__ = [
    "EXIT_CODES",
    "ConversionError",
    "EdgeError",
    "ExtraMissingError",
    "GateRefusedError",
    "InputError",
    "OriginError",
    "OutputError",
    "StatedError",
    "UnsupportedError",
]

EXIT_CODES = {
    0: "everything passed",
    1: "a defect of the toolkit's own",
    2: "command line",  # click's own code for one that it cannot parse
    3: "bad input",
    4: "missing extra",
    5: "conversion failed",
    6: "refused by the gate",
    7: "cannot write",
    8: "not executed here",
    9: "a verdict on somebody's word",
    10: "intact, origin not proven",
    130: "interrupted",
}
"""What each exit code of `udacimed-edge` means; --help and docs/errors.md say the same."""


class EdgeError(Exception):
    """An error to be shown to a person.

    Args:
        message: What went wrong, with the file or format concerned.
        hint: What to do next; empty when the message says it already.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The message and, after it, the hint."""
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[EdgeError], tuple[str, str]]:
        """Pickle both parts, so that an error crosses from a worker process whole."""
        return type(self), (self.message, self.hint)


class InputError(EdgeError):
    """A model, data set, card, report or artifact that cannot be used as it is."""

    exit_code = 3


class ExtraMissingError(EdgeError):
    """A format was asked for whose libraries are not installed."""

    exit_code = 4


class ConversionError(EdgeError):
    """A format's converter failed or its worker process died."""

    exit_code = 5


class GateRefusedError(EdgeError):
    """An artifact, or the source model, does not satisfy the policy."""

    exit_code = 6


class OutputError(EdgeError):
    """A result could not be written: permissions, a full disk, a file in the way."""

    exit_code = 7


class UnsupportedError(EdgeError):
    """An artifact cannot be executed on this machine; its verdict is SKIP."""

    exit_code = 8


class StatedError(EdgeError):
    """A verdict rests on somebody's word, for the answers or for the source model, and is no proof."""

    exit_code = 9


class OriginError(EdgeError):
    """A bundle is whole, and nothing shows who made it."""

    exit_code = 10
