"""Signatures: ours and minisign's are one format, and nothing that was changed passes."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from udacimed_edge.core.errors import GateRefusedError, InputError, OutputError
from udacimed_edge.targets.bundle.signing import generate_key, sign, verify

MINISIGN = shutil.which("minisign")
with_minisign = pytest.mark.skipif(
    MINISIGN is None, reason="Debian's minisign is absent: apt-get install minisign"
)

COMMENT = "udacimed-edge 0.1.0, clinic-laptop, Röntgen"


class Signed:
    """A key pair, a file and its signature."""

    def __init__(self, folder: Path) -> None:
        self.file, self.secret, self.public = (folder / n for n in ("SHA256SUMS", "our.key", "our.pub"))
        self.file.write_bytes(b"0123  model.ort\n" * 100_000)
        self.line = generate_key(self.secret, self.public)
        self.signature = sign(self.file, self.secret, COMMENT)

    def verified(self) -> str:
        """The comment, where everything holds."""
        return verify(self.file, self.signature, self.public)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    """A fresh key pair, a file and its signature."""
    return Signed(tmp_path)


def minisign(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run minisign."""
    return subprocess.run(
        [str(MINISIGN), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def line_of(path: Path, number: int) -> bytes:
    """The decoded base64 line of a key or signature; the first is 0."""
    return base64.b64decode(path.read_text(encoding="utf-8").splitlines()[number])


def rewritten(path: Path, number: int, line: str | bytes) -> None:
    """Put another line in a file; bytes are encoded as base64."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[number] = base64.b64encode(line).decode() if isinstance(line, bytes) else line
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")


def flipped(content: bytes, at: int) -> bytes:
    """The bytes with one bit changed."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


# What holds.


def test_a_signature_lies_beside_its_file_and_holds(signed: Signed) -> None:
    """Signing writes NAME.minisig, and verifying gives back the comment that was signed."""
    assert signed.signature == signed.file.with_name("SHA256SUMS.minisig")
    assert signed.verified() == COMMENT


def test_a_public_key_may_be_given_in_each_form(signed: Signed) -> None:
    """The public key is taken as a path, as a path in a string, and as its base64 line."""
    assert len(signed.line) == 56
    assert signed.line.startswith("RW")
    for key in (signed.public, str(signed.public), signed.line):
        assert verify(signed.file, signed.signature, key) == COMMENT


def test_signing_again_gives_the_same_bytes(signed: Signed) -> None:
    """One file, key and comment have one signature, which replaces the older one."""
    before = signed.signature.read_bytes()
    sign(signed.file, signed.secret, "another")
    assert signed.verified() == "another"
    assert sign(signed.file, signed.secret, COMMENT).read_bytes() == before


def test_the_digest_is_signed_as_minisign_does(signed: Signed) -> None:
    """The signature says that it is over the file's BLAKE2b digest, with the key's number."""
    assert line_of(signed.signature, 1)[:10] == b"ED" + line_of(signed.public, 1)[2:10]


def test_line_ends_of_windows_change_nothing(signed: Signed) -> None:
    """A signature and a key whose line ends an editor changed still verify."""
    for path in (signed.signature, signed.public):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert signed.verified() == COMMENT


def test_the_secret_key_is_for_its_owner_only(signed: Signed) -> None:
    """Only the owner can read the secret key; the public key is for all."""
    assert stat.S_IMODE(signed.secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(signed.public.stat().st_mode) & 0o444


def test_two_key_pairs_differ(tmp_path: Path) -> None:
    """Each key pair is new, number and all."""
    lines = {generate_key(tmp_path / f"{n}.key", tmp_path / f"{n}.pub") for n in range(8)}
    assert len({base64.b64decode(line)[2:10] for line in lines}) == 8


# Keys that are not made.


@pytest.mark.parametrize("existing", ["our.key", "our.pub"])
def test_no_key_is_overwritten(tmp_path: Path, existing: str) -> None:
    """Where either file exists it stays as it is, and the other is not made."""
    (tmp_path / existing).write_text("kept", encoding="utf-8")
    with pytest.raises(OutputError, match=f"{existing} exists already and was not replaced") as caught:
        generate_key(tmp_path / "our.key", tmp_path / "our.pub")
    assert "name another file" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text(encoding="utf-8") == "kept"


def test_no_key_is_written_through_a_link(tmp_path: Path) -> None:
    """A link that leads nowhere counts as a file that exists."""
    (tmp_path / "our.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="exists already"):
        generate_key(tmp_path / "our.key", tmp_path / "our.pub")
    assert not (tmp_path / "elsewhere").exists()


def test_one_file_cannot_hold_both_keys(tmp_path: Path) -> None:
    """The same name for both keys is refused, and nothing is left."""
    with pytest.raises(OutputError, match="exists already"):
        generate_key(tmp_path / "key", tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("secret", "public"), [("no/our.key", "our.pub"), ("our.key", "no/our.pub")])
def test_a_key_that_cannot_be_written_leaves_none(tmp_path: Path, secret: str, public: str) -> None:
    """Where there is no folder for one of the keys, neither is made."""
    with pytest.raises(OutputError, match=r"cannot write .*no/our\.(key|pub): No such file"):
        generate_key(tmp_path / secret, tmp_path / public)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that could not be written whole is removed."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"our\.key: No space left on device"):
        generate_key(tmp_path / "our.key", tmp_path / "our.pub")
    assert list(tmp_path.iterdir()) == []


# What is refused.


def change_file(signed: Signed) -> None:
    """One bit of the file."""
    signed.file.write_bytes(flipped(signed.file.read_bytes(), 1_000_000))


def lengthen_file(signed: Signed) -> None:
    """A line more."""
    signed.file.write_bytes(signed.file.read_bytes() + b"\n")


def change_signature(signed: Signed) -> None:
    """One bit of the signature over the digest."""
    rewritten(signed.signature, 1, flipped(line_of(signed.signature, 1), 20))


def change_comment(signed: Signed) -> None:
    """Another trusted comment."""
    rewritten(signed.signature, 2, f"trusted comment: {COMMENT}, approved")


def change_comment_signature(signed: Signed) -> None:
    """One bit of the signature over the comment."""
    rewritten(signed.signature, 3, flipped(line_of(signed.signature, 3), 5))


def take_a_comment_from_elsewhere(signed: Signed) -> None:
    """Comment and global signature of another file by the same key."""
    other = signed.file.with_name("other")
    other.write_bytes(b"other")
    theirs = sign(other, signed.secret, "for another file").read_text(encoding="utf-8").splitlines()
    rewritten(signed.signature, 2, theirs[2])
    rewritten(signed.signature, 3, theirs[3])


def another_key(signed: Signed) -> None:
    """A stranger's key."""
    signed.public.unlink()
    generate_key(signed.file.with_name("their.key"), signed.public)


def another_key_of_the_same_number(signed: Signed) -> None:
    """A stranger's key that carries our number."""
    number = line_of(signed.public, 1)[:10]
    another_key(signed)
    rewritten(signed.public, 1, number + line_of(signed.public, 1)[10:])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (change_file, r"SHA256SUMS, or the comment of .* is not what was signed with the key [0-9A-F]{16}$"),
        (
            lengthen_file,
            r"SHA256SUMS, or the comment of .* is not what was signed with the key [0-9A-F]{16}$",
        ),
        (
            change_signature,
            r"SHA256SUMS, or the comment of .* is not what was signed with the key [0-9A-F]{16}$",
        ),
        (change_comment, "or the comment of its signature, is not what was signed"),
        (change_comment_signature, "or the comment of its signature, is not what was signed"),
        (take_a_comment_from_elsewhere, "or the comment of its signature, is not what was signed"),
        (another_key, r"minisig was made with the key [0-9A-F]{16}, not with [0-9A-F]{16}$"),
        (
            another_key_of_the_same_number,
            r"SHA256SUMS, or the comment of .* is not what was signed with the key [0-9A-F]{16}$",
        ),
    ],
)
def test_what_was_not_signed_is_refused(signed: Signed, harm: Callable[[Signed], None], message: str) -> None:
    """A changed file, signature or comment and a stranger's key are refused, each by its name."""
    harm(signed)
    with pytest.raises(GateRefusedError) as caught:
        signed.verified()
    assert re.search(message, caught.value.message)
    assert caught.value.hint


def put(path: str, number: int, line: str | bytes) -> Callable[[Signed], None]:
    """Another line in the signature or public key."""
    return lambda signed: rewritten(getattr(signed, path), number, line)


def text(path: str, content: str) -> Callable[[Signed], None]:
    """Another text in the signature or public key."""

    def write(signed: Signed) -> None:
        getattr(signed, path).write_text(content, encoding="utf-8")

    return write


def missing(path: str) -> Callable[[Signed], None]:
    """The file is not there."""
    return lambda signed: getattr(signed, path).unlink()


def secret_for_public(signed: Signed) -> None:
    """The secret key where the public one belongs."""
    shutil.copy(signed.secret, signed.public)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (missing("file"), "cannot read .*SHA256SUMS: No such file"),
        (missing("signature"), "cannot read .*minisig: No such file"),
        (missing("public"), r"cannot read .*our\.pub: No such file"),
        (text("signature", ""), "minisig is not a minisign signature, or is damaged"),
        (text("signature", "a\nb\nc\nd\n"), "minisig is not a minisign signature, or is damaged"),
        (put("signature", 0, "comment"), "minisig is not a minisign signature, or is damaged"),
        (put("signature", 2, "comment"), "minisig is not a minisign signature, or is damaged"),
        (put("signature", 3, "x\ny"), "minisig is not a minisign signature, or is damaged"),
        (put("signature", 1, "RUQ$"), "minisig is not a minisign signature, or is damaged"),
        (put("signature", 1, "Röntgen"), "minisig is not a minisign signature, or is damaged"),
        (put("signature", 1, b"ED" + bytes(71)), "minisig is not a minisign signature, or is damaged"),
        (put("signature", 3, bytes(63)), "minisig is not a minisign signature, or is damaged"),
        (put("signature", 1, b"Ed" + bytes(72)), "minisig is a signature of minisign's old kind"),
        (put("signature", 1, b"XX" + bytes(72)), "minisig is not a minisign signature, or is damaged"),
        (text("public", ""), r"our\.pub is not a minisign public key"),
        (put("public", 0, "key"), r"our\.pub is not a minisign public key"),
        (put("public", 1, b"Ed" + bytes(39)), r"our\.pub is not a minisign public key"),
        (put("public", 1, b"XX" + bytes(40)), r"our\.pub is not a minisign public key"),
        (secret_for_public, r"our\.pub is not a minisign public key"),
    ],
)
def test_what_cannot_be_read_is_an_input_error(
    signed: Signed, harm: Callable[[Signed], None], message: str
) -> None:
    """A missing or damaged file, signature or public key is an error that names it."""
    harm(signed)
    with pytest.raises(InputError, match=message):
        signed.verified()


