"""JSON that somebody else may have written, read with bounds: size, depth, numbers, and each key once.

`json.loads` takes the last of two equal keys where other readers take the first, NaN, numbers of a million
digits and nesting until the stack ends. What is refused here cannot mean two things to two programs.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from udacimed_edge.core.errors import InputError

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_VALUES",
    "integer_of",
    "number_of",
    "parse_json",
    "read_json",
    "read_plain_text",
    "validated",
]

MAX_BYTES = 16 << 20
"""Most that a file may weigh; a report of 624 images weighs 60 kB, one of 100,000 about 5 MB."""

MAX_DEPTH = 32
"""Most objects, lists and values inside each other; a report has 6, a bill of materials 11."""

MAX_VALUES = 1_000_000
"""Most commas and opening brackets: a value takes up to 230 bytes of memory, so all stay below 256 MiB."""

MAX_DIGITS = 40
"""Most characters of a number: a float's shortest exact form has at most 24."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?", re.ASCII)

_Record = TypeVar("_Record", bound=BaseModel)


def parse_json(text: str) -> Any:
    """JSON text as Python's own objects.

    Raises:
        ValueError: It is no JSON; or is larger or deeper than anything we write, names a key twice, or holds
            a number that is not finite or a text that is not Unicode.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    try:
        content = json.loads(
            text,
            object_pairs_hook=_each_key_once,
            parse_constant=_not_finite,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from error
    _require_shallow_unicode(content)
    return content


def read_json(path: Path, what: str, max_bytes: int = MAX_BYTES) -> tuple[dict[str, Any], str]:
    """A JSON file that holds one object.

    Args:
        path: The file.
        what: What it should be, for messages: "a report".
        max_bytes: Most that it may weigh.

    Returns:
        The object, and the text that it was read from.

    Raises:
        InputError: Missing, no file, too large, not UTF-8, or as for `parse_json`.
    """
    text = read_plain_text(path, what, max_bytes)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} is not {what}: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not {what}: it is not a JSON object")
    return content, text


def read_plain_text(path: Path, what: str, max_bytes: int = MAX_BYTES) -> str:
    """A UTF-8 file's text, no larger than it may be.

    Raises:
        InputError: Missing, no regular file, too large, or not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is not {what}: it is not a file")
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > max_bytes:
        size = f"{max_bytes >> 20} MiB" if max_bytes >> 20 else f"{max_bytes} bytes"
        raise InputError(f"{path} is not {what}: it weighs more than {size}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text") from error


def validated(model: type[_Record], text: str, path: Path, what: str) -> _Record:
    """What `read_json` has read, as one of our records.

    Args:
        model: The record.
        text: From `read_json`.
        path: The file, for messages.
        what: What it should be.

    Raises:
        InputError: A field is missing, unknown or of another type.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        # without the input: each of many errors would carry a copy of the whole file
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(_shown(str(part)) for part in first["loc"])
        raise InputError(f"{path} is not {what}: {where}: {first['msg'][:200]}") from error


def integer_of(text: str) -> int:
    """A whole number in ASCII digits; `int` takes "0_1" and the digits of every script.

    Raises:
        ValueError: It is none, or has more than `MAX_DIGITS` digits.
    """
    if not _INTEGER.fullmatch(text.strip(" \t")):
        raise ValueError(f"{_shown(text)} is not a whole number")
    return int(text)


def number_of(text: str) -> float:
    """A finite decimal number in ASCII digits.

    Raises:
        ValueError: It is none, is too large, or has more than `MAX_DIGITS` digits.
    """
    if not _NUMBER.fullmatch(text.strip(" \t")) or not math.isfinite(found := float(text)):
        raise ValueError(f"{_shown(text)} is not a number")
    return found


def _shown(text: str) -> str:
    """A stranger's word, short enough for a message."""
    return text if len(text) <= 40 else f"{text[:40]}..."


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {_shown(twice)!r} stands twice")
    return found


def _not_finite(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a finite number")


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"{_shown(digits)} has more than {MAX_DIGITS} digits")
    return int(digits)


def _finite_float(digits: str) -> float:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"{_shown(digits)} has more than {MAX_DIGITS} digits")
    if not math.isfinite(found := float(digits)):
        raise ValueError(f"{_shown(digits)} is not a finite number")
    return found


def _require_shallow_unicode(content: Any) -> None:
    """Look at every text and every depth, without recursion.

    Raises:
        ValueError: Too deep, or a text with half of a surrogate pair, which cannot be written again.
    """
    level = [content]
    for _ in range(MAX_DEPTH):
        for value in level:
            if isinstance(value, str) and not value.isascii():
                value.encode()  # a UnicodeEncodeError is a ValueError
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value
