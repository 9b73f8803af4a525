"""Whose key signed a bundle, checked as a device checks it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from udacimed_edge.runtime.about import describe
from udacimed_edge.runtime.contract import Contract, Predictor
from udacimed_edge.runtime.signature import KEY_MARK, SignatureError, fingerprint, signer
from udacimed_edge.targets.bundle.signing import generate_key, sign


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path, str]:
    """A list that was signed as a bundle's is, its signature and the public key."""
    key = tmp_path / "hospital.key"
    public = generate_key(key, tmp_path / "hospital.key.pub")
    sums = tmp_path / "SHA256SUMS"
    sums.write_text("a list\n", encoding="utf-8")
    return sums, sign(sums, key, f"udacimed-edge bundle x{KEY_MARK}{public}"), public


def test_the_signer_is_named_by_a_fingerprint(signed: tuple[Path, Path, str]) -> None:
    """A whole signature names its key, whose fingerprint is eight groups of four digits."""
    sums, signature, public = signed
    assert signer(sums, signature) == public
    groups = fingerprint(public).split()
    assert [len(group) for group in groups] == [4] * 8
    assert int("".join(groups), 16) >= 0


def test_a_changed_list_has_no_signer(signed: tuple[Path, Path, str]) -> None:
    """One changed byte in the list is enough."""
    sums, signature, _ = signed
    sums.write_text("a List\n", encoding="utf-8")
    with pytest.raises(SignatureError, match="is not that of its key over this list"):
        signer(sums, signature)


def test_another_key_cannot_be_named(signed: tuple[Path, Path, str], tmp_path: Path) -> None:
    """A comment that names somebody else's key, or a changed comment, does not hold."""
    sums, signature, public = signed
    other = generate_key(tmp_path / "other.key", tmp_path / "other.pub")
    forged = sign(sums, tmp_path / "other.key", f"udacimed-edge bundle x{KEY_MARK}{public}")
    with pytest.raises(SignatureError, match="is not that of its key"):
        signer(sums, forged)
    text = sign(sums, tmp_path / "hospital.key", f"bundle{KEY_MARK}{public}").read_text(encoding="utf-8")
    signature.write_text(text.replace("comment: bundle", "comment: Bundle"), encoding="utf-8")
    with pytest.raises(SignatureError, match="is not that of its key"):
        signer(sums, signature)
    assert fingerprint(other) != fingerprint(public)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the signature is damaged"),
        ("a\n!!!\nc\nd\n", "the signature is damaged"),
        ("a\nAAAA\ntrusted comment: no key\nAAAA\n", "names no key: check it with minisign"),
        ("a\nAAAA\ntrusted comment: x, key AAAA\nAAAA\n", "key is damaged"),
        (
            f"a\nAAAA\ntrusted comment: x, key {base64.b64encode(b'Ed' + bytes(40)).decode()}\nAAAA\n",
            "is not that",
        ),
    ],
)
def test_what_is_no_signature_is_refused(text: str, message: str, signed: tuple[Path, Path, str]) -> None:
    """Damage, a signature of an older version and a key that is none each have their line."""
    sums, signature, _ = signed
    signature.write_text(text, encoding="utf-8")
    with pytest.raises(SignatureError, match=message):
        signer(sums, signature)


def test_it_agrees_with_the_library(tmp_path: Path) -> None:
    """Of signatures by the cryptography package every one holds, and none of them with a bit turned over."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from udacimed_edge.runtime import signature

    for number in range(8):
        key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        made, public = key.sign(b"message"), key.public_key().public_bytes_raw()
        assert signature._verifies(public, b"message", made)
        for bit in (0, 255, 256, 500, 511):
            turned = bytearray(made)
            turned[bit // 8] ^= 1 << bit % 8
            assert not signature._verifies(public, b"message", bytes(turned))
        assert not signature._verifies(public, b"Message", made)


def test_about_shows_the_fingerprint_or_what_is_wrong(signed: tuple[Path, Path, str]) -> None:
    """The last line of --about has the fingerprint while the signature holds, or says what is wrong."""
    sums, signature, public = signed
    contract = Contract("ort", "int8", 0.5, "a test", "small", "0" * 64, None, "0")
    predictor = Predictor(contract, lambda images: images.mean(axis=(1, 2)), 1, "a test")

    def last_line() -> str:
        return list(describe(sums.parent, sums.parent / "model.ort", "0" * 64, predictor))[-1]

    assert last_line() == f"signature:  by the key with the fingerprint {fingerprint(public)}"
    sums.write_text("another list\n", encoding="utf-8")
    assert last_line().startswith("signature:  WRONG: the signature is not that of its key over this list")
    signature.unlink()
    assert last_line() == "signature:  none: the list shows damage, not who made it"
