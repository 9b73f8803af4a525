"""Every model in the weights folder lies there with its card, for machines and for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from udacimed_edge.optimization.trained import markdown
from udacimed_edge.source.load import REFERENCE, load_source
from udacimed_edge.source.spec import read_spec

CARDS = sorted(REFERENCE.parent.glob("*.json"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_card_belongs_to_its_weights(path: Path) -> None:
    """The weights have the card's digest, name and threshold, and the page for people says the same."""
    card, source = read_spec(path), load_source(path.with_suffix(".safetensors"))
    assert (source.name, source.digest, source.threshold) == (path.stem, card.weights_sha256, card.threshold)
    assert path.with_suffix(".md").read_text(encoding="utf-8") == markdown(card)


@pytest.mark.parametrize("path", [path for path in CARDS if path.stem.endswith("-2")], ids=lambda p: p.stem)
def test_the_second_models_say_what_was_missed(path: Path) -> None:
    """Their cards name the rule's commit, show three seeds, and say of each aim whether it was reached."""
    card = read_spec(path)
    assert "docs/selection-rule.md, commit " in card.training["rule"]
    assert {"seed 0", "seed 1", "seed 2"} < set(card.test["all candidates"])
    assert all(told.endswith((", reached", ", missed")) for told in card.test["aims"].values())
    assert len(card.test["aims"]) == 8
