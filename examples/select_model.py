"""Choose among trained seeds by validation alone, then open the test split: once, for what was chosen.

    python examples/select_model.py choose student --data pneumoniamnist_64.npz --runs runs
    python examples/select_model.py test student --data pneumoniamnist_64.npz --runs runs --rule COMMIT

The rule is docs/selection-rule.md; the commit that holds it is named, and stands in the card. `choose` reads
the seeds that `continue_training.py` wrote, and their mean in weights, and writes RUNS/FAMILY-choice.json.
`test` writes FAMILY-2.safetensors with its card, and refuses to open the test split a second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from continue_training import RECIPES, start
from numpy.typing import NDArray
from safetensors.torch import load_file

from udacimed_edge.core.data import DataSet, Split, open_data
from udacimed_edge.core.files import write_atomic
from udacimed_edge.optimization.trained import figures, training_record, write_markdown, write_model
from udacimed_edge.optimization.training import examples
from udacimed_edge.runtime.contract import probability_of_pneumonia
from udacimed_edge.source.load import BUILT_IN, load_source
from udacimed_edge.source.spec import ModelSpec, read_spec
from udacimed_edge.validation.judging.perturbations import (
    PERTURBATIONS,
    ZOOMS,
    Images,
    Robustness,
    move,
    robustness,
)
from udacimed_edge.validation.metrics.metrics import compute_metrics, highest_threshold
from udacimed_edge.validation.metrics.records import Metrics
from udacimed_edge.validation.metrics.statistics import paired_auc, paired_difference
from udacimed_edge.validation.report import LIMITS

SEEDS = (0, 1, 2)
SENSITIVITY = 0.985
THRESHOLDS = (0.01, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
RULE = (
    f"highest threshold with sensitivity >= {SENSITIVITY} on the validation split and its "
    f"{len(PERTURBATIONS)} perturbed copies together, fixed before the test split was opened"
)
CHECKPOINT = (
    "lowest class-balanced loss on validation and four augmented copies of it, half of the copies mirrored"
)

Scores = NDArray[np.float64]
Predict = Callable[[Images], Scores]


def predictor(weights: Path) -> Predict:
    """What a written file answers; each set of images is computed once."""
    module = load_source(weights).module
    known: dict[int, Scores] = {}

    @torch.no_grad()
    def predict(images: Images) -> Scores:
        key = hash(images.tobytes())
        if key not in known:
            parts = torch.split(torch.from_numpy(images[:, None].astype(np.float32)), 256)
            known[key] = np.concatenate([probability_of_pneumonia(module(p).numpy()) for p in parts])
        return known[key]

    return predict


def candidates(family: str, runs: Path) -> dict[str, Path]:
    """Write every seed, and their mean in weights, as a model file: name to file."""
    states = [torch.load(runs / f"{family}-seed-{seed}.pt", weights_only=True) for seed in SEEDS]
    mean = {
        name: sum(state[name] for state in states) / len(states) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    named = {**{f"seed {seed}": state for seed, state in zip(SEEDS, states, strict=True)}, "mean": mean}
    files = {}
    for name, state in named.items():
        network = start(family).network
        network.load_state_dict(state)
        files[name] = runs / f"{family}-2-{name.replace(' ', '-')}.safetensors"
        write_model(network, blank_card(family), files[name])
    return files


def blank_card(family: str) -> ModelSpec:
    """The card of a model whose threshold is not set and whose test split is not opened."""
    return ModelSpec(
        schema_version=1,
        name=f"{family}-2",
        architecture={"reference": "resnet18"}.get(family, family),
        mean=(0.5,),
        std=(0.5,),
        labels=("normal", "pneumonia"),
    )


def on_validation(predict: Predict, validation: Split) -> dict[str, Any]:
    """A candidate's threshold and all figures that the rule looks at."""
    copies = [validation.images, *(case.apply(validation.images) for case in PERTURBATIONS)]
    labels = np.tile(validation.labels, len(copies))
    scores = np.concatenate([predict(copy) for copy in copies])
    threshold = highest_threshold(labels, scores, SENSITIVITY)
    pooled = compute_metrics(labels, scores, threshold)
    rows = robustness(validation.images, validation.labels, predict, threshold)
    return {
        "threshold": threshold,
        "pooled specificity": pooled.specificity.value,
        "pooled auc": pooled.auc,
        "validation": figures(compute_metrics(validation.labels, predict(validation.images), threshold)),
        "robustness": [row_figures(row) for row in rows],
    }


