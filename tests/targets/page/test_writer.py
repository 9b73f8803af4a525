"""One HTML file with everything inside, the same for the same artifact."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from udacimed_edge.core.errors import InputError, OutputError
from udacimed_edge.targets.page import writer
from udacimed_edge.targets.page.selftest import SelfTest
from udacimed_edge.targets.page.writer import Figure, page_contract, page_digests, write_page

HOME = Path(writer.__file__).parent
REACHES_OUT = re.compile(
    r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|importScripts|sendBeacon|RTCPeerConnection"
    r"|window\.open|location\s*=|location\.(assign|replace|href\s*=)|eval\(|new Function)\b"
)
TEST = SelfTest((b"\x89PNG",), (0.25,), 1e-5)


def block(text: str, name: str) -> str:
    """The content of a data block."""
    return text.partition(f' id="{name}">')[2].partition("</script>")[0]


def test_the_same_artifact_gives_the_same_bytes(artifact: Path, tmp_path: Path) -> None:
    """Two pages of one artifact are equal byte for byte."""
    first, second = (write_page(artifact, tmp_path / name, TEST) for name in ("a", "b.html"))
    assert first.name == "screen.html"
    assert first.read_bytes() == second.read_bytes()


def test_the_page_holds_the_model_and_its_contract(artifact: Path, page: Path) -> None:
    """The model's bytes, its digest and its contract are read back from the page."""
    assert base64.b64decode(block(page.read_text("utf-8"), "data-model")) == artifact.read_bytes()
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    assert page_digests(page) == (hashlib.sha256(page.read_bytes()).hexdigest(), digest)
    assert page_contract(page).threshold == 0.5


def test_another_model_in_the_page_is_found_out(page: Path, tmp_path: Path) -> None:
    """A page whose model was exchanged is refused."""
    changed = tmp_path / "screen.html"
    model = block(page.read_text("utf-8"), "data-model")
    changed.write_text(page.read_text("utf-8").replace(model, base64.b64encode(b"other").decode()), "utf-8")
    with pytest.raises(InputError, match="another model than the one it names"):
        page_contract(changed)


def test_only_the_page_s_own_script_and_style_may_run(page: Path) -> None:
    """The policy names the digests of the one script and the one style that stand in the page."""
    text = page.read_bytes().decode()
    policy = re.search(r'Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe-inline" not in policy[1]
    for pattern in (r"<script>(.*?)</script>", r"<style>(.*?)</style>"):
        (code,) = re.findall(pattern, text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert text.count("<script>") == 1
    assert not re.search(r"<script[^>]* src=|<link|<img|<iframe|https?://[^\"<]*\.js\b", text)


def test_no_place_is_left_empty(page: Path) -> None:
    """Every place of the template is filled."""
    assert "{{" not in re.sub(r"<script.*?</script>", "", page.read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("name", ["page.js", "worker.js"])
def test_the_code_reaches_for_nothing(name: str) -> None:
    """The code that ships names nothing that opens a connection, navigates or evaluates text."""
    code = (HOME / "built" / name).read_text("utf-8")
    assert [found[0] for found in REACHES_OUT.finditer(code)] == []


def test_the_check_for_connections_can_fail() -> None:
    """The pattern of the check above finds what it looks for."""
    for code in ("await fetch(u)", "new XMLHttpRequest", "location.href=u", "navigator.sendBeacon(u)"):
        assert REACHES_OUT.search(code)


def test_figures_and_rehearsal_are_text(artifact: Path, tmp_path: Path) -> None:
    """What is written into the page cannot become markup."""
    figure = Figure("</script><b>", "1")
    page = write_page(artifact, tmp_path, TEST, [figure], rehearsal="<b>REHEARSAL</b>")
    text = page.read_text("utf-8")
    assert "&lt;b&gt;REHEARSAL" in text
    assert "</script><b>" not in text
    assert json.loads(block(text, "data-about"))["figures"][0]["name"] == figure.name


def test_every_part_brings_its_licence(page: Path) -> None:
    """Each component of the list of parts has its licence text in the page."""
    text = page.read_text("utf-8")
    components = json.loads(block(text, "data-bom"))["components"]
    assert {one["name"] for one in components} >= {"onnxruntime-web", "fflate", "dicom-parser"}
    licences = gzip.decompress(base64.b64decode(block(text, "data-licences"))).decode()
    for one in components:
        assert f"{one['name']} {one['version']} (" in licences
    for part in ("based in part on the work of the Independent JPEG Group", "Eigen", "google/flatbuffers"):
        assert part in licences


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no page can be made of"), (b"no model", "is not a model ONNX Runtime can read")],
)
def test_no_page_without_a_model(content: bytes | None, message: str, tmp_path: Path) -> None:
    """A missing file and one that is no model end with one line."""
    path = tmp_path / "model.ort"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        write_page(path, tmp_path / "out", TEST)
    assert not (tmp_path / "out").exists()


def test_a_page_that_cannot_be_written_says_so(artifact: Path, tmp_path: Path) -> None:
    """A file in the folder's place ends with the tool's own error."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_page(artifact, tmp_path / "taken" / "below", TEST)


def test_a_page_without_its_parts_says_how_to_build_them(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the built parts are missing, the message names the command."""
    monkeypatch.setattr(writer, "_HERE", tmp_path)
    with pytest.raises(InputError, match=r"npm ci && node build\.mjs"):
        write_page(artifact, tmp_path, TEST)


def test_something_else_is_no_page(tmp_path: Path) -> None:
    """A file that is no page of ours is refused by name."""
    path = tmp_path / "other.html"
    path.write_text("<html>")
    with pytest.raises(InputError, match="is no page of udacimed-edge"):
        page_digests(path)


def test_the_built_parts_are_those_of_the_sources(tmp_path: Path) -> None:
    """Building again gives the vendored bytes."""
    root = Path(__file__).parents[3] / "targets" / "page"
    if not (root / "node_modules").is_dir():
        pytest.skip("the npm packages are not installed: npm ci in targets/page")
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=root, check=True)
    built = {path.name: path.read_bytes() for path in (root / "built").iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == built
