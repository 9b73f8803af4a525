"""Training: a stopped run goes on as if it had never stopped, and the best epoch is what is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from udacimed_edge.core.errors import InputError
from udacimed_edge.optimization.augmentation import Augmentation
from udacimed_edge.optimization.training import Examples, Recipe, Task, balanced_loss, mean_answer, train

QUICK = Recipe(epochs=4, batch=8, augmentation=Augmentation(mirror=0.5, normal_largest=1.5))


class Little(nn.Module):
    """A convolution, a batch norm and dropout: state of every kind that training has."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 8, stride=8), nn.BatchNorm2d(4), nn.Dropout(0.2), nn.Flatten(), nn.Linear(256, 2)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, 2)."""
        logits: Tensor = self.layers(images)
        return logits


def drawn(count: int, seed: int) -> Examples:
    """Noise; label 1 is brighter in the middle."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.rand(count, 1, 64, 64, generator=generator) * 0.5
    images[labels == 1, :, 20:40, 20:40] += 0.3
    return Examples(images, labels)


@pytest.fixture
def task() -> Task:
    """Sixteen images to learn, eight to choose by."""
    return Task(drawn(16, 1), drawn(8, 2), QUICK, seed=3)


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def stopping_after(epochs: int) -> Callable[[str], None]:
    """Ends the run when it has told of so many epochs."""
    told: list[str] = []

    def notify(line: str) -> None:
        told.append(line)
        if len(told) == epochs:
            raise StoppedError

    return notify


def weights(network: nn.Module) -> dict[str, Tensor]:
    """Every tensor by its name."""
    return network.state_dict()


@pytest.mark.parametrize("after", [1, 3])
def test_a_stopped_run_goes_on_where_it_was(task: Task, tmp_path: Path, after: int) -> None:
    """Stopped after any epoch and started again, a run ends with the very same bits."""
    whole_lines: list[str] = []
    whole = train(Little, task, whole_lines.append)
    keep, lines = tmp_path / "run", list[str]()
    with pytest.raises(StoppedError):
        train(Little, task, stopping_after(after), keep)
    torch.manual_seed(99)  # another process has drawn other numbers meanwhile
    again = train(Little, task, lines.append, keep)
    assert lines[0].startswith(f"going on after epoch {after}")
    assert lines[1:] == whole_lines[after:]
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(again).items())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_finished_run_is_not_trained_again(task: Task, tmp_path: Path) -> None:
    """Started once more, it gives its result at once."""
    keep, lines = tmp_path / "run", list[str]()
    first = train(Little, task, lambda line: None, keep)
    second = train(Little, task, lines.append, keep)
    assert len(lines) == 1
    assert all(torch.equal(value, weights(first)[name]) for name, value in weights(second).items())


def test_the_best_epoch_is_kept_and_not_the_last(task: Task) -> None:
    """What comes back has the lowest loss told of, although later epochs were worse."""
    worse_later = replace(
        task, choose=Examples(task.choose.images, 1 - task.choose.labels), recipe=replace(QUICK, epochs=12)
    )
    lines: list[str] = []
    network = train(Little, worse_later, lines.append)
    losses = [float(line.split("validation loss ")[1].split(",")[0]) for line in lines]
    assert losses[-1] > min(losses)
    assert balanced_loss(network, worse_later.choose) == pytest.approx(min(losses), abs=6e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda task: replace(task, seed=4), "is a run of another task"),
        (lambda task: replace(task, recipe=replace(QUICK, learning_rate=2e-3)), "is a run of another task"),
        (lambda task: replace(task, learn=drawn(16, 5)), "is a run of another task"),
        (lambda task: replace(task, choose=drawn(8, 5)), "is a run of another task"),
        (lambda task: replace(task, taught=torch.full((16, 2), 0.5)), "is a run of another task"),
    ],
)
def test_a_run_of_another_task_is_refused(
    task: Task, tmp_path: Path, change: Callable[[Task], Task], message: str
) -> None:
    """Other images, another recipe, seed or teacher: the file is not taken for this run's."""
    keep = tmp_path / "run"
    train(Little, task, lambda line: None, keep)
    with pytest.raises(InputError, match=message):
        train(Little, change(task), lambda line: None, keep)


@pytest.mark.parametrize("content", [b"", b"not a run", b"PK\x03\x04"])
def test_a_damaged_run_is_refused(task: Task, tmp_path: Path, content: bytes) -> None:
    """A file that no run wrote is named, with what to do."""
    (tmp_path / "run").write_bytes(content)
    with pytest.raises(InputError, match="is not a training run that can go on"):
        train(Little, task, lambda line: None, tmp_path / "run")


def test_answers_to_the_image_as_it_came_are_learned(task: Task) -> None:
    """A network that hears only the teacher's answers learns them, whatever the labels say."""
    answers = torch.where(
        task.learn.labels[:, None] == torch.tensor([0, 1]), 0.1, 0.9
    )  # the labels' opposite
    recipe = replace(QUICK, epochs=30, learning_rate=1e-2, label_share=0.0, averaging=0.5)
    opposite = replace(
        task, recipe=recipe, taught=answers, choose=Examples(task.learn.images, 1 - task.learn.labels)
    )
    network = train(Little, opposite, lambda line: None)
    given = mean_answer([network], task.learn.images)
    assert (given.argmax(1) != task.learn.labels).float().mean() > 0.9
