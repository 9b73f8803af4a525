"""What lies here: the model, whether the bundle is as it was packaged, and whose key signed it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from udacimed_edge.runtime.contract import Predictor
from udacimed_edge.runtime.digest import files_of
from udacimed_edge.runtime.signature import SignatureError, fingerprint, signer

__all__ = ["SUMS", "describe", "difference"]

SUMS = "SHA256SUMS"


def difference(artifact: Path) -> str | None:
    """What of an artifact is not as the list beside it says; None where all is, or where there is no list.

    Args:
        artifact: A file or folder.

    Raises:
        OSError: A file cannot be read.
    """
    listed = _listed(artifact.parent)
    if listed is None:
        return None
    found = {file.relative_to(artifact.parent).as_posix(): file for file in files_of(artifact)}
    expected = {name for name in listed if name == artifact.name or name.startswith(f"{artifact.name}/")}
    for name in sorted(expected | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in listed:
            return f"{name} is not in the list"
        if _digest(found[name]) != listed[name]:
            return f"{name} was changed"
    return None


def describe(home: Path, artifact: Path, digest: str, predictor: Predictor) -> Iterator[str]:
    """Lines for a person; the last ones begin with "files:" and "signature:".

    Args:
        home: The bundle's folder.
        artifact: The artifact.
        digest: Its SHA-256.
        predictor: It, opened.
    """
    contract = predictor.contract
    yield f"model:      {artifact.name}, {contract.format} {contract.precision}, by {predictor.executor}"
    yield f"            SHA-256 {digest}"
    yield f"made from:  {contract.source_name}, SHA-256 {contract.source_digest}"
    yield f'decision:   "pneumonia" from a probability of {contract.threshold:.4f} on'
    yield f"            ({contract.threshold_origin})"
    yield f"made by:    udacimed-edge {contract.toolkit_version}"
    yield f"files:      {_files(home)}"
    yield f"signature:  {_signature(home)}"


def _files(home: Path) -> str:
    listed = _listed(home)
    if listed is None:
        return f"there is no {SUMS} here: this is no bundle, and nothing is known about its files"
    wrong = [name for name, digest in listed.items() if _safe_digest(home / name) != digest]
    if wrong:
        return f"CHANGED OR MISSING: {', '.join(wrong)}. Do not use it: copy the bundle again"
    return f"all {len(listed)} are as {SUMS} lists them"


def _signature(home: Path) -> str:
    signature = home / f"{SUMS}.minisig"
    if not signature.exists():
        return "none: the list shows damage, not who made it"
    try:
        return f"by the key with the fingerprint {fingerprint(signer(home / SUMS, signature))}"
    except SignatureError as error:
        return f"WRONG: {error}"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _listed(folder: Path) -> dict[str, str] | None:
    try:
        text = (folder / SUMS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}


def _safe_digest(file: Path) -> str | None:
    try:
        return _digest(file)
    except OSError:
        return None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
