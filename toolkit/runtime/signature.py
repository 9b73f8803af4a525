"""Whose key signed a bundle, checked with the standard library alone: devices have no other.

Ed25519 as in RFC 8032, section 5.1.7, over minisign's format (jedisct1.github.io/minisign).
A program that was changed can show what it likes: for proof, run minisign on a machine of your own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

__all__ = ["KEY_MARK", "SignatureError", "fingerprint", "signer"]

KEY_MARK = ", key "
"""In the trusted comment, before the signer's public key as minisign writes it."""

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""X, Y, Z and T with x = X/Z, y = Y/Z, x * y = T/Z."""


class SignatureError(ValueError):
    """A signature that does not hold, and why, in one line."""


def fingerprint(public_key: str) -> str:
    """What is compared on paper: SHA-256 of the key's 32 bytes, its first half in groups of four digits.

    Args:
        public_key: minisign's base64 line.

    Raises:
        SignatureError: It is none.
    """
    digits = hashlib.sha256(_key_bytes(public_key)[10:]).hexdigest()[:32]
    return " ".join(digits[at : at + 4] for at in range(0, 32, 4))


def signer(signed: Path, signature: Path) -> str:
    """The public key that the signature's trusted comment names, after it was shown to have signed both.

    Args:
        signed: The file.
        signature: Its `.minisig`.

    Returns:
        minisign's base64 line.

    Raises:
        SignatureError: Damaged, without a key, or the key did not sign this file.
        OSError: A file cannot be read.
    """
    try:
        _, first, comment, second = signature.read_text(encoding="utf-8").splitlines()[:4]
        head, of_comment = base64.b64decode(first, validate=True), base64.b64decode(second, validate=True)
    except (ValueError, binascii.Error) as error:
        raise SignatureError("the signature is damaged") from error
    comment = comment.removeprefix("trusted comment: ")
    public = comment.rpartition(KEY_MARK)[2] if KEY_MARK in comment else ""
    if not public:
        raise SignatureError("the signature names no key: check it with minisign")
    key = _key_bytes(public)
    digest = hashlib.blake2b(signed.read_bytes()).digest()
    holds = (
        head[:2] == b"ED"
        and head[2:10] == key[2:10]
        and _verifies(key[10:], digest, head[10:])
        and _verifies(key[10:], head[10:] + comment.encode(), of_comment)
    )
    if not holds:
        raise SignatureError("the signature is not that of its key over this list: the bundle was changed")
    return public


def _key_bytes(public_key: str) -> bytes:
    try:
        key = base64.b64decode(public_key, validate=True)
    except (ValueError, binascii.Error) as error:
        raise SignatureError("the signature's key is damaged") from error
    if len(key) != 42 or key[:2] != b"Ed":
        raise SignatureError("the signature's key is damaged")
    return key


def _verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    if len(signature) != 64:
        return False
    own, s = _decoded(key), int.from_bytes(signature[32:], "little")
    if own is None or s >= _L:
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    x, y, z, t = own
    minus = (-x % _P, y, z, -t % _P)
    found = _sum(_times(s, _BASE), _times(int.from_bytes(digest, "little") % _L, minus))
    return _encoded(found) == signature[:32]


def _sum(a: _Point, b: _Point) -> _Point:
    """RFC 8032, section 5.1.4."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    g, h = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    w, x, y, z = f - e, h - g, h + g, f + e
    return w * x % _P, y * z % _P, x * y % _P, w * z % _P


def _times(factor: int, point: _Point) -> _Point:
    result: _Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            result = _sum(result, point)
        point, factor = _sum(point, point), factor >> 1
    return result


def _encoded(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decoded(key: bytes) -> _Point | None:
    """RFC 8032, section 5.1.3; None for what is no point."""
    number = int.from_bytes(key, "little")
    y, odd = number & (1 << 255) - 1, number >> 255
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _I % _P
    if (x * x - square) % _P or (x == 0 and odd):
        return None
    x = _P - x if x & 1 != odd else x
    return x, y, 1, x * y % _P


def _base() -> _Point:
    point = _decoded((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert point is not None
    return point


_BASE = _base()
