"""Which of the files that a person named are pictures, and what was passed over."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from udacimed_edge.runtime import image

__all__ = ["Search", "find_images"]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".dcm", ".dicom", ".dic", ".ima"}
)

OTHER_SUFFIXES = frozenset(
    {".heic", ".heif", ".gif", ".webp", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".raw"}
)
"""Pictures that are not read; each gets its line, so that nobody takes it for screened."""


@dataclass
class Search:
    """What a search for images passed over.

    Attributes:
        passed_over: Number of files in folders that are no images, by suffix.
        empty: The folders that were named and hold no image.
    """

    passed_over: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)


def find_images(names: Sequence[str], search: Search | None = None) -> Iterator[Path]:
    """Every file that was named, each once; folders with all below them, sorted.

    From a folder come the files with a picture's suffix, and those without any, or with one that is no word,
    whose content is a picture's: a DICOM file on a clinic's disk often has none, or ends in a number. Hidden
    files are left out.

    Args:
        names: Files, folders, or patterns such as "*.dcm", which Windows passes on as they are.
        search: Takes what was passed over.
    """
    search = search or Search()
    seen: set[str] = set()
    for name in names:
        matches = [name] if os.path.lexists(name) or not glob.has_magic(name) else sorted(glob.glob(name))
        for path in map(Path, matches or [name]):
            found = list(_below(path, search)) if path.is_dir() else [path]
            if not found:
                search.empty.append(str(path))
            for file in found:
                if (key := os.path.abspath(file)) not in seen:
                    seen.add(key)
                    yield file


def _below(folder: Path, search: Search) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in (Path(place, name) for name in sorted(files) if not name.startswith(".")):
            suffix = file.suffix.lower()
            if suffix in IMAGE_SUFFIXES | OTHER_SUFFIXES or (
                not suffix[1:].isalpha() and _begins_like_an_image(file)
            ):
                yield file
            else:
                search.passed_over[suffix] += 1


def _begins_like_an_image(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            head = stream.read(132)
            return (image.kind_of(head) or image.other_kind_of(head)) is not None
    except OSError:
        return False
