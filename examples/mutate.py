"""Change the code that decides, one small change at a time, and see whether its tests notice.

    .venv/bin/python examples/mutate.py                # 400 changes; stop and go on at will
    .venv/bin/python examples/mutate.py --only policy  # the files whose path contains "policy"
    .venv/bin/python examples/mutate.py --again        # once more what no test noticed

Each change is made in a copy of the project, never in the project itself; the outcomes are kept in a file, so
that the same command goes on where it was stopped. It needs Linux or macOS. docs/mutation.md says what was
found with it. For a person, not for CI.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

PROJECT = Path(__file__).resolve().parent.parent

_POLICY, _EVALUATE = "tests/validation/policy/test_policy.py", "tests/validation/judging/test_evaluate.py"
_RECHECK, _RUNTIME = "tests/validation/judging/test_recheck.py", "tests/toolkit/runtime"

TESTS: dict[str, tuple[str, ...]] = {
    "validation/policy/policy.py": (_POLICY,),
    "validation/policy/clauses.py": (_POLICY,),
    "validation/judging/evaluate.py": (_EVALUATE, _RECHECK),
    "validation/judging/recheck.py": (_RECHECK,),
    "validation/metrics/metrics.py": ("tests/validation/metrics/test_metrics.py",),
    "toolkit/runtime/contract.py": (f"{_RUNTIME}/test_contract.py",),
    "toolkit/runtime/plausibility.py": (f"{_RUNTIME}/test_plausibility.py",),
    "toolkit/runtime/image.py": (f"{_RUNTIME}/test_image.py",),
    "toolkit/runtime/results.py": (f"{_RUNTIME}/test_screen.py",),
    "targets/bundle/archive.py": ("tests/targets/bundle/test_archive.py",),
}
"""The files that are changed, the most dangerous first, and the tests that must notice: under 10 s each."""

COPIED = ("converters", "dev", "examples", "targets", "tests", "toolkit", "validation", "pyproject.toml")

IMPORTED = ("PIL.Image", "click", "hypothesis", "numpy", "pydantic", "pytest", "scipy.stats")
"""What every run of the tests would import anew; imported once, each run starts as a fork of this process."""

_OPPOSITE: dict[type[ast.AST], type[ast.AST]] = {
    one: other
    for pair in (
        (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot),
        (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr),
    )
    for one, other in (pair, pair[::-1])
}  # fmt: skip

_NO_BEHAVIOUR = ("annotation", "returns", "decorator_list")
"""Fields of a syntax tree whose content decides nothing when the code runs."""


@dataclass(frozen=True)
class Mutant:
    """One small change to one file.

    Attributes:
        key: Of the file's name and its changed text: another text of the file has other mutants.
        file: Its path in the project.
        line: Where it is changed, from 1.
        text: The whole file as changed.
        diff: The change, as `diff -u` shows it.
    """

    key: str
    file: str
    line: int
    text: str
    diff: str


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a mutant: "killed" when one of them failed or hung, else "survived"."""

    file: str
    line: int
    diff: str
    verdict: str
    seconds: float


def mutants(file: str, text: str) -> list[Mutant]:
    """Every small change to a file that can be made by replacing one expression or statement.

    Args:
        file: Its path in the project.
        text: Its content.
    """
    found: dict[str, Mutant] = {}
    for node in _deciding(ast.parse(text)):
        for place, replacement in _changes(node):
            changed = _replaced(text, place, replacement)
            key = hashlib.sha256(f"{file}\n{changed}".encode()).hexdigest()[:16]
            diff = difflib.unified_diff(text.splitlines(), changed.splitlines(), file, file, "", "", 1, "")
            found.setdefault(key, Mutant(key, file, place.lineno, changed, "\n".join(diff)))
    return list(found.values())


