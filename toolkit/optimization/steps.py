"""From a baseline to the optimized model: every technique applied, measured, and the model written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from udacimed_edge.core import machine
from udacimed_edge.core.data import DataSet, Split
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import staging, write_atomic
from udacimed_edge.optimization.measure import flops, latency_ms, peak_activation_bytes
from udacimed_edge.optimization.techniques import STEPS, Effect, State, Step, as_it_came
from udacimed_edge.optimization.trained import REHEARSAL, TRAINED_LIMITS, training_record, write_model
from udacimed_edge.optimization.training import Recipe, Task, examples, stressed, train
from udacimed_edge.runtime.contract import SIDE
from udacimed_edge.source.load import SourceModel, SourceOptions, load_source, stated_card
from udacimed_edge.source.spec import ModelSpec, spec_path
from udacimed_edge.validation.judging.evaluate import data_record
from udacimed_edge.validation.metrics.metrics import compute_metrics
from udacimed_edge.validation.metrics.records import Metrics, Record
from udacimed_edge.validation.report import DataRecord
from udacimed_edge.workflow.prepare import set_threshold, source_probabilities

__all__ = ["Optimization", "OptimizationPlan", "StepMeasurement", "optimize", "read_baseline"]


class StepMeasurement(Record):
    """The model after one step.

    Attributes:
        step: The technique, or the fine-tuning after it.
        effect: What it does to the answers; "to fine-tune" marks a loss that only training wins back.
        flops: Of one image, by PyTorch's counter; a multiply-accumulate is two.
        parameters: Their number.
        stored_bytes: Of the weights and statistics, in the type they are stored in.
        peak_activation_bytes: The most that the tensors between operators hold at once, for one image.
        latency_ms: Median of one image, by PyTorch without a compiler, in milliseconds.
        latency_p95_ms: Its 95th percentile.
        threshold: Decision threshold; set again on the validation split after fine-tuning alone.
        metrics: On the validation split.
        max_probability_difference: Largest against the row before, over the validation split.
    """

    step: str
    effect: Effect
    flops: int
    parameters: int
    stored_bytes: int
    peak_activation_bytes: int
    latency_ms: float
    latency_p95_ms: float
    threshold: float
    metrics: Metrics
    max_probability_difference: float | None


class Optimization(Record):
    """What `optimize` writes beside the model.

    Attributes:
        schema_version: The version of this form.
        rehearsal: Whether the images are synthetic: no figure is evidence then.
        baseline: The baseline's name.
        baseline_sha256: Of its file.
        model_sha256: Of the file that was written.
        data: The validation split.
        fine_tune_epochs: After each step that needs it.
        seed: Of the fine-tuning.
        processor: Where latency was measured.
        threads: Of PyTorch.
        tools: Versions.
        steps: In order.
    """

    schema_version: Literal[1] = 1
    rehearsal: bool
    baseline: str
    baseline_sha256: str
    model_sha256: str
    data: DataRecord
    fine_tune_epochs: int
    seed: int
    processor: str
    threads: int
    tools: dict[str, str]
    steps: tuple[StepMeasurement, ...]


@dataclass(frozen=True)
class OptimizationPlan:
    """What is asked for.

    Attributes:
        out: The .safetensors to write; the card lies beside it as .json.
        fine_tune: Epochs after each step that needs it; 0 for none.
        seed: Of the fine-tuning.
    """

    out: Path
    fine_tune: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Baseline:
    """The model as it comes."""

    source: SourceModel
    state: State


def read_baseline(path: Path, options: SourceOptions) -> Baseline:
    """Read the baseline.

    Args:
        path: A state dict of torchvision's ResNet-18 with three input channels, .pth or .safetensors.
        options: What the file and its card do not say: normalisation, labels, threshold.

    Raises:
        InputError: Another architecture, normalisation or labels not stated, or whatever `load_source`
            refuses.
    """
    source = load_source(path, options)
    network = getattr(source.module, "network", None)
    is_resnet18 = source.architecture == "torchvision-resnet18" and source.output == "logits"
    if not is_resnet18 or network is None or network.conv1.in_channels != 3:
        raise InputError(
            f"{path} is no baseline: expected torchvision's ResNet-18 weights with three input channels",
            "convert takes it as it is; a student can be trained from it: optimize --student",
        )
    card = stated_card(path, options)
    each = {"mean": card.mean * (3 // len(card.mean)), "std": card.std * (3 // len(card.std))}
    return Baseline(source, State(network, card.model_copy(update=each)))


def optimize(
    baseline: Baseline, data: DataSet, plan: OptimizationPlan, notify: Callable[[str], None]
) -> Optimization:
    """Apply every step, measure each, and write the model, its card and the measurements.

    Args:
        baseline: From `read_baseline`.
        data: The validation split measures; with fine-tuning the training split teaches. The test split
            stays closed.
        plan: What is asked for.
        notify: Told of each step and epoch.

    Raises:
        InputError: A split is unusable, or an answer is not finite.
        OutputError: Nothing can be written there.
    """
    measure = _Measure(baseline.source, data.read("validation"))
    rows, stored = [], baseline.state
    with staging(plan.out.parent) as folder:  # before the work, so that a wrong --out costs no time
        set_here = set_threshold(replace(baseline.source, module=as_it_came(stored).module()), data)
        threshold, origin = set_here.value, set_here.origin
        stated = {"threshold": threshold, "threshold_origin": origin}
        start = replace(stored, card=stored.card.model_copy(update=stated))
        for step, state in _states(start, baseline.source, data, plan, notify):
            notify(f"measuring: {step.name}")
            rows.append(measure(step, state))
            stored = state if step.stored else stored
        staged = folder / plan.out.name
        card = write_model(stored.network, _card(stored, baseline, data, plan), staged)
        load_source(staged)  # nothing is kept that convert would refuse to read
        record = Optimization(
            rehearsal=data.origin == "synthetic",
            baseline=baseline.source.name,
            baseline_sha256=baseline.source.digest,
            model_sha256=str(card.weights_sha256),
            data=data_record(data, measure.split),
            fine_tune_epochs=plan.fine_tune,
            seed=plan.seed,
            processor=machine.processor(),
            threads=torch.get_num_threads(),
            tools=machine.tool_versions(),
            steps=tuple(rows),
        )
        for path in (spec_path(staged), staged):
            write_atomic(plan.out.with_name(path.name), path.read_bytes())
    return record


def _states(
    state: State, source: SourceModel, data: DataSet, plan: OptimizationPlan, notify: Callable[[str], None]
) -> Iterator[tuple[Step, State]]:
    """Each step with the state it leaves, and each fine-tuning."""
    for step in STEPS:
        applied = step.apply(state)
        if applied is None:
            continue
        state = applied
        yield step, state
        if step.effect == "to fine-tune" and plan.fine_tune:
            tuned = replace(state, network=_fine_tuned(state, data, plan, notify))
            set_here = set_threshold(replace(source, module=tuned.module(), threshold=None), data)
            threshold, origin = set_here.value, set_here.origin
            stated = {"threshold": threshold, "threshold_origin": origin}
            state = replace(tuned, card=state.card.model_copy(update=stated))
            yield Step(f"epochs: {plan.fine_tune}", "fine-tuned", lambda same: same), state


class _Pixels(nn.Module):
    """A model as training calls it: images 0..1 instead of pixels 0..255."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.model: Any = replace(state, network=copy.deepcopy(state.network)).module().requires_grad_(True)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, 2)."""
        logits: Tensor = self.model(images * 255)
        return logits


