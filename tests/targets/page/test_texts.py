"""The page's texts in all its languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "targets" / "page"
SOURCE = (PAGE / "src" / "texts.ts").read_text("utf-8")
LANGUAGES = ("en", "es", "fr", "sw", "hi")


def texts(language: str) -> dict[str, str]:
    """A language's table."""
    found = re.search(rf"^const {language}(?:: Texts)? = \{{\n(.*?)^\}};", SOURCE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return dict(re.findall(r'^  (\w+):\s+"((?:[^"\\]|\\.)*)",$', found[1], re.MULTILINE))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing(language: str) -> None:
    """Every language has every text, and each fills the same places."""
    english, other = texts("en"), texts(language)
    assert len(english) > 35
    assert other.keys() == english.keys()
    for key, text in other.items():
        assert text.strip()
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", english[key])), key


def test_every_text_of_the_template_is_in_the_table() -> None:
    """What the template asks for exists."""
    wanted = set(re.findall(r'data-text="(\w+)"', (PAGE / "page.html").read_text("utf-8")))
    assert len(wanted) > 10
    assert wanted <= texts("en").keys()


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_a_translation_without_a_reviewer_is_known(language: str) -> None:
    """No translation claims a review that nobody's name stands for."""
    found = re.search(rf'^  {language}: \{{ name: "[^"]+", reviewer: "([^"]*)" \}},$', SOURCE, re.MULTILINE)
    assert found is not None
    assert found[1] == ""
    assert texts(language)["notReviewed"] != texts("en")["notReviewed"]