def test_a_wrong_key_line_is_an_input_error(signed: Signed) -> None:
    """A string that is neither a public key nor the path of one is refused by what it is."""
    with pytest.raises(InputError, match="cannot read RWabc: No such file"):
        verify(signed.file, signed.signature, "RWabc")
    strange = base64.b64encode(b"XX" + bytes(40)).decode()
    with pytest.raises(InputError, match="is not a minisign public key"):
        verify(signed.file, signed.signature, strange)


@pytest.mark.parametrize("comment", ["two\nlines", "a\ttab", "bell\a", "x" * 1025, "é" * 513])
def test_a_comment_is_one_printable_line(signed: Signed, comment: str) -> None:
    """A comment that minisign could not show or read is refused, and the old signature stays."""
    before = signed.signature.read_bytes()
    with pytest.raises(InputError, match="one printable line of at most 1024 bytes"):
        sign(signed.file, signed.secret, comment)
    assert signed.signature.read_bytes() == before


def damaged(at: int) -> Callable[[Signed], None]:
    """One bit of the secret key."""
    return lambda signed: rewritten(signed.secret, 1, flipped(line_of(signed.secret, 1), at))


def with_a_password_in_words(signed: Signed) -> None:
    """A key that says it has a password."""
    key = line_of(signed.secret, 1)
    rewritten(signed.secret, 1, key[:2] + b"Sc" + key[4:126] + bytes(32))