def _deciding(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that decide something: no annotation, docstring, `__all__`, message or formatted text."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Assign) and _is_all(node)):
        return
    yield node
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children if name not in _NO_BEHAVIOUR else ():
            if isinstance(child, ast.AST):
                yield from _deciding(child)


def _is_all(node: ast.Assign) -> bool:
    return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """What to replace, and by which text."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            ops = [*node.ops[:place], _OPPOSITE[type(operator)](), *node.ops[place + 1 :]]
            yield node, _text(ast.Compare(node.left, ops, node.comparators))  # type: ignore[arg-type]
    elif isinstance(node, ast.BoolOp):
        yield node, _text(ast.BoolOp(_OPPOSITE[type(node.op)](), node.values))  # type: ignore[arg-type]
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPPOSITE:
        yield node, _text(ast.BinOp(node.left, _OPPOSITE[type(node.op)](), node.right))  # type: ignore[arg-type]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert | ast.USub):
        yield node, _text(node.operand)
    elif isinstance(node, ast.Constant):
        yield from ((node, repr(other)) for other in _other_values(node.value))
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield node, "return None"
    elif isinstance(node, ast.AugAssign | ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield node, "pass"
    if isinstance(node, ast.If | ast.While | ast.IfExp) and isinstance(
        node.test, ast.Call | ast.Name | ast.Attribute
    ):
        yield node.test, f"(not {ast.unparse(node.test)})"


def _other_values(value: object) -> Iterator[object]:
    """Values beside a constant: one more and one less, a half more, the other truth, another word."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, float):
        yield from (value * 1.5 + 0.01, value * 0.5 or -1.0)
    elif isinstance(value, str) and value and " " not in value:
        yield f"not {value}"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def _replaced(text: str, place: ast.expr | ast.stmt, replacement: str) -> str:
    """The text with one node's source replaced; a syntax tree counts columns in bytes of UTF-8."""
    lines = text.encode().splitlines(keepends=True)
    assert place.end_lineno is not None  # what ast.parse gave has ends
    assert place.end_col_offset is not None
    before = b"".join([*lines[: place.lineno - 1], lines[place.lineno - 1][: place.col_offset]])
    after = b"".join([lines[place.end_lineno - 1][place.end_col_offset :], *lines[place.end_lineno :]])
    return (before + replacement.encode() + after).decode()


def chosen(project: Path, only: str, limit: int, seed: int) -> list[Mutant]:
    """At most `limit` mutants, drawn with `seed`; those of the most dangerous file first."""
    every = [
        mutant
        for file in TESTS
        if only in file
        for mutant in mutants(file, (project / file).read_text(encoding="utf-8"))
    ]
    drawn = random.Random(seed).sample(every, min(limit, len(every)))
    return sorted(drawn, key=lambda mutant: list(TESTS).index(mutant.file))


def run_tests(copy: Path, tests: Sequence[str], limit_s: float) -> int | None:
    """The exit status of pytest in the copy, 0 where every test passes; None where it took too long."""
    child = multiprocessing.get_context("fork").Process(target=_pytest, args=(copy, tests))
    child.start()
    child.join(limit_s)
    if child.is_alive():
        child.kill()
        child.join()
        return None
    return child.exitcode


def _pytest(copy: Path, tests: Sequence[str]) -> None:
    """In a process of its own: run the tests on the copy's package, in silence."""
    import pytest

    os.chdir(copy)
    sys.path.insert(0, str(copy / "dev"))  # before the project's own
    os.environ["PYTHONPATH"] = str(copy / "dev")  # for the processes that tests start
    sys.dont_write_bytecode = True  # two changes within a second would share one .pyc
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        os.dup2(nowhere.fileno(), 2)
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", *tests])
    os._exit(code)


def outcome_of(mutant: Mutant, copy: Path, tests: Sequence[str], limit_s: float) -> Outcome:
    """Make a change in the copy, run its tests, undo it."""
    file, started = copy / mutant.file, time.monotonic()
    original = file.read_bytes()
    file.write_text(mutant.text, encoding="utf-8")
    try:
        survived = run_tests(copy, tests, limit_s) == 0
    finally:
        file.write_bytes(original)
    verdict = "survived" if survived else "killed"
    return Outcome(mutant.file, mutant.line, mutant.diff, verdict, round(time.monotonic() - started, 1))


def copy_of(project: Path, folder: Path) -> Path:
    """What the tests need of the project, copied; the links of dev/ stay links."""
    for name in COPIED:
        if (project / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules", "*_cache")
            shutil.copytree(project / name, folder / name, symlinks=True, ignore=ignored)
        else:
            shutil.copyfile(project / name, folder / name)
    return folder


def read_state(path: Path) -> dict[str, Outcome]:
    """The outcomes so far, by the mutants' keys."""
    if not path.exists():
        return {}
    return {key: Outcome(**kept) for key, kept in json.loads(path.read_text(encoding="utf-8")).items()}


def write_state(path: Path, state: dict[str, Outcome]) -> None:
    """Keep the outcomes, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.half")
    half.write_text(json.dumps({key: asdict(one) for key, one in state.items()}, indent=1), encoding="utf-8")
    half.replace(path)


def try_all(tried: Sequence[Mutant], state: dict[str, Outcome], path: Path, copy: Path) -> None:
    """Try what has no outcome yet, file after file; each outcome is kept at once."""
    for file in dict.fromkeys(mutant.file for mutant in tried):
        todo = [mutant for mutant in tried if mutant.file == file and mutant.key not in state]
        if not todo:
            continue
        started = time.monotonic()
        if run_tests(copy, TESTS[file], 600) != 0:
            raise click.ClickException(f"{' '.join(TESTS[file])} fail without any change: mend that first")
        unchanged_s = time.monotonic() - started
        click.echo(f"{file}: {len(todo)} changes, {unchanged_s:.1f} s each")
        for mutant in todo:
            state[mutant.key] = outcome_of(mutant, copy, TESTS[file], 30 + 5 * unchanged_s)
            write_state(path, state)
            click.echo(f"  line {mutant.line}: {state[mutant.key].verdict}")


def summary(tried: Sequence[Mutant], state: dict[str, Outcome]) -> Iterator[str]:
    """The diffs of what survived, then how many of each file's changes were noticed."""
    done = [state[mutant.key] for mutant in tried if mutant.key in state]
    for outcome in done:
        if outcome.verdict == "survived":
            yield outcome.diff + "\n"
    verdicts = Counter((outcome.file, outcome.verdict) for outcome in done)
    for file in dict.fromkeys(outcome.file for outcome in done):
        yield f"{file}: {verdicts[file, 'killed']} killed, {verdicts[file, 'survived']} survived"
    survived = sum(outcome.verdict == "survived" for outcome in done)
    yield f"{len(done)} of {len(tried)} tried: {len(done) - survived} killed, {survived} survived"


@click.command()
@click.option("--state", "path", type=click.Path(path_type=Path), default=PROJECT / "build/mutation.json")
@click.option("--only", default="", help="Only the files whose path contains this.")
@click.option("--limit", default=400, show_default=True, help="Changes to try, at most.")
@click.option("--seed", default=0, show_default=True, help="Draws them.")
@click.option("--again", is_flag=True, help="Try what survived once more.")
def main(path: Path, only: str, limit: int, seed: int, again: bool) -> None:
    """Try changes and show those that no test notices. Exit status 1 where there is one."""
    tried, state = chosen(PROJECT, only, limit, seed), read_state(path)
    if again:
        state = {key: outcome for key, outcome in state.items() if outcome.verdict == "killed"}
    for name in IMPORTED:
        importlib.import_module(name)
    try:
        with tempfile.TemporaryDirectory() as folder:
            try_all(tried, state, path, copy_of(PROJECT, Path(folder).resolve()))
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on with what is left", err=True)
        sys.exit(130)
    for line in summary(tried, state):
        click.echo(line)
    sys.exit(any(state[mutant.key].verdict == "survived" for mutant in tried))


if __name__ == "__main__":
    main()
