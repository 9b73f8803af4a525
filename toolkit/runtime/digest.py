"""One SHA-256 for an artifact, the same in a report and on the device."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["files_of", "hash_file", "path_digest"]


def hash_file(path: Path, algorithm: str = "sha256") -> bytes:
    """Digest of a file's bytes, read in blocks: a small device has no memory for a copy.

    Raises:
        OSError: The file is missing or cannot be read.
    """
    digest = hashlib.new(algorithm)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()


def files_of(path: Path) -> list[Path]:
    """The files an artifact path stands for, sorted: itself, or all below it.

    An OpenVINO `.xml` stands for itself and the `.bin` of the same name, which holds its weights.
    """
    if path.is_dir():
        return sorted((p for p in path.rglob("*") if p.is_file()), key=Path.as_posix)
    weights = path.with_suffix(".bin")
    return [weights, path] if path.suffix == ".xml" and weights.exists() else [path]


def path_digest(path: Path) -> str:
    """One SHA-256 for an artifact of one file or many, 64 hex digits.

    A single file's digest is what `sha256sum` prints for it. Several files are digested as
    `sha256sum` would list them (`<hex>  <name>` lines, sorted by name), so a person can check it.

    Raises:
        OSError: A file is missing or cannot be read.
    """
    files = files_of(path)
    if files == [path]:
        return hash_file(path).hex()
    lines = [f"{hash_file(f).hex()}  {f.relative_to(path.parent).as_posix()}\n" for f in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
