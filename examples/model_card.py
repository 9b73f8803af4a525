"""Write a model's card for people, from the JSON card that the toolkit reads.

python examples/model_card.py toolkit/weights/reference.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from udacimed_edge.card import ModelCard, read_card
from udacimed_edge.files import write_atomic


def markdown(card: ModelCard) -> str:
    """The card as Markdown: first what it is for and how well it does, then how it was made."""
    parts = [
        f"# Model card: {card.name}",
        f"{card.architecture}, gray radiographs of 64x64 pixels, two classes: {', '.join(card.labels)}. "
        f"Pixels 0..255 are divided by 255, then normalised with mean {card.mean[0]} and std {card.std[0]}.",
        "## Limits",
        "\n".join(f"- {limit}" for limit in card.limits),
        "## Decision threshold",
        f"{card.threshold}: {card.threshold_origin}.",
        "## Test split, opened once",
        _rows(card.test),
        "## Training",
        _rows({key: value for key, value in card.training.items() if key != "tried"}),
        "## What was tried",
        "\n".join(f"- {line}" for line in card.training.get("tried", [])) or "Nothing else.",
        f"Weights: SHA-256 `{card.weights_sha256}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _rows(figures: dict[str, Any]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {key} | {_text(value)} |" for key, value in figures.items())]
    )


def _text(value: Any) -> str:
    """A figure for a table cell; a proportion with its exact interval."""
    if isinstance(value, dict) and "clopper_pearson" in value:
        interval = value["clopper_pearson"]
        return (
            f"{value['value']:.4f} ({value['successes']} of {value['total']}; "
            f"95 % interval {interval['low']:.3f} to {interval['high']:.3f})"
        )
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(inner)}" for key, inner in value.items())
    return f"{value:.4f}" if isinstance(value, float) and value < 1 else str(value)


def write_markdown(path: Path) -> Path:
    """Write NAME.md beside the card NAME.json."""
    out = path.with_suffix(".md")
    write_atomic(out, markdown(read_card(path)).encode())
    return out


@click.command()
@click.argument("card", type=click.Path(path_type=Path, exists=True))
def main(card: Path) -> None:
    """Write the card for people beside CARD."""
    click.echo(write_markdown(card))


if __name__ == "__main__":
    main()