def row_figures(row: Robustness) -> dict[str, Any]:
    """A row of the robustness table, without intervals."""
    return {"perturbation": row.name, **short(row.metrics), "holds": row.holds}


def short(metrics: Metrics) -> dict[str, Any]:
    """The three figures of one set of images."""
    return {
        "sensitivity": metrics.sensitivity.value,
        "specificity": metrics.specificity.value,
        "auc": metrics.auc,
    }


def by_zoom(predict: Predict, split: Split, threshold: float) -> dict[str, dict[str, Any]]:
    """The shortcut: sensitivity and specificity at each zoom of all images of a split."""
    return {
        str(zoom): short(compute_metrics(split.labels, predict(move(split.images, zoom)), threshold))
        for zoom in ZOOMS
    }


@click.group()
def main() -> None:
    """Choose by validation, then test once."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    folder = click.Path(path_type=Path, exists=True)
    for option in (
        click.option("--runs", type=folder, required=True, help="Folder of continue_training.py."),
        click.option("--data", "choice", required=True, help="A MedMNIST .npz file, or 'medmnist'."),
        click.argument("family", type=click.Choice(list(RECIPES))),
    ):
        command = option(command)
    return command


@main.command()
@_options
def choose(family: str, choice: str, runs: Path) -> None:
    """Set every candidate's threshold and say which one ships; the test split stays closed."""
    validation = open_data(choice).read("validation")
    files = {**candidates(family, runs), "0.1.0": BUILT_IN[family]}
    with ThreadPoolExecutor() as pool:  # PyTorch computes outside Python's lock
        rows = pool.map(lambda file: on_validation(predictor(file), validation), files.values())
        found = dict(zip(files, rows, strict=True))
    new = {name: row for name, row in found.items() if name != "0.1.0"}
    shipped = max(new, key=lambda name: (new[name]["pooled specificity"], new[name]["pooled auc"]))
    record = {"rule": RULE, "shipped": shipped, "candidates": found}
    write_atomic(runs / f"{family}-choice.json", (json.dumps(record, indent=1) + "\n").encode())
    for name, row in found.items():
        figures_ = {key: row[key] for key in ("threshold", "pooled specificity", "pooled auc")}
        click.echo(f"{name}: {figures_}, holds {sum(r['holds'] for r in row['robustness'])} of 13")
    click.echo(f"ships: {shipped}")


@main.command()
@_options
@click.option("--rule", "commit", required=True, help="The commit that holds docs/selection-rule.md.")
@click.option("--soft", type=click.Path(path_type=Path, exists=True), help="Test indexes of soft images.")
@click.option("--notes", type=click.Path(path_type=Path, exists=True), help="A JSON list of lines.")
def test(family: str, choice: str, runs: Path, commit: str, soft: Path | None, notes: Path | None) -> None:
    """Open the test split once, for every candidate, and write the shipped one with its card."""
    out, table = runs / f"{family}-2.safetensors", runs / f"{family}-robustness.json"
    if table.exists():
        raise click.ClickException(f"{table} is there: the test split was opened for {family}-2 already")
    chosen = json.loads((runs / f"{family}-choice.json").read_text())
    data, shipped = open_data(choice), chosen["shipped"]
    opened = data.read("test")
    indexes = [int(word) for word in soft.read_text().split()] if soft else []
    files = {name: runs / f"{family}-2-{name.replace(' ', '-')}.safetensors" for name in chosen["candidates"]}
    files["0.1.0"] = BUILT_IN[family]
    thresholds = {name: row["threshold"] for name, row in chosen["candidates"].items()}
    thresholds["0.1.0"] = read_spec(BUILT_IN[family].with_suffix(".json")).threshold  # as it shipped
    models = {name: (predictor(file), thresholds[name]) for name, file in files.items()}
    splits = (data.read("validation"), opened)
    pairs = [(name, split) for name in (shipped, "0.1.0") for split in splits]
    with ThreadPoolExecutor() as pool:  # PyTorch computes outside Python's lock
        rows = pool.map(lambda name: on_test(*models[name], opened, indexes), models)
        tested = dict(zip(models, rows, strict=True))
        tables = pool.map(lambda pair: perturbed(*models[pair[0]], pair[1]), pairs)
        record: dict[str, Any] = {name: {"threshold": thresholds[name]} for name in (shipped, "0.1.0")}
        for (name, split), found in zip(pairs, tables, strict=True):
            record[name][split.name] = found
    tried = json.loads(notes.read_text()) if notes else []
    card = finished_card(family, data, chosen, tested, record, commit, tried)
    gain = gains(opened, models["0.1.0"], models[shipped])
    told = {"aims": aims(card.test), "against 0.1.0, same images": gain}
    card = card.model_copy(update={"test": {**card.test, **told}})
    network = start(family).network
    network.load_state_dict(load_file(files[shipped]))
    card = write_model(network, card, out)
    write_atomic(table, (json.dumps({"shipped": shipped, "models": record}, indent=1) + "\n").encode())
    click.echo(f"{out}, {write_markdown(out.with_suffix('.json'))}")
    click.echo(json.dumps(card.test, indent=1))


