"""Verify signatures and digests; gpgv gets one key file and no other.

Only bytes that gpgv itself has read count, and of an inline signature only the text that gpgv
writes. gpgv processes untrusted bytes, so it is confined.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple

from postroj import process
from postroj.errors import VerificationError
from postroj.image.trust import keyring
from postroj.image.unpack.confine import confined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from postroj.image.trust.checksums import Checksum

CLEARSIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
STATUS = "[GNUPG:] "
TOO_WEAK = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}
"""Hash algorithms too weak to count, by their numbers in RFC 9580, 9.5."""

GOOD = frozenset({"GOODSIG"})
EXPIRED = frozenset({"EXPSIG", "EXPKEYSIG"})
COMPLAINTS = {
    "BADSIG": "is not what its publisher signed",
    "REVKEYSIG": "is signed by a key that was revoked",
    "EXPKEYSIG": "is signed by a key that has expired",
    "EXPSIG": "has a signature that has expired",
    "ERRSIG": "is signed by an unknown key",
}
"""Sentences by gpgv's status, the gravest first."""
FAILED = (1, 2)
PARTIAL = frozenset({"EXPSIG", "ERRSIG"})
"""Statuses of signatures that are expired or by unknown keys; others beside them may count."""

HINT = "it was damaged or tampered with, or its publisher has a new key"


class Signed(NamedTuple):
    """Bytes with a valid signature."""

    text: bytes
    """The signed bytes; use these instead of the input."""
    fingerprints: tuple[str, ...]
    """Fingerprints of the primary keys that signed."""
    expired: bool
    """Whether all signatures are valid except for their age."""
    made: int
    """When the latest of them was made, in seconds since 1970."""


def check_signature(
    data: bytes,
    signature: bytes | None,
    key: str,
    *,
    name: str = "the file",
    allow_expired: bool = False,
) -> Signed:
    """Verify bytes with a detached `signature`, or an inline one if that is None.

    `key` is a file in `image/trust/keys/` or an absolute path; `name` is used in messages.

    :raises VerificationError: if no signature of these keys is valid.
    """
    if signature is not None:
        with DetachedSignature(signature, key, name=name, allow_expired=allow_expired) as gpgv:
            gpgv.write(data)
        return Signed(data, gpgv.fingerprints, gpgv.expired, gpgv.made)
    if not data.lstrip().startswith(CLEARSIGNED):
        message = f"{name} is not signed"
        raise VerificationError(message, hint=HINT)
    with TemporaryFile() as given, TemporaryFile() as text:
        given.write(data)
        given.seek(0)
        with _gpgv(key, "--output", "-", "-", stdin=given, stdout=text) as run:
            signers = run.result(name, allow_expired=allow_expired)
        text.seek(0)
        return Signed(text.read(), *signers)


def check_digest(name: str, wanted: Checksum, received: str) -> None:
    """Check the digest of a file.

    :raises VerificationError: if it differs.
    """
    if received != wanted.digest:
        message = f"{name} does not have the expected digest"
        what = {"sha256": "SHA-256", "sha512": "SHA-512"}[wanted.algorithm]
        evidence = f"expected {what} {wanted.digest}\nreceived {what} {received}"
        raise VerificationError(message, evidence=evidence, hint=HINT)


class DetachedSignature:
    """Verifies bytes with a detached signature while they arrive.

    Leaving the context raises VerificationError if no signature of the keys is valid.
    """

    fingerprints: tuple[str, ...] = ()
    """As in `Signed`, set at the end."""
    expired = False
    """As in `Signed`, set at the end."""
    made = 0
    """As in `Signed`, set at the end."""

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
        """Take bytes; they are discarded once gpgv has ended."""
        assert self._run.child.stdin
        with suppress(BrokenPipeError):  # its status is judged at the end
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
                self.fingerprints, self.expired, self.made = self._run.result(
                    self.name, allow_expired=self.allow_expired
                )


class _File(NamedTuple):
    """A file that a confined tool opens through an inherited descriptor."""

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
    """Run gpgv with one key file; kill it when the context ends."""
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
    """A running gpgv."""

    child: process.Child
    status: IO[bytes]
    complaints: IO[bytes]

    def close(self) -> None:
        """Close its stdin."""
        if self.child.stdin:
            with suppress(BrokenPipeError):
                self.child.stdin.close()

    def result(self, name: str, *, allow_expired: bool) -> tuple[tuple[str, ...], bool, int]:
        """Wait for gpgv; return all fields of `Signed` but the text.

        :raises VerificationError: if no signature is valid.
        """
        self.close()
        status = self.child.wait()
        found = signatures(_content(self.status))
        if status == 0 or (status in FAILED and any(one.word in PARTIAL for one in found)):
            for words in (GOOD, EXPIRED) if allow_expired else (GOOD,):
                if signed := [one for one in found if one.counts_as(words)]:
                    made = max(one.made for one in signed)
                    return tuple(one.fingerprint for one in signed), words is EXPIRED, made
        why = describe_failure(found)
        message = f"{name} {why}"
        evidence = process.last_lines(_content(self.complaints))
        is_expired = why in (COMPLAINTS["EXPKEYSIG"], COMPLAINTS["EXPSIG"])
        hint = "`--allow-expired-keys` accepts it" if is_expired else HINT
        raise VerificationError(message, evidence=evidence, hint=hint)


class Signature(NamedTuple):
    """gpgv's status of one signature."""

    word: str
    """GOODSIG, EXPSIG, EXPKEYSIG, REVKEYSIG, BADSIG, ERRSIG (doc/DETAILS of GnuPG)."""
    fingerprint: str = ""
    """Fingerprint of the primary key; '' if unknown."""
    made: int = 0
    """In seconds since 1970."""
    weakness: str = ""
    """Name of the hash algorithm if it is too weak to count."""

    def counts_as(self, words: frozenset[str]) -> bool:
        """Whether the status is one of `words` and the hash algorithm is strong."""
        return self.word in words and bool(self.fingerprint) and not self.weakness


def signatures(status: str) -> list[Signature]:
    """Parse gpgv's status lines; one bad signature invalidates all others."""
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
                made = int(fields[2]) if fields[2].isdigit() else 0
                found[-1] = Signature(found[-1].word, fields[9], made, weakness)
            case _:
                continue
    return found


def describe_failure(found: Sequence[Signature]) -> str:
    """Return why no signature counts, as the end of a sentence."""
    for one in found:
        if one.weakness:
            return f"is signed with {one.weakness}, which is too weak"
    words = {one.word for one in found}
    for word, sentence in COMPLAINTS.items():
        if word in words:
            return sentence
    return "has no signature that gpgv understands"


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
