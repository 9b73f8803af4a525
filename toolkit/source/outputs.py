"""What a network's answer is, as it is stated, and how it becomes two logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from udacimed_edge.core.errors import InputError
from udacimed_edge.source.network import Network

if TYPE_CHECKING:  # it takes seconds to import: only the functions that need it do so
    import torch

__all__ = ["OUTPUTS", "Output", "require_output", "two_logits"]

Output = Literal["logits", "softmax", "log-softmax", "logit", "sigmoid", "sigmoids"]
"""Two logits; two probabilities that add up to 1; their logarithms; one logit or one probability, of the
second label; two probabilities of which each stands for itself."""

OUTPUTS: tuple[Output, ...] = get_args(Output)

_ONE = ("logit", "sigmoid")
_LEAST = 2.0**-24
"""The smallest number above 0 in float16: a probability that rounds to 0 keeps a finite logarithm."""


def require_output(stated: Output | None, network: Network, answers: torch.Tensor, path: Path) -> Output:
    """The kind of answer that was stated; two logits where nothing else is possible.

    Args:
        stated: By a person or a card; None where nothing was.
        network: Its ending tells logits from probabilities.
        answers: Its answers for some images, float32 of shape (n, 1), (n,) or (n, 2).
        path: Its file.

    Raises:
        InputError: It must be stated, or what was stated is not true.
    """
    columns = answers.shape[1] if answers.ndim == 2 else 1
    if stated is None:
        if columns == 2 and (network.ending in _LINEAR or not _all_probabilities(answers)):
            return "logits"
        raise InputError(
            f"{path} answers with {_seen(network, answers, columns)}: what they are is not stated",
            f"say it: --output {' or --output '.join(_possible(network, answers, columns))}",
        )
    if (columns == 1) != (stated in _ONE):
        raise InputError(f"{path} answers with {columns} number(s), so its output is not '{stated}'")
    wrong = _contradiction(stated, network, answers)
    if wrong:
        raise InputError(f"{path}: its output is not '{stated}': {wrong}")
    return stated


_LINEAR = ("Gemm", "MatMul", "Conv")


def _all_probabilities(answers: torch.Tensor) -> bool:
    return bool(((answers >= 0) & (answers <= 1)).all())


def _add_up(answers: torch.Tensor) -> bool:
    return bool(((answers.sum(dim=1) - 1).abs() < 1e-4).all())


def _seen(network: Network, answers: torch.Tensor, columns: int) -> str:
    number = "one number" if columns == 1 else "two numbers"
    low, high = float(answers.min()), float(answers.max())
    end = f", the last operator is {network.ending}" if network.ending else ""
    return f"{number} an image (between {low:.3g} and {high:.3g} for plain images{end})"


def _possible(network: Network, answers: torch.Tensor, columns: int) -> tuple[str, ...]:
    between = _all_probabilities(answers)
    if columns == 1:
        return (
            ("sigmoid",) if network.ending == "Sigmoid" else ("logit", "sigmoid") if between else ("logit",)
        )
    if network.ending == "Sigmoid":
        return ("sigmoids",)
    return ("softmax",) if _add_up(answers) else ("sigmoids", "logits")


def _contradiction(stated: Output, network: Network, answers: torch.Tensor) -> str:
    """Why the answers cannot be what was stated; empty where they can."""
    if stated in ("softmax", "sigmoid", "sigmoids") and not _all_probabilities(answers):
        return f"it gave {float(answers.min()):.3g} to {float(answers.max()):.3g}, probabilities lie in 0..1"
    if stated == "softmax" and not _add_up(answers):
        return f"its two numbers add up to {float(answers[0].sum()):.3g}, not to 1"
    if stated == "log-softmax" and not _add_up(answers.exp()):
        return "the exponentials of its two numbers do not add up to 1"
    if stated in ("logits", "logit") and network.logits is not None:
        return f"it ends in a {network.ending}, so it answers with probabilities"
    return ""


def two_logits(network: Network, output: Output) -> torch.nn.Module:
    """A network that answers with two logits, whose softmax are the probabilities that were meant.

    A last sigmoid or softmax is taken away, which is exact; where it lies deeper its logarithm is taken.
    One logit z becomes (0, z). Of two sigmoids the second label's counts, as it does for its owner.

    Returns:
        float32 images to float32 logits of shape (n, 2), in the order of the model's labels.
    """
    import torch

    without = network.logits if output in ("softmax", "sigmoid", "sigmoids") else None
    body = network.module if without is None else without

    class TwoLogits(torch.nn.Module):  # made here because torch is imported here
        second: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.body = body
            self.register_buffer("second", torch.tensor([[0.0, 1.0]]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.body(x)
            if output == "softmax" and without is None:
                return y.clamp(min=_LEAST).log()
            if output in ("sigmoid", "sigmoids") and without is None:
                y = y.clamp(_LEAST, 1 - _LEAST)
                y = y.log() - (1 - y).log()
            if output in ("softmax", "log-softmax"):
                return y
            if output == "sigmoids":
                return y * self.second
            return y.reshape(-1, 1) * self.second

    return body if output == "logits" else TwoLogits()
