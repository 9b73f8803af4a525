"""minisign signatures (Ed25519): what is signed here can be checked without udacimed-edge, and vice versa.

Formats of keys and signatures: https://jedisct1.github.io/minisign/#signature-format
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from udacimed_edge.core.errors import GateRefusedError, InputError, OutputError
from udacimed_edge.core.files import hash_file, read_text, write_atomic

__all__ = ["SUFFIX", "generate_key", "public_key", "sign", "verify"]

SUFFIX = ".minisig"

_UNTRUSTED = "untrusted comment: "
_TRUSTED = "trusted comment: "
_KEY, _PREHASHED, _NOT_PREHASHED = b"Ed", b"ED", b"Ed"
_PASSWORD, _NO_PASSWORD, _CHECKSUM = b"Sc", b"\0\0", b"B2"
_NO_DERIVATION = bytes(48)
"""Salt and cost of a password's derivation, where there is no password."""
_NO_CHECKSUM = bytes(32)
"""minisign 0.11 leaves the checksum of a key without a password empty."""
_COMMENT_BYTES = 1024
"""minisign 0.11 reads trusted comments of up to 8192 bytes; this is plenty and safely below."""


@dataclass(frozen=True)
class _Signature:
    key_id: bytes
    of_digest: bytes
    comment: str
    of_comment: bytes


def generate_key(secret: Path, public: Path) -> str:
    """Make a key pair in minisign's format, the secret key without a password and readable to its owner only.

    Args:
        secret: The file for the secret key.
        public: The file for the public key.

    Returns:
        The public key as one line of base64, as `verify` and `minisign -P` take it.

    Raises:
        OutputError: One of the files exists, or cannot be written; then neither is made.
    """
    key, key_id = Ed25519PrivateKey.generate(), os.urandom(8)
    point = key.public_key().public_bytes_raw()
    shared = base64.b64encode(_KEY + key_id + point).decode()
    kept = _KEY + _NO_PASSWORD + _CHECKSUM + _NO_DERIVATION + key_id + key.private_bytes_raw() + point
    kept_line = base64.b64encode(kept + _NO_CHECKSUM).decode()
    _create(secret, f"{_UNTRUSTED}minisign secret key {_shown(key_id)}, no password\n{kept_line}\n", 0o600)
    try:
        _create(public, f"{_UNTRUSTED}minisign public key {_shown(key_id)}\n{shared}\n", 0o644)
    except BaseException:
        secret.unlink()
        raise
    return shared


def sign(path: Path, secret: Path, comment: str) -> Path:
    """Sign a file; the same file, key and comment give the same signature.

    Args:
        path: The file.
        secret: A secret key without a password.
        comment: One line that is signed too and shown when the signature is verified.

    Returns:
        The signature: `path` with ".minisig" behind it; an older one is replaced.

    Raises:
        InputError: The file or key cannot be read, the key has a password, or the comment is not one
            line of at most 1024 bytes.
        OutputError: The signature cannot be written.
    """
    if not comment.isprintable() or len(comment.encode()) > _COMMENT_BYTES:
        raise InputError(f"a signature's comment is one printable line of at most {_COMMENT_BYTES} bytes")
    key_id, key = _read_secret(secret)
    of_digest = key.sign(hash_file(path, "blake2b"))
    of_comment = key.sign(of_digest + comment.encode())
    lines = (
        f"{_UNTRUSTED}verify with: minisign -V -p PUBLIC_KEY_FILE -m SIGNED_FILE",
        base64.b64encode(_PREHASHED + key_id + of_digest).decode(),
        f"{_TRUSTED}{comment}",
        base64.b64encode(of_comment).decode(),
    )
    signature = path.with_name(path.name + SUFFIX)
    write_atomic(signature, "".join(f"{line}\n" for line in lines).encode())
    return signature


def public_key(secret: Path) -> str:
    """The public key that belongs to a secret one, as one line of base64.

    Raises:
        InputError: As for `sign`.
    """
    key_id, key = _read_secret(secret)
    return base64.b64encode(_KEY + key_id + key.public_key().public_bytes_raw()).decode()