def perturbed(predict: Predict, threshold: float, split: Split) -> dict[str, Any]:
    """Everything the robustness table shows of one split."""
    return {
        "upright": short(compute_metrics(split.labels, predict(split.images), threshold)),
        "robustness": [
            row_figures(row) for row in robustness(split.images, split.labels, predict, threshold)
        ],
        "by zoom": by_zoom(predict, split, threshold),
        "by threshold": by_threshold(split.labels, predict(split.images)),
    }


def by_threshold(labels: NDArray[np.uint8], scores: Scores) -> list[dict[str, Any]]:
    """What a higher or lower threshold would do with a split: a description, nothing is chosen from it.

    The lower end of the exact two-sided 95 % interval says which sensitivity the split would show.
    """
    rows = []
    for threshold in THRESHOLDS:
        metrics = compute_metrics(labels, scores, threshold)
        exact = metrics.sensitivity.clopper_pearson
        assert exact is not None  # both classes are there
        rows.append(
            {
                "threshold": threshold,
                "missed": metrics.fn,
                **short(metrics),
                "sensitivity at least": exact.low,
            }
        )
    return rows


def on_test(predict: Predict, threshold: float, split: Split, soft: list[int]) -> dict[str, Any]:
    """A candidate's figures on the opened split, upright and mirrored."""
    scores, normals = predict(split.images), split.labels == 0
    true = normals & ~np.isin(np.arange(len(normals)), soft)
    mirrored = compute_metrics(split.labels, predict(PERTURBATIONS[0].apply(split.images)), threshold)
    found: dict[str, Any] = {
        "threshold": threshold,
        **figures(compute_metrics(split.labels, scores, threshold)),
    }
    for name, mask in (("true 64-pixel", true), ("soft", normals & ~true)):
        counts = {"called normal": int((scores[mask] < threshold).sum()), "of": int(mask.sum())}
        found[f"specificity on {name} normals"] = counts
    return {**found, "mirrored": short(mirrored), "split digest": split.digest}


def gains(split: Split, before: tuple[Predict, float], after: tuple[Predict, float]) -> dict[str, str]:
    """Paired differences with 95 % intervals: Tango's for shares, DeLong's for the AUC."""
    scores = [predict(split.images) for predict, _ in (before, after)]
    thresholds = (before[1], after[1])
    right = [(s >= t) == (split.labels == 1) for s, t in zip(scores, thresholds, strict=True)]
    found = {}
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        old, new = (answers[split.labels == label] for answers in right)
        change = paired_difference(int((new & ~old).sum()), int((old & ~new).sum()), len(old))
        found[name] = f"{change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})"
    change = paired_auc(split.labels, *scores)
    return {**found, "auc": f"{change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})"}


