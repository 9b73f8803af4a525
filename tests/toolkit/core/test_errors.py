"""The errors a user can meet: told apart by exit code, and whole on their way between processes."""

from __future__ import annotations

import pickle

import pytest

from udacimed_edge.core import errors
from udacimed_edge.core.errors import EdgeError

KINDS = [getattr(errors, name) for name in errors.__all__ if name not in ("EdgeError", "EXIT_CODES")]


def test_every_kind_of_error_is_public() -> None:
    """Whatever derives from EdgeError in the module is in `__all__`."""
    defined = {k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, EdgeError)}
    assert defined == {EdgeError, *KINDS}


def test_every_kind_has_its_own_exit_code() -> None:
    """No two kinds share a code, and none takes that of success, a defect, click or Ctrl-C."""
    codes = {kind.exit_code for kind in KINDS}
    assert len(codes) == len(KINDS)
    assert codes.isdisjoint({0, EdgeError.exit_code, 2, 130})
    assert all(0 < code < 126 for code in codes)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("InputError", 3),
        ("ExtraMissingError", 4),
        ("ConversionError", 5),
        ("GateRefusedError", 6),
        ("OutputError", 7),
        ("UnsupportedError", 8),
        ("StatedError", 9),
        ("OriginError", 10),
    ],
)
def test_the_codes_that_scripts_rely_on(kind: str, code: int) -> None:
    """The codes that `udacimed-edge --help` promises never change."""
    assert getattr(errors, kind).exit_code == code


@pytest.mark.parametrize("kind", [EdgeError, *KINDS])
def test_an_error_is_pickled_whole(kind: type[EdgeError]) -> None:
    """An error comes out of a pickle with its type, its message and its hint."""
    back = pickle.loads(pickle.dumps(kind("it failed", "try again")))
    assert type(back) is kind
    assert (back.message, back.hint, str(back)) == ("it failed", "try again", "it failed\ntry again")


def test_an_error_without_a_hint_is_one_line() -> None:
    """Where there is nothing to advise, the message stands alone."""
    assert str(EdgeError("it failed")) == "it failed"