def public_for_secret(signed: Signed) -> None:
    """The public key where the secret one belongs."""
    shutil.copy(signed.public, signed.secret)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (missing("secret"), r"cannot read .*our\.key: No such file"),
        (missing("file"), r"cannot read .*SHA256SUMS: No such file"),
        (with_a_password_in_words, r"our\.key is protected by a password(.|\n)*minisign -G -W"),
        (public_for_secret, r"our\.key is not a minisign secret key"),
        (text("secret", "words"), r"our\.key is not a minisign secret key"),
        (damaged(0), r"our\.key is not a minisign secret key"),
        (damaged(4), r"our\.key is not a minisign secret key"),
        (damaged(2), r"our\.key is not a minisign secret key"),
        (damaged(70), r"our\.key is a damaged minisign secret key"),
        (damaged(100), r"our\.key is a damaged minisign secret key"),
        (damaged(130), r"our\.key is a damaged minisign secret key"),
    ],
)
def test_a_key_that_cannot_sign_is_an_input_error(
    signed: Signed, harm: Callable[[Signed], None], message: str
) -> None:
    """A secret key that is missing, damaged, none or under a password writes no signature."""
    before = signed.signature.read_bytes()
    harm(signed)
    with pytest.raises(InputError) as caught:
        sign(signed.file, signed.secret, COMMENT)
    assert caught.match(message)
    assert signed.signature.read_bytes() == before


