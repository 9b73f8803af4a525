"""Puts an `.ort` artifact into one HTML file that screens in a browser.

Code, model, runtime, decoders, contract, self-test, licences: all inside, nothing is looked up elsewhere.
The same artifact, with the same answers to the self-test, gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import write_atomic
from udacimed_edge.runtime.contract import ArtifactError, Contract
from udacimed_edge.targets.page.selftest import SelfTest

__all__ = ["NAME", "Figure", "compose", "page_contract", "page_digests", "write_page"]

NAME = "screen.html"

_HERE = Path(__file__).parent

_VENDORED = ("page.js", "worker.js", "ort.wasm.gz", "jpeg.wasm.gz", "licences.txt.gz", "bom.json")
"""What `node build.mjs` makes; in `built/`."""


@dataclass(frozen=True)
class Figure:
    """One figure of the judging report, as the page shows it.

    Attributes:
        name: For example "sensitivity".
        value: For example "0.982 (383 of 390)".
        interval: For example "95 % interval 0.963 to 0.992"; empty where there is none.
    """

    name: str
    value: str
    interval: str = ""


def write_page(
    artifact: Path, out: Path, test: SelfTest, figures: Sequence[Figure] = (), rehearsal: str = ""
) -> Path:
    """Write the page of an artifact.

    Args:
        artifact: The `.ort` file.
        out: The folder to write `screen.html` into, or the `.html` file itself.
        test: What the page must answer before it answers anything else (`selftest.self_test`).
        figures: The judging report's first figures, in their order.
        rehearsal: What marks an artifact that was judged on synthetic data; empty otherwise.

    Returns:
        The file.

    Raises:
        InputError: The artifact cannot be read, or the page's parts are not built.
        OutputError: The page cannot be written.
    """
    from udacimed_edge.runtime.ort import open_artifact

    try:
        model = artifact.read_bytes()
        contract = open_artifact(artifact, threads=1).contract
    except (OSError, ArtifactError) as error:
        raise InputError(f"no page can be made of {artifact}: {error}") from error
    file = out if out.suffix == ".html" else out / NAME
    write_atomic(file, compose(model, contract, test, figures, rehearsal))
    return file


def compose(
    model: bytes, contract: Contract, test: SelfTest, figures: Sequence[Figure] = (), rehearsal: str = ""
) -> bytes:
    """The page's bytes.

    Raises:
        InputError: The page's parts are not built.
    """
    parts = {name: _built(name) for name in _VENDORED}
    about = {
        "artifact": hashlib.sha256(model).hexdigest(),
        "contract": contract.to_fields(),
        "selftest": {
            "tolerance": test.tolerance,
            "probabilities": test.probabilities,
            "images": [_base64(image) for image in test.images],
        },
        "figures": [asdict(figure) for figure in figures],
    }
    style = _text("page.css")
    script = parts["page.js"].decode()
    mark = f'<p class="strong" lang="en">{html.escape(rehearsal)}</p>' if rehearsal else ""
    return _filled(
        {
            "policy": _policy(script, style),
            "version": html.escape(contract.toolkit_version),
            "style": style,
            "rehearsal": mark,
            "licences": _base64(parts["licences.txt.gz"]),
            "about": _json(about),
            "model": _base64(model),
            "ort": _base64(parts["ort.wasm.gz"]),
            "jpeg": _base64(parts["jpeg.wasm.gz"]),
            "worker": parts["worker.js"].decode(),
            "bom": _json(json.loads(parts["bom.json"])),
            "script": script,
        }
    ).encode()


def _filled(values: Mapping[str, str]) -> str:
    """The template with its places filled, once: what is filled in is not searched for places again."""
    head, *rest = _text("page.html").split("{{ ")
    pieces = [head]
    for part in rest:
        name, _, literal = part.partition(" }}")
        pieces += [values[name], literal]
    return "".join(pieces)


def _policy(script: str, style: str) -> str:
    """The Content-Security-Policy: these two texts run, and WebAssembly, and a worker made by the page."""

    def digest(text: str) -> str:
        return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"

    return (
        f"default-src 'none'; script-src {digest(script)} 'wasm-unsafe-eval'; style-src {digest(style)}; "
        "worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def _built(name: str) -> bytes:
    try:
        return (_HERE / "built" / name).read_bytes()
    except OSError as error:
        raise InputError(
            f"the page's part {name} is missing: {error.strerror}",
            "in a checkout, run `npm ci && node build.mjs` in targets/page",
        ) from error


def _text(name: str) -> str:
    """A text of the page, with line ends as in the repository, also where a Windows checkout changed them."""
    return (_HERE / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _json(value: object) -> str:
    """JSON that cannot end the block of HTML it stands in."""
    return json.dumps(value, sort_keys=True).replace("<", "\\u003c")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def page_digests(page: Path) -> tuple[str, str]:
    """SHA-256 of a page, and of the model inside it, computed from the model's own bytes.

    Raises:
        InputError: It cannot be read, or is no page of ours.
    """
    text = _read(page)
    model = base64.b64decode(_block(text, "data-model", page))
    return hashlib.sha256(text.encode()).hexdigest(), hashlib.sha256(model).hexdigest()


def page_contract(page: Path) -> Contract:
    """The contract written into a page.

    Raises:
        InputError: It cannot be read, is no page of ours, or names another model than the one inside it.
    """
    about = json.loads(_block(_read(page), "data-about", page))
    if about["artifact"] != page_digests(page)[1]:
        raise InputError(f"{page} holds another model than the one it names")
    try:
        return Contract.from_json(json.dumps(about["contract"]))
    except ArtifactError as error:
        raise InputError(f"{page}: {error}") from error


def _read(page: Path) -> str:
    try:
        return page.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the page {page} cannot be read: {error}") from error


def _block(text: str, name: str, page: Path) -> str:
    """The content of the page's data block of that name."""
    _, found, rest = text.partition(f' id="{name}">')
    if not found:
        raise InputError(f"{page} is no page of udacimed-edge")
    return rest.partition("</script>")[0]
