"""A model as a Python user names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import sha256_file
from udacimed_edge.source.load import BUILT_IN
from udacimed_edge.source.model import load_model


@pytest.mark.parametrize(
    ("named", "name"),
    [(None, "reference"), ("student", "student"), (str(BUILT_IN["student"]), "student")],
)
def test_built_in_models_have_names(named: str | None, name: str) -> None:
    """No model is the reference model, a built-in one has a name, and a path is a path as str too."""
    assert load_model(named).digest == sha256_file(BUILT_IN[name])


@pytest.mark.parametrize(
    ("model", "stated", "message"),
    [
        ("none.onnx", {}, "none.onnx does not exist"),
        (Path("student"), {}, "student does not exist"),
        (None, {"labels": ("normal", "ill")}, "labels are ('normal', 'ill'), expected normal and pneumonia"),
        (None, {"labels": "normal"}, "labels are ('normal',), expected"),
        (None, {"threshold": 1.5}, "threshold"),
        (None, {"std": 0}, "std"),
        (None, {"mean": (0.1, 0.2)}, "--mean has 2 values"),
    ],
)
def test_what_is_stated_wrongly_is_refused(
    model: Any, stated: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wrong statement is named; nothing is corrected or guessed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_model(model, **stated)
    assert message in str(caught.value)
