"""Tests of the reader for JSON that somebody else may have written."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from pydantic import BaseModel

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.json_reader import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    integer_of,
    number_of,
    parse_json,
    read_json,
    validated,
)

DEEP = "[" * MAX_DEPTH + "]" * MAX_DEPTH

BROKEN = {
    "no JSON": ("{", "Expecting"),
    "a key twice": ('{"a": 1, "a": 1}', "'a' stands twice"),
    "a key twice, written otherwise": (r'{"a": 1, "\u0061": 1}', "'a' stands twice"),
    "a key twice, far inside": ('{"x": [{"b": 1, "b": 2}]}', "'b' stands twice"),
    "NaN": ('{"a": NaN}', "NaN is not a finite number"),
    "infinity": ('{"a": -Infinity}', "-Infinity is not a finite number"),
    "a number too large for a float": ('{"a": 1e999}', "1e999 is not a finite number"),
    "an integer of many digits": ('{"a": %s}' % ("9" * 5000), f"more than {MAX_DIGITS} digits"),
    "a float of many digits": ('{"a": 0.%s}' % ("9" * 5000), f"more than {MAX_DIGITS} digits"),
    "a digit of another script": ('{"a": 1\u0661}', "Expecting"),
    "an underscore in a number": ('{"a": 0_1}', "Expecting"),
    "half of a surrogate pair": (r'{"a": "\ud800"}', "surrogates not allowed"),
    "half of a surrogate pair in a key": (r'{"\ud800": 1}', "surrogates not allowed"),
    "deeper than it may be": (f'{{"a": {DEEP}}}', "nested deeper"),
    "deeper than the stack": ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested deeper"),
    "more values than it may have": ('{"a": [' + "0," * MAX_VALUES + "0]}", "values"),
    "a list": ("[1]", "not a JSON object"),
    "a text behind it": ("{} {}", "Extra data"),
    "a byte order mark": ("\ufeff{}", "BOM"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """What cannot mean one thing alone, or is larger or deeper than what we write, is refused and named."""
    path = tmp_path / "some.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_json(path, "a report")
    assert str(path) in caught.value.message
    assert len(caught.value.message) < 400


def test_what_is_taken(tmp_path: Path) -> None:
    """Ordinary JSON comes back as it is, with the text that it was read from."""
    path, text = tmp_path / "some.json", '{"a": [1, -2.5e-3, "ä", null, true], "b": {"a": 0}}'
    path.write_text(text, encoding="utf-8")
    assert read_json(path, "a report") == ({"a": [1, -0.0025, "ä", None, True], "b": {"a": 0}}, text)
    assert parse_json(DEEP)[0] is not None


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """A sparse file of 20 GiB is refused at once: no more than the bound is read."""
    path = tmp_path / "sparse.json"
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), 20 << 30)
    started = time.monotonic()
    with pytest.raises(InputError, match="weighs more than 16 MiB"):
        read_json(path, "a report")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "latin-1"])
def test_what_is_no_text_file(tmp_path: Path, kind: str) -> None:
    """What is no file, or no UTF-8, is refused and never waited for."""
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "latin-1":
        path.write_bytes(b'{"a": "\xe4"}')
    with pytest.raises(InputError):
        read_json(path, "a report")


class _Many(BaseModel):
    """A record whose every field can be missing."""

    items: tuple[_Item, ...]


class _Item(BaseModel):
    name: int


def test_an_error_does_not_carry_the_file(tmp_path: Path) -> None:
    """A record that does not fit is refused by its first field, in a message that stays short."""
    items = ",".join(['{"n": "' + "x" * 1000 + '"}'] * 1000)
    text = f'{{"items": [{items}]}}'
    with pytest.raises(InputError, match=r"is not a list: items\.0\.name: Field required") as caught:
        validated(_Many, text, tmp_path, "a list")
    assert len(caught.value.message) < 400


def test_numbers_in_words() -> None:
    """Numbers in tables are decimal, finite and in ASCII digits."""
    assert (integer_of(" 12"), number_of("0.5"), number_of("1e-3"), number_of("-1.")) == (12, 0.5, 1e-3, -1)
    for text in ("0_1", "\u0661", "", "1.5", "0x1", "9" * 41, "nan"):
        with pytest.raises(ValueError, match="not a whole number"):
            integer_of(text)
    for text in ("0_1", "0.\u0661", "", "nan", "inf", "1e999", "0x1p3", "."):
        with pytest.raises(ValueError, match="not a number"):
            number_of(text)


def test_the_bounds_are_looked_at_before_anything_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many values are refused without building one of them."""
    monkeypatch.setattr("json.loads", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(ValueError, match="values"):
        parse_json("[" * (MAX_VALUES + 1))