def test_a_key_with_its_checksum_signs(signed: Signed) -> None:
    """A secret key whose checksum is filled in, as minisign does for keys with a password, is read."""
    key = line_of(signed.secret, 1)
    checksum = hashlib.blake2b(key[:2] + key[54:126], digest_size=32).digest()
    rewritten(signed.secret, 1, key[:126] + checksum)
    assert sign(signed.file, signed.secret, COMMENT) == signed.signature


# Debian's minisign.


@with_minisign
@pytest.mark.parametrize("comment", [COMMENT, "", "x" * 1024])
def test_minisign_verifies_ours(signed: Signed, comment: str) -> None:
    """Debian's minisign accepts our signature and key, as a file and as a line, and shows our comment."""
    sign(signed.file, signed.secret, comment)
    for key in (("-p", signed.public), ("-P", signed.line)):
        ended = minisign("-V", *key, "-m", signed.file)
        assert ended.returncode == 0, ended.stderr
        assert f"Trusted comment: {comment}\n" in ended.stdout


@with_minisign
def test_minisign_signs_with_our_key(signed: Signed) -> None:
    """Debian's minisign signs with a key that we made, and we verify what it signed."""
    ended = minisign("-S", "-s", signed.secret, "-m", signed.file, "-t", "by minisign")
    assert ended.returncode == 0, ended.stderr
    assert signed.verified() == "by minisign"


@with_minisign
def test_we_sign_with_a_key_of_minisign(signed: Signed, tmp_path: Path) -> None:
    """A key pair that minisign made signs here, verifies here and verifies there."""
    secret, public = tmp_path / "their.key", tmp_path / "their.pub"
    assert minisign("-G", "-W", "-p", public, "-s", secret).returncode == 0
    sign(signed.file, secret, COMMENT)
    assert verify(signed.file, signed.signature, public) == COMMENT
    assert minisign("-V", "-p", public, "-m", signed.file).returncode == 0


@with_minisign
def test_minisigns_own_signature_holds(signed: Signed, tmp_path: Path) -> None:
    """What minisign signs with its own key and its own comment verifies here."""
    secret, public = tmp_path / "their.key", tmp_path / "their.pub"
    assert minisign("-G", "-W", "-p", public, "-s", secret).returncode == 0
    assert minisign("-S", "-s", secret, "-m", signed.file).returncode == 0
    assert verify(signed.file, signed.signature, public).endswith("file:SHA256SUMS\thashed")


@with_minisign
def test_a_key_of_minisign_with_a_password_signs(signed: Signed, tmp_path: Path) -> None:
    """A key that minisign made with a password signs where it is given, and says so where it is not."""
    secret = tmp_path / "their.key"
    command = [str(MINISIGN), "-G", "-p", str(tmp_path / "their.pub"), "-s", str(secret)]
    assert subprocess.run(command, input=b"word\nword\n", capture_output=True, check=False).returncode == 0
    with pytest.raises(InputError, match=r"by a password(.|\n)*minisign -C -W"):
        sign(signed.file, secret, COMMENT)
    with pytest.raises(InputError, match="cannot be opened: wrong password"):
        sign(signed.file, secret, COMMENT, lambda: "ward")
    sign(signed.file, secret, COMMENT, lambda: "word")
    assert minisign("-V", "-p", tmp_path / "their.pub", "-m", signed.file).returncode == 0


@with_minisign
def test_a_signature_of_the_old_kind_says_so(signed: Signed) -> None:
    """What minisign signs with its option for old versions is refused with the way to sign again."""
    assert minisign("-S", "-l", "-s", signed.secret, "-m", signed.file).returncode == 0
    with pytest.raises(InputError, match=r"old kind\nsign without the option -l"):
        signed.verified()


@with_minisign
@pytest.mark.parametrize(
    "harm", [change_file, change_signature, change_comment, take_a_comment_from_elsewhere, another_key]
)
def test_minisign_refuses_what_we_refuse(signed: Signed, harm: Callable[[Signed], None]) -> None:
    """What is refused here as changed is refused by minisign too."""
    harm(signed)
    assert minisign("-V", "-p", signed.public, "-m", signed.file).returncode != 0
    with pytest.raises(GateRefusedError):
        signed.verified()