def verify(path: Path, signature: Path, public_key: str | Path) -> str:
    """Verify a file's signature.

    Args:
        path: The signed file.
        signature: Its `.minisig`.
        public_key: minisign's public key: the file, or its base64 line.

    Returns:
        The trusted comment.

    Raises:
        InputError: The file, signature or key cannot be read, or is none.
        GateRefusedError: The signature is another key's, or file or comment are not what was signed.
    """
    key_id, key = _read_public(public_key)
    signed = _read_signature(signature)
    if signed.key_id != key_id:
        raise GateRefusedError(
            f"{signature} was made with the key {_shown(signed.key_id)}, not with {_shown(key_id)}",
            "ask whoever signed it for the public key, and not over the way the file came",
        )
    if not _holds(key, signed.of_digest, hash_file(path, "blake2b")):
        raise GateRefusedError(
            f"{path} is not what was signed with the key {_shown(key_id)}",
            "it, or its signature, was changed: do not use it, get a new copy",
        )
    if not _holds(key, signed.of_comment, signed.of_digest + signed.comment.encode()):
        raise GateRefusedError(
            f"the trusted comment in {signature} is not what was signed with the key {_shown(key_id)}",
            "it was changed: do not use it, get a new copy",
        )
    return signed.comment


def _shown(key_id: bytes) -> str:
    """A key's number as minisign prints it."""
    return f"{int.from_bytes(key_id, 'little'):016X}"


def _holds(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _decoded(line: str) -> bytes:
    """The bytes of a base64 line; empty where it is none."""
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _key_line(path: Path) -> bytes:
    """The second line of a key file, decoded; empty where there is none."""
    lines = read_text(path).splitlines()
    return _decoded(lines[1]) if len(lines) == 2 and lines[0].startswith(_UNTRUSTED) else b""


def _read_public(public_key: str | Path) -> tuple[bytes, Ed25519PublicKey]:
    key = _decoded(public_key) if isinstance(public_key, str) else b""
    if len(key) != 42:
        key = _key_line(Path(public_key))
    if len(key) != 42 or not key.startswith(_KEY):
        raise InputError(
            f"{public_key} is not a minisign public key",
            "name the .pub file, or give its second line: 56 characters that begin with RW",
        )
    return key[2:10], Ed25519PublicKey.from_public_bytes(key[10:])


def _read_secret(path: Path) -> tuple[bytes, Ed25519PrivateKey]:
    content = _key_line(path)
    if len(content) != 158 or content[:2] != _KEY or content[4:6] != _CHECKSUM:
        raise InputError(f"{path} is not a minisign secret key", "make one with: udacimed-edge keygen")
    if content[2:4] == _PASSWORD:
        raise InputError(
            f"{path} is protected by a password, which udacimed-edge cannot take",
            f"take it off with: minisign -C -W -s {path}; or make a key without one with: minisign -G -W",
        )
    key_id, seed, point, checksum = content[54:62], content[62:94], content[94:126], content[126:]
    key = Ed25519PrivateKey.from_private_bytes(seed)
    computed = hashlib.blake2b(_KEY + content[54:126], digest_size=32).digest()
    whole = checksum in (_NO_CHECKSUM, computed) and key.public_key().public_bytes_raw() == point
    if content[2:4] != _NO_PASSWORD or not whole:
        raise InputError(f"{path} is a damaged minisign secret key", "restore it from its copy")
    return key_id, key


def _read_signature(path: Path) -> _Signature:
    lines = read_text(path).removesuffix("\n").split("\n")
    if len(lines) != 4 or not lines[0].startswith(_UNTRUSTED) or not lines[2].startswith(_TRUSTED):
        raise InputError(f"{path} is not a minisign signature, or is damaged")
    of_file, of_comment = _decoded(lines[1]), _decoded(lines[3])
    if len(of_file) != 74 or len(of_comment) != 64:
        raise InputError(f"{path} is damaged: its lines are not whole")
    if of_file.startswith(_NOT_PREHASHED):
        raise InputError(f"{path} is a signature of minisign's old kind", "sign without the option -l")
    if not of_file.startswith(_PREHASHED):
        raise InputError(f"{path} is a signature of an unknown kind")
    return _Signature(of_file[2:10], of_file[10:], lines[2].removeprefix(_TRUSTED), of_comment)


def _create(path: Path, text: str, mode: int) -> None:
    """Write a file that must not exist yet.

    Raises:
        OutputError: It exists, or cannot be written; then it is not there.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise OutputError(
            f"{path} exists already and was not replaced", "a lost key cannot be had again: name another file"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "name another file") from error
    try:
        with os.fdopen(handle, "w", encoding="ascii", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        path.unlink()
        raise OutputError(f"cannot write {path}: {error.strerror}", "name another file") from error
