"""minisign signatures (Ed25519): what is signed here can be checked without udacimed-edge, and vice versa.

The cryptography and the formats are py-minisign's; here are files, messages for people, and what is refused.
Formats of keys and signatures: https://jedisct1.github.io/minisign/#signature-format
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import minisign
from minisign import PublicKey, SecretKey

from udacimed_edge.core.errors import GateRefusedError, InputError, OutputError
from udacimed_edge.core.files import write_atomic
from udacimed_edge.core.json_reader import read_plain_text

__all__ = [
    "SUFFIX",
    "PublicKey",
    "SecretKey",
    "generate_key",
    "load_key",
    "read_public_key",
    "sign",
    "sign_with",
    "verify",
]

SUFFIX = ".minisig"

_UNTRUSTED = "untrusted comment: "
_TRUSTED = "trusted comment: "
_COMMENT_BYTES = 1024
"""minisign 0.11 reads trusted comments of up to 8192 bytes; this is plenty and safely below."""

_MAX_BYTES = 1 << 16
"""Most that a key or signature may weigh."""


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
    pair = minisign.KeyPair.generate()
    number = _shown(_key_id(pair.public_key))
    pair.secret_key.untrusted_comment = f"minisign secret key {number}, no password"
    pair.public_key.untrusted_comment = f"minisign public key {number}"
    _create(secret, bytes(pair.secret_key) + b"\n", 0o600)
    try:
        _create(public, bytes(pair.public_key) + b"\n", 0o644)
    except BaseException:
        secret.unlink()
        raise
    return str(pair.public_key.to_base64().decode())


def load_key(path: Path, ask: Callable[[], str] | None = None) -> SecretKey:
    """Read a secret key.

    Args:
        path: minisign's file.
        ask: Gives the password, where the key has one; None where nobody can be asked.

    Raises:
        InputError: It cannot be read, is none, is damaged, or its password is missing or wrong.
    """
    text = read_plain_text(path, "a minisign secret key", _MAX_BYTES)
    try:
        key = SecretKey.from_bytes(text.encode())
        if key.is_encrypted():
            _unlock(path, key, ask)
        whole = _is_whole(key)
    except minisign.Error as error:
        raise InputError(
            f"{path} is not a minisign secret key: {error}", "make one with: udacimed-edge keygen"
        ) from error
    if not whole:
        raise InputError(f"{path} is a damaged minisign secret key", "restore it from its copy")
    return key


def _unlock(path: Path, key: SecretKey, ask: Callable[[], str] | None) -> None:
    if ask is None:
        raise InputError(
            f"{path} is protected by a password, and nobody can be asked for it here",
            f"take it off with: minisign -C -W -s {path}; or make a key without one with: minisign -G -W",
        )
    try:
        key.decrypt(ask())
    except minisign.Error as error:
        raise InputError(
            f"{path} cannot be opened: {error}", "give the password that it was made with"
        ) from error


def _is_whole(key: SecretKey) -> bool:
    """Whether its public half belongs to its secret one, and its checksum to both.

    minisign 0.11 leaves the checksum of a key without a password empty.
    """
    content = base64.b64decode(key.to_base64())
    computed = hashlib.blake2b(b"Ed" + content[54:126], digest_size=32).digest()
    try:
        key.get_public_key().verify(b"", key.sign(b"", trusted_comment=""))
    except minisign.VerifyError:
        return False
    return content[126:] in (bytes(32), computed)


def sign(path: Path, secret: Path, comment: str, ask: Callable[[], str] | None = None) -> Path:
    """Sign a file; the same file, key and comment give the same signature.

    Args:
        path: The file.
        secret: A secret key.
        comment: One line that is signed too and shown when the signature is verified.
        ask: Gives the password, where the key has one.

    Returns:
        The signature: `path` with ".minisig" behind it; an older one is replaced.

    Raises:
        InputError: As for `load_key`; or the file cannot be read, or the comment is not one line of at most
            1024 bytes.
        OutputError: The signature cannot be written.
    """
    return sign_with(path, load_key(secret, ask), comment)


def sign_with(path: Path, key: SecretKey, comment: str) -> Path:
    """Sign a file with a key from `load_key`; otherwise as `sign`."""
    if not comment.isprintable() or len(comment.encode()) > _COMMENT_BYTES:
        raise InputError(f"a signature's comment is one printable line of at most {_COMMENT_BYTES} bytes")
    with _opened(path) as stream:
        signed = _line(bytes(key.sign(stream, trusted_comment="")), 1)
    # over the bytes themselves: py-minisign's own comments are ASCII, and a clinic's name need not be
    of_comment = _line(bytes(key.sign(signed[10:] + comment.encode(), prehash=False, trusted_comment="")), 1)
    lines = (
        f"{_UNTRUSTED}verify with: minisign -V -p PUBLIC_KEY_FILE -m SIGNED_FILE",
        base64.b64encode(signed).decode(),
        f"{_TRUSTED}{comment}",
        base64.b64encode(of_comment[10:]).decode(),
    )
    signature = path.with_name(path.name + SUFFIX)
    write_atomic(signature, "".join(f"{line}\n" for line in lines).encode())
    return signature


def read_public_key(key: str | Path) -> PublicKey:
    """Minisign's public key: a file, or its base64 line.

    Raises:
        InputError: It cannot be read, or is none.
    """
    try:
        if isinstance(key, str) and len(key) == 56 and not Path(key).exists():
            return PublicKey.from_base64(key)
        return PublicKey.from_bytes(read_plain_text(Path(key), "a minisign public key", _MAX_BYTES).encode())
    except (minisign.Error, ValueError) as error:  # ValueError: base64 of characters beyond ASCII
        raise InputError(
            f"{key} is not a minisign public key",
            "name the .pub file, or give its second line: 56 characters that begin with RW",
        ) from error


def verify(path: Path, signature: Path, public_key: PublicKey | str | Path) -> str:
    """Verify a file's signature.

    Args:
        path: The signed file.
        signature: Its `.minisig`.
        public_key: minisign's public key: read already, its file, or its base64 line.

    Returns:
        The trusted comment.

    Raises:
        InputError: The file, signature or key cannot be read, or is none.
        GateRefusedError: The signature is another key's, or file or comment are not what was signed.
    """
    key = public_key if isinstance(public_key, PublicKey) else read_public_key(public_key)
    signed, signer = _read_signature(signature)
    if signer != _key_id(key):
        raise GateRefusedError(
            f"{signature} was made with the key {_shown(signer)}, not with {_shown(_key_id(key))}",
            "ask whoever signed it for the public key, and not over the way the file came",
        )
    try:
        with _opened(path) as stream:
            key.verify(stream, signed)
    except minisign.VerifyError as error:
        raise GateRefusedError(
            f"{path}, or the comment of its signature, is not what was signed with the key {_shown(signer)}",
            "it, or its signature, was changed: do not use it, get a new copy",
        ) from error
    return str(signed.trusted_comment)


def _read_signature(path: Path) -> tuple[minisign.Signature, bytes]:
    """A signature and the number of its key."""
    text = read_plain_text(path, "a minisign signature", _MAX_BYTES)
    try:
        found = minisign.Signature.from_bytes(text.encode())
    except (minisign.Error, ValueError) as error:
        raise InputError(f"{path} is not a minisign signature, or is damaged: {error}") from error
    if not found.is_prehashed():
        raise InputError(f"{path} is a signature of minisign's old kind", "sign without the option -l")
    return found, _line(bytes(found), 1)[2:10]


def _line(content: bytes, number: int) -> bytes:
    """What a base64 line of a key or signature holds: two letters, the key's number, and the rest."""
    return base64.b64decode(content.split(b"\n")[number])


def _key_id(key: PublicKey) -> bytes:
    return base64.b64decode(key.to_base64())[2:10]


def _shown(key_id: bytes) -> str:
    """A key's number as minisign prints it."""
    return f"{int.from_bytes(key_id, 'little'):016X}"


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _create(path: Path, content: bytes, mode: int) -> None:
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
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        path.unlink()
        raise OutputError(f"cannot write {path}: {error.strerror}", "name another file") from error