def _fine_tuned(
    state: State, data: DataSet, plan: OptimizationPlan, notify: Callable[[str], None]
) -> nn.Module:
    """The network after some epochs on the labels, from where it stands."""
    validation = data.read("validation")
    learn = examples(data.read("train"), leave_out=validation.images)
    task = Task(learn, stressed(examples(validation), seed=1000), Recipe(epochs=plan.fine_tune), plan.seed)
    network: nn.Module = train(lambda: _Pixels(state), task, notify).model.network
    return network


class _Measure:
    """Measures one state after the other on one split."""

    def __init__(self, source: SourceModel, split: Split) -> None:
        self.source, self.split = source, split
        self.before: NDArray[np.float64] | None = None

    def __call__(self, step: Step, state: State) -> StepMeasurement:
        """One row."""
        module, image = state.module(), torch.full((1, 1, SIDE, SIDE), 128.0)
        scores = source_probabilities(replace(self.source, module=module), self.split.images)
        before, self.before = self.before, scores
        median, p95 = latency_ms(module, image)
        assert state.card.threshold is not None  # set before the first step
        elements = sum(t.numel() for t in state.network.state_dict().values() if t.is_floating_point())
        return StepMeasurement(
            step=step.name,
            effect=step.effect,
            flops=flops(module, image),
            parameters=sum(parameter.numel() for parameter in state.network.parameters()),
            stored_bytes=elements * state.bytes_each,
            peak_activation_bytes=peak_activation_bytes(module, image),
            latency_ms=median,
            latency_p95_ms=p95,
            threshold=state.card.threshold,
            metrics=compute_metrics(self.split.labels, scores, state.card.threshold),
            max_probability_difference=None if before is None else float(np.abs(scores - before).max()),
        )


def _card(state: State, baseline: Baseline, data: DataSet, plan: OptimizationPlan) -> ModelSpec:
    """The written model's card: what it was made from, and how."""
    tuned = plan.fine_tune > 0
    limits = dict.fromkeys((*baseline.state.card.limits, *TRAINED_LIMITS))
    rehearsal = (REHEARSAL,) if data.origin == "synthetic" else ()
    training: dict[str, Any] = {
        "optimized from": {"name": baseline.source.name, "sha256": baseline.source.digest},
        "steps": [step.name for step in STEPS if step.stored],
        "fine-tuning": asdict(Recipe(epochs=plan.fine_tune)) if tuned else "none",
    }
    if tuned:
        learned = len(examples(data.read("train"), leave_out=data.read("validation").images).labels)
        training |= training_record(data, learned, plan.seed)
    return state.card.model_copy(
        update={
            "name": plan.out.stem,
            "architecture": "resnet18",
            "weights_sha256": None,
            "training": training,
            "test": {},
            "limits": [*rehearsal, *limits],
        }
    )
