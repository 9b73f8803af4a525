"""The processor cases: one artifact, judged as other processors compute it.

A case whose answers break the policy is FAIL, and so is the artifact. A case that no emulator computed is
SKIP, with the reason: a missing emulator, one that died and one that hung tell nothing about the artifact.
A case without an emulator that dies or hangs is FAIL: there it is the artifact's own runtime that did not
answer, on this very machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

import udacimed_edge
from udacimed_edge.core import machine
from udacimed_edge.runtime.formats import FORMATS
from udacimed_edge.validation.judging.emulation import PATIENCE_S, Command, Emulator, run_all
from udacimed_edge.validation.judging.inputs import EvaluationInputs, Execution, IsaChoice, RunSettings
from udacimed_edge.validation.metrics.metrics import compare, compute_metrics, invariance, prediction_digest
from udacimed_edge.validation.metrics.records import Metrics
from udacimed_edge.validation.policy.clauses import ClauseResult, Evidence
from udacimed_edge.validation.policy.policy import processor_policy
from udacimed_edge.validation.report import ProcessorRecord, Verdict

__all__ = ["CASES", "ProcessorCase", "cases_of", "evaluate_processors", "processor_records"]

TELL_EVERY_S = 5.0

_IMAGES, _PACKAGE = "images.npy", "package"

_JUDGED = ""
"""In place of a module: the answers that the artifact itself was judged by."""


@dataclass(frozen=True)
class ProcessorCase:
    """One processor and how its answers are computed.

    Attributes:
        name: Its format first; in `_PROCESSORS` as a format's row names it.
        format: The format's name; empty in `_PROCESSORS`, as several formats may name one.
        processor: What it stands for, in words.
        module: What runs in its process: `python -m MODULE ARTIFACT IMAGES.npy ANSWERS.npy`.
        needs: The instruction set without which this machine cannot stand for it.
        environment: Variables that make the runtime compute so.
        emulator: What computes, where it is not this machine's own processor.
    """

    name: str
    format: str
    processor: str
    module: str = "udacimed_edge.runtime.answers"
    needs: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    emulator: Emulator | None = None

    def way(self) -> str:
        """How it is computed, in words."""
        if self.emulator is not None:
            return str(self.emulator)
        if self.module == _JUDGED:
            return "the judged run"
        if self.module.startswith("udacimed_edge.validation"):
            return self.module
        return " ".join(f"{name}={value}" for name, value in self.environment.items()) or "native"

    def missing(self) -> str:
        """Why it cannot be computed here, with the command that helps; empty where it can."""
        if self.needs and self.needs not in machine.instruction_sets():
            return f"this processor has no {self.needs}"
        return self.emulator.missing() if self.emulator else ""


_HASWELL = Emulator("qemu-x86_64-static", "Haswell")
_CORTEX_A72 = Emulator("qemu-aarch64-static", "cortex-a72", foreign=True)

_PROCESSORS = (
    ProcessorCase("native", "", "this machine"),
    ProcessorCase("haswell", "", "x86-64 without VNNI (Haswell, 2013)", emulator=_HASWELL),
    ProcessorCase("cortex-a72", "", "ARM Cortex-A72 (Raspberry Pi 4)", emulator=_CORTEX_A72),
    ProcessorCase(
        "avx512",
        "",
        "x86-64 with AVX-512, without VNNI",
        needs="avx512f",
        environment={"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    ),
    ProcessorCase(
        "avx2",
        "",
        "x86-64 with AVX2, without VNNI",
        needs="avx2",
        environment={"ONEDNN_MAX_CPU_ISA": "AVX2"},
    ),
    # The judged run stands for itself: running it once more is what takes longest of all
    ProcessorCase("judged", "", "as judged: float32 sums, on macOS Core ML's own", module=_JUDGED),
    ProcessorCase(
        "half-sums",
        "",
        "a device that adds in float16",
        module="udacimed_edge.validation.coreml.fp16_accumulation",
    ),
)
"""What a format's row can name. ONEDNN_MAX_CPU_ISA caps the instruction sets of OpenVINO's kernels
(https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html)."""


def _cases() -> tuple[ProcessorCase, ...]:
    known = {case.name: case for case in _PROCESSORS}
    return tuple(
        replace(known[name], name=f"{row.name}-{name}", format=row.name)
        for row in FORMATS.values()
        for name in row.processors
    )


CASES = _cases()
"""Every case of every format, in the order in which they are shown."""


def cases_of(format_name: str, precision: str, choice: IsaChoice) -> tuple[ProcessorCase, ...]:
    """The cases that a choice stands for, for an artifact of this format and precision."""
    if choice == "none" or (choice == "auto" and precision != "int8"):
        return ()
    return tuple(
        case for case in CASES if case.format == format_name and (choice == "all" or case.emulator is None)
    )


def evaluate_processors(
    artifact: Path,
    execution: Execution,
    inputs: EvaluationInputs,
    run: RunSettings,
    notify: Callable[[str], None],
) -> tuple[ProcessorRecord, ...]:
    """The cases that the run settings ask for, those of the unsafe variant after the artifact's own.

    Returns:
        Nothing where no case was asked for, or an answer of the judged run is not finite.
    """
    if not np.isfinite(execution.runs[0]).all():
        return ()
    records = processor_records(artifact, execution, inputs, run, notify)
    if not records or run.unsafe is None:
        return records
    unsafe = processor_records(run.unsafe, execution, inputs, run, notify, comparison_only=True)
    return (*records, *unsafe)


def processor_records(
    artifact: Path,
    execution: Execution,
    inputs: EvaluationInputs,
    run: RunSettings,
    notify: Callable[[str], None],
    comparison_only: bool = False,
) -> tuple[ProcessorRecord, ...]:
    """Compute an artifact as every case does, each in its own process, and judge the answers.

    Args:
        artifact: What is computed.
        execution: The judged run, finite, with which every case is compared.
        inputs: What the cases are judged on.
        run: Which cases; as many are computed at once as it has threads.
        notify: Told how far the running cases are, for example "ort-haswell 120/624".
        comparison_only: True where the artifact is a variant of the one in `execution`, shown for what
            its settings would cost: its records decide no verdict.
    """
    cases = cases_of(execution.contract.format, execution.contract.precision, run.isa)
    if comparison_only:
        cases = tuple(case for case in cases if case.module != _JUDGED)  # the variant itself was not judged
    if cases:
        notify("processors")
    with tempfile.TemporaryDirectory(prefix="udacimed-edge-") as folder:
        outcomes = _compute(cases, artifact, inputs.split.images, run.threads, Path(folder), notify)
    outcomes |= {case.name: _Computed(execution.runs[0]) for case in cases if case.module == _JUDGED}
    return tuple(_record(case, outcomes[case.name], execution, inputs, comparison_only) for case in cases)


@dataclass(frozen=True)
class _Computed:
    """What a case answered, float64 of shape (n,), or what went wrong; `seconds` where it was computed."""

    answers: NDArray[np.float64] | None
    problem: str = ""
    seconds: float | None = None


def _compute(
    cases: tuple[ProcessorCase, ...],
    artifact: Path,
    images: NDArray[np.uint8],
    threads: int,
    folder: Path,
    notify: Callable[[str], None],
) -> dict[str, _Computed]:
    """What every case but the judged one computes, by name; `folder` is empty."""
    np.save(folder / _IMAGES, images)
    # An emulated Python finds the package under this name, and nothing else: the libraries beside it here
    # are of another kind
    (folder / _PACKAGE).mkdir()
    (folder / _PACKAGE / "udacimed_edge").symlink_to(Path(udacimed_edge.__file__).absolute().parent)
    outcomes = {case.name: _Computed(None, case.missing()) for case in cases}
    computed = [case for case in cases if case.module != _JUDGED and not outcomes[case.name].problem]
    commands = [_command(case, artifact, folder, len(images)) for case in computed]
    at_once = threads or machine.cores()
    endings = run_all(commands, folder, at_once, _teller(len(images), notify), PATIENCE_S)
    for name, ending in endings.items():
        answers, problem = (None, ending.problem) if ending.problem else _read(folder, name, len(images))
        outcomes[name] = _Computed(answers, problem, ending.seconds)
    return outcomes


def _command(case: ProcessorCase, artifact: Path, folder: Path, images: int) -> Command:
    """The process of one case."""
    python: tuple[str, ...] = (sys.executable,)
    environment = dict(os.environ)
    if case.emulator is not None:
        python, environment = case.emulator.python(), case.emulator.environment(folder / _PACKAGE)
    files = (str(artifact.absolute()), str(folder / _IMAGES), str(folder / f"{case.name}.npy"))
    return Command(
        case.name, (*python, "-m", case.module, *files), {**environment, **case.environment}, images
    )


def _teller(total: int, notify: Callable[[str], None]) -> Callable[[str, int], None]:
    """Turns single steps into a line every few seconds over all cases that have begun and not ended."""
    done: dict[str, int] = {}
    told = time.monotonic()

    def tell(name: str, number: int) -> None:
        nonlocal told
        done[name] = number
        if time.monotonic() - told >= TELL_EVERY_S:
            told = time.monotonic()
            notify(", ".join(f"{case} {n}/{total}" for case, n in done.items() if n < total))

    return tell


def _read(folder: Path, name: str, images: int) -> tuple[NDArray[np.float64] | None, str]:
    """What a case's process wrote, or why that is no answer."""
    try:
        answers = np.load(folder / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return None, f"it ended without answers: {error}"
    if answers.dtype != np.float64 or answers.shape != (images,) or ((answers < 0) | (answers > 1)).any():
        return None, f"it ended with something else than {images} probabilities"
    return answers, ""


def _record(
    case: ProcessorCase,
    computed: _Computed,
    execution: Execution,
    inputs: EvaluationInputs,
    comparison_only: bool,
) -> ProcessorRecord:
    """The verdict on a case's answers, or on the want of them."""
    verdict: Verdict = "SKIP" if case.emulator or case.missing() else "FAIL"
    reason, metrics, moved, digest = computed.problem, None, None, None
    if computed.answers is not None:
        threshold = execution.contract.threshold
        metrics, failed = _judge(computed.answers, threshold, inputs)
        verdict, reason = "FAIL" if failed else "PASS", "; ".join(map(str, failed))
        if metrics is not None:
            moved = invariance([execution.runs[0], computed.answers], threshold)
            digest = prediction_digest(computed.answers)
    return ProcessorRecord(
        name=case.name,
        processor=case.processor,
        way=case.way(),
        verdict=verdict,
        reason=reason,
        sensitivity=metrics.sensitivity.value if metrics else None,
        specificity=metrics.specificity.value if metrics else None,
        auc=metrics.auc if metrics else None,
        changed=moved.flips if moved else None,
        max_difference=moved.max_difference if moved else None,
        prediction_digest=digest,
        seconds=computed.seconds,
        comparison_only=comparison_only,
    )


def _judge(
    answers: NDArray[np.float64], threshold: float, inputs: EvaluationInputs
) -> tuple[Metrics | None, list[ClauseResult]]:
    """Figures, None where an answer is not finite, and the clauses that do not hold."""
    labels, source = inputs.split.labels, inputs.source
    finite = np.isfinite(answers)
    metrics = compute_metrics(labels, answers, threshold) if finite.all() else None
    clauses = processor_policy(inputs.settings).judge(
        Evidence(
            artifact=metrics,
            non_finite=int((~finite).sum()),
            source=compute_metrics(labels, source.probabilities, source.threshold),
            comparison=compare(labels, source.probabilities, answers, threshold, source.threshold)
            if metrics
            else None,
        )
    )
    return metrics, [clause for clause in clauses if not clause.passed]
