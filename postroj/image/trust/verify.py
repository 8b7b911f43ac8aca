"""Who vouches for what was fetched: signatures, through gpgv with one key file and no other.

What counts is the very bytes that gpgv has read, and of a message that is signed inline the text
that gpgv writes. gpgv sees bytes of strangers, and so runs without rights.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple

from postroj import process
from postroj.errors import VerificationError
from postroj.image.trust import keyring
from postroj.image.unpack.decompress import confined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from postroj.image.trust.checksums import Checksum

CLEARSIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
STATUS = "[GNUPG:] "
TOO_WEAK = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}
"""Hash algorithms that no longer tie a signature to its text, by their numbers in RFC 9580, 9.5."""

GOOD = frozenset({"GOODSIG"})
EXPIRED = frozenset({"EXPSIG", "EXPKEYSIG"})
COMPLAINTS = {
    "BADSIG": "is not what its publisher signed",
    "REVKEYSIG": "is signed by a key that was revoked",
    "EXPKEYSIG": "is signed by a key that has expired",
    "EXPSIG": "has a signature that has expired",
    "ERRSIG": "is signed by an unknown key",
}
"""By what gpgv says, the weightiest first."""
FAILED = (1, 2)
UNJUDGED = frozenset({"EXPSIG", "ERRSIG"})
"""Statuses of gpgv where one of several signatures is out of date, or by an unknown key."""

HINT = "it was damaged or meddled with on its way, or its publisher has a new key"


class Signed(NamedTuple):
    """Bytes that somebody vouches for."""

    text: bytes
    """Use this, and not what was given to be verified."""
    fingerprints: tuple[str, ...]
    """Of the primary keys that signed."""
    expired: bool
    """Whether none of the signatures is valid any more but for its age."""


def signers(
    data: bytes,
    signature: bytes | None,
    key: str,
    *,
    name: str = "the file",
    allow_expired: bool = False,
) -> Signed:
    """Verify bytes that are signed by a detached `signature`, or inline if that is None.

    `key` is a file in `image/keys/` or the absolute path of one, `name` what messages say.

    :raises VerificationError: if none of its keys vouches for the bytes.
    """
    if signature is not None:
        with Detached(signature, key, name=name, allow_expired=allow_expired) as gpgv:
            gpgv.write(data)
        return Signed(data, gpgv.fingerprints, gpgv.expired)
    if not data.lstrip().startswith(CLEARSIGNED):
        message = f"{name} is not signed"
        raise VerificationError(message, hint=HINT)
    with TemporaryFile() as given, TemporaryFile() as text:
        given.write(data)
        given.seek(0)
        with _gpgv(key, "--output", "-", "-", stdin=given, stdout=text) as run:
            fingerprints, expired = run.judge(name, allow_expired=allow_expired)
        text.seek(0)
        return Signed(text.read(), fingerprints, expired)


def compare(name: str, wanted: Checksum, received: str) -> None:
    """Refuse what does not have the digest that it must have.

    :raises VerificationError: always then.
    """
    if received != wanted.digest:
        message = f"{name} is not the file that it should be"
        what = {"sha256": "SHA-256", "sha512": "SHA-512"}[wanted.algorithm]
        evidence = f"expected {what} {wanted.digest}\nreceived {what} {received}"
        raise VerificationError(message, evidence=evidence, hint=HINT)


class Detached:
    """The bytes that a detached signature is for are written in as they arrive.

    Leaving the context raises VerificationError if no key of the file vouches for them.
    """

    fingerprints: tuple[str, ...] = ()
    """As in `Signed`; known at the end."""
    expired = False
    """The same."""

    def __init__(
        self, signature: bytes, key: str, *, name: str = "the file", allow_expired: bool = False
    ) -> None:
        self.signature, self.key, self.name = signature, key, name
        self.allow_expired = allow_expired

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            signature = stack.enter_context(_readable(self.signature))
            self._run = stack.enter_context(
                _gpgv(self.key, signature.path, "-", stdin=process.PIPE, pass_fds=(signature.fd,))
            )
            self._stack = stack.pop_all()
        return self

    def write(self, chunk: bytes) -> int:
        """Take bytes; once gpgv has given up they go nowhere."""
        assert self._run.child.stdin
        with suppress(BrokenPipeError):  # it says why
            self._run.child.stdin.write(chunk)
        return len(chunk)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                self.fingerprints, self.expired = self._run.judge(
                    self.name, allow_expired=self.allow_expired
                )


class _File(NamedTuple):
    """A file that a tool without rights can open, if the descriptor is passed on."""

    fd: int
    path: str


@contextmanager
def _readable(data: bytes) -> Iterator[_File]:
    with TemporaryFile() as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        yield _File(file.fileno(), f"/proc/self/fd/{file.fileno()}")


@contextmanager
def _gpgv(
    key: str,
    *arguments: str,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes] = process.DEVNULL,
    pass_fds: tuple[int, ...] = (),
) -> Iterator[_Run]:
    """Run gpgv with one key file; it is killed if it still runs at the end."""
    with (
        _readable(keyring.read(key)) as keys,
        TemporaryFile() as status,
        TemporaryFile() as complaints,
    ):
        options = [f"--status-fd={status.fileno()}", f"--keyring={keys.path}"]
        with process.spawn(
            confined(["gpgv", *options, *arguments]),
            stdio=(stdin, stdout, complaints),
            env=process.environment({"GNUPGHOME": "/nonexistent"}),
            pass_fds=(keys.fd, status.fileno(), *pass_fds),
        ) as child:
            yield _Run(child, status, complaints)


class _Run(NamedTuple):
    """A gpgv that was started."""

    child: process.Child
    status: IO[bytes]
    complaints: IO[bytes]

    def close(self) -> None:
        """Tell it that nothing more comes."""
        if self.child.stdin:
            with suppress(BrokenPipeError):
                self.child.stdin.close()

    def judge(self, name: str, *, allow_expired: bool) -> tuple[tuple[str, ...], bool]:
        """Wait for the end; who signed, and whether that is out of date.

        :raises VerificationError: if nobody did.
        """
        self.close()
        status = self.child.wait()
        found = signatures(_content(self.status))
        if status == 0 or (status in FAILED and any(one.word in UNJUDGED for one in found)):
            for words in (GOOD, EXPIRED) if allow_expired else (GOOD,):
                if signed := tuple(one.fingerprint for one in found if one.counts_as(words)):
                    return signed, words is EXPIRED
        message = f"{name} {complaint(found)}"
        evidence = process.last_lines(_content(self.complaints))
        raise VerificationError(message, evidence=evidence, hint=HINT)


class Signature(NamedTuple):
    """What gpgv says of one signature."""

    word: str
    """GOODSIG, EXPSIG, EXPKEYSIG, REVKEYSIG, BADSIG, ERRSIG (doc/DETAILS of GnuPG)."""
    fingerprint: str = ""
    """Of the primary key; '' if it is not known."""
    weakness: str = ""
    """The hash algorithm if that is too weak to count."""

    def counts_as(self, words: frozenset[str]) -> bool:
        """Whether it is one of these, and strong."""
        return self.word in words and bool(self.fingerprint) and not self.weakness


def signatures(status: str) -> list[Signature]:
    """Read the lines of a status descriptor; one signature that is wrong makes it the only one."""
    found: list[Signature] = []
    for line in status.splitlines():
        match line.removeprefix(STATUS).split():
            case ["ERROR", *_]:
                return []
            case ["BADSIG", *_]:
                return [Signature("BADSIG")]
            case [("GOODSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" | "ERRSIG") as word, *_]:
                found.append(Signature(word))
            case ["VALIDSIG", *fields] if found and len(fields) >= 10:
                weakness = TOO_WEAK.get(fields[7], "")
                found[-1] = Signature(found[-1].word, fields[9], weakness)
            case _:
                continue
    return found


def complaint(found: Sequence[Signature]) -> str:
    """Say why these signatures do not count; the end of a sentence."""
    for one in found:
        if one.weakness:
            return f"is signed with {one.weakness}, which proves nothing any more"
    words = {one.word for one in found}
    for word, sentence in COMPLAINTS.items():
        if word in words:
            return sentence
    return "is not signed in a way that gpgv understands"


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