def finished_card(
    family: str,
    data: DataSet,
    chosen: dict[str, Any],
    tested: dict[str, dict[str, Any]],
    record: dict[str, Any],
    commit: str,
    tried: list[str],
) -> ModelSpec:
    """The card of what ships: how it was chosen, and what every candidate does on the opened split."""
    shipped, rows = chosen["shipped"], chosen["candidates"]
    learned = len(examples(data.read("train"), leave_out=data.read("validation").images).labels)
    recipe = asdict(RECIPES[family])
    seeds = [tested[f"seed {seed}"] for seed in SEEDS]
    mean = {key: float(np.mean([_value(seed[key]) for seed in seeds])) for key in _FIGURES}
    spread = {key: float(np.std([_value(seed[key]) for seed in seeds], ddof=1)) for key in _FIGURES}
    return blank_card(family).model_copy(
        update={
            "threshold": rows[shipped]["threshold"],
            "threshold_origin": RULE,
            "limits": [*LIMITS, zoom_limit(record[shipped], record["0.1.0"])],
            "training": {
                **training_record(data, learned, 0),
                "seed": f"{', '.join(map(str, SEEDS))}; shipped: {shipped}",
                "augmentation": recipe.pop("augmentation"),
                "checkpoint": CHECKPOINT,
                "recipe": recipe,
                "start and teachers": "weights of 0.1.0: the seeds share their start and are not independent",
                "rule": f"docs/selection-rule.md, commit {commit}",
                "validation": rows[shipped]["validation"],
                "validation, all candidates": {name: _brief(row) for name, row in rows.items()},
                "tried": tried,
            },
            "test": {
                **tested[shipped],
                "mean of the seeds": mean,
                "standard deviation of the seeds": spread,
                "all candidates": {
                    name: {key: _value(row[key]) for key in _FIGURES} | {"mirrored": row["mirrored"]}
                    for name, row in tested.items()
                },
                "perturbations": {
                    row["perturbation"]: _brief_row(row) for row in record[shipped]["test"]["robustness"]
                },
            },
        }
    )


_FIGURES = ("sensitivity", "specificity", "auc")


def _value(figure: Any) -> float:
    return float(figure["value"] if isinstance(figure, dict) else figure)


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    held = sum(case["holds"] for case in row["robustness"])
    figures_ = {key: _value(row["validation"][key]) for key in _FIGURES}
    return {
        **{key: row[key] for key in ("threshold", "pooled specificity", "pooled auc")},
        **figures_,
        "perturbations within bounds": f"{held} of {len(row['robustness'])}",
    }


def aims(test: dict[str, Any]) -> dict[str, str]:
    """What was aimed at before training, and whether it was reached, from a card's test figures."""
    mean, lost = test["mean of the seeds"], _value(test["specificity"]) - test["mirrored"]["specificity"]
    held = sum(row.endswith("within bounds") for row in test["perturbations"].values())
    cases = (
        ("AUC >= 0.992, mean of the seeds", mean["auc"], mean["auc"] >= 0.992),
        ("sensitivity >= 0.98, mean of the seeds", mean["sensitivity"], mean["sensitivity"] >= 0.98),
        ("sensitivity >= 0.98, shipped", _value(test["sensitivity"]), _value(test["sensitivity"]) >= 0.98),
        ("specificity >= 0.90, mean of the seeds", mean["specificity"], mean["specificity"] >= 0.90),
        ("specificity >= 0.90, shipped", _value(test["specificity"]), _value(test["specificity"]) >= 0.90),
        (
            "mirrored sensitivity >= 0.98",
            test["mirrored"]["sensitivity"],
            test["mirrored"]["sensitivity"] >= 0.98,
        ),
        ("mirrored specificity at most 0.05 lower, by", lost, lost <= 0.05),
        ("perturbations within bounds, of 13", held, held == len(test["perturbations"])),
    )
    return {name: f"{value:.4g}, {'reached' if good else 'missed'}" for name, value, good in cases}


def _brief_row(row: dict[str, Any]) -> str:
    held = "within bounds" if row["holds"] else "out of bounds"
    return f"sensitivity {row['sensitivity']:.4f}, specificity {row['specificity']:.4f}, {held}"


def zoom_limit(model: dict[str, Any], before: dict[str, Any]) -> str:
    """How much of the shortcut is left, in words, from the validation and test figures by zoom."""

    def told(record: dict[str, Any], split: str) -> str:
        return "; ".join(
            f"zoom {zoom}: {record[split]['by zoom'][zoom]['sensitivity']:.3f} and "
            f"{record[split]['by zoom'][zoom]['specificity']:.3f}"
            for zoom in ("0.85", "1.0", "1.2")
        )

    return (
        "The height of a radiograph relative to its width differs by class in these data (0.82 in training "
        "normals, 0.67 in pneumonia), so the centre square is zoomed differently, and a model may read the "
        "zoom instead of the lung. Sensitivity and specificity with all images zoomed alike, test split: "
        f"{told(model, 'test')} (version 0.1.0: {told(before, 'test')}); validation split: "
        f"{told(model, 'validation')}."
    )


if __name__ == "__main__":
    main()
