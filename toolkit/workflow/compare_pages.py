"""Whether pages made again say the same: byte for byte, or in the same words where something else drew."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from udacimed_edge.workflow.pages import HTML_NAME, renderers

__all__ = ["differing", "drawn_by", "same_words"]

_PROSE = {HTML_NAME, "model-card.md", "README.md", "START-HERE.txt"}
"""What is only read; what is run or parsed has to be the same byte for byte."""

_DRAWING = re.compile(r"<svg\b([^>]*)>(.*?)</svg>", re.DOTALL)
_TEXT = re.compile(r"<text\b[^>]*>([^<]*)</text>")
_TAG = re.compile(r"<(/?[a-zA-Z][\w:-]*)([^<>]*)>")
_ATTRIBUTE = re.compile(r'([\w:-]+)="([^"]*)"')
_NUMBER = re.compile(r"[-\u2212]?[0-9.]+")


def differing(theirs: Mapping[str, bytes], ours: Mapping[str, bytes], by_words: bool) -> list[str]:
    """The names of the files that do not say the same.

    Args:
        theirs: From a bundle.
        ours: Made again, under the same names.
        by_words: Whether it suffices for a page that its figures and words are the same.
    """
    return [
        name
        for name in sorted(ours)
        if theirs[name] != ours[name]
        and not (by_words and name in _PROSE and same_words(theirs[name], ours[name]))
    ]


def drawn_by(theirs: Mapping[str, str]) -> str:
    """What else drew a bundle's pages than would draw them here."""
    here = renderers()
    other = [
        f"{name} {theirs.get(name, 'unknown')[:40]}, here {version}"
        for name, version in here.items()
        if theirs.get(name) != version
    ]
    return f"drawn by {'; '.join(other) or 'the same as here'}"


def same_words(theirs: bytes, ours: bytes) -> bool:
    """Whether two pages have the same words and figures; of a drawing, its description and its labels.

    Lines of a drawing may end elsewhere and its axes may be divided otherwise, but it has no element, no
    attribute and no address that ours has not.
    """
    try:
        pages = theirs.decode(), ours.decode()
    except UnicodeDecodeError:
        return False
    drawings = [_DRAWING.findall(page) for page in pages]
    bare = [_DRAWING.sub(" DRAWING ", page).split() for page in pages]
    return (
        bare[0] == bare[1] and len(drawings[0]) == len(drawings[1]) and all(map(_is_same_drawing, *drawings))
    )


def _is_same_drawing(theirs: tuple[str, str], ours: tuple[str, str]) -> bool:
    (head, body), (our_head, our_body) = theirs, ours
    described = [dict(_ATTRIBUTE.findall(text)).get("aria-label") for text in (head, our_head)]
    elements = [{tag for tag, _ in _TAG.findall(text)} for text in (body, our_body)]
    attributes = [
        {name for name, _ in _ATTRIBUTE.findall(h + b)} for h, b in ((head, body), (our_head, our_body))
    ]
    loose = _TAG.sub("", _TEXT.sub("", body)).strip()
    addresses = re.findall(r'(?:href="|url\()(?!#)', head + body)
    return (
        described[0] == described[1]
        and elements[0] <= elements[1]
        and attributes[0] <= attributes[1]
        and not loose
        and not addresses
        and _labels(body) == _labels(our_body)
    )


def _labels(body: str) -> Counter[str]:
    """The words of a drawing that are no numbers: an axis may be divided otherwise."""
    words = (word for text in _TEXT.findall(body) for word in text.split())
    return Counter(word for word in words if not _NUMBER.fullmatch(word))
