"""Source `tarball`: download a publisher's archive, verified as strongly as the publisher allows.

The proof comes first: a digest in the catalog, a checksum file, a signature on either or on the
archive itself. Then the archive is hashed, verified and packed while it arrives; the result counts
only if all of that succeeds.
"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from postroj import net
from postroj.errors import VerificationError
from postroj.http_errors import AbsentError
from postroj.image.catalog.entry import expand
from postroj.image.sources import Built
from postroj.image.store.record import Provenance
from postroj.image.trust import verify
from postroj.image.trust.checksums import Checksum, find_checksum, name_pattern
from postroj.image.unpack.detect import Converter
from postroj.model import SourceKind, Verification
from postroj.urls import redacted

if TYPE_CHECKING:
    from postroj.image.catalog.entry import Tarball
    from postroj.image.sources import Order

LARGEST = 4 << 20
"""Largest checksum file or signature, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What proves the content of an archive."""

    url: str
    """URL of the archive."""
    checksums: tuple[Checksum, ...] = ()
    """All of them must match."""
    signature: bytes | None = None
    """Detached signature of the archive itself."""
    fingerprints: tuple[str, ...] = ()
    """Fingerprints of the keys that signed the checksums."""
    known_before: bool = False
    """Whether one of the checksums was known before the download."""
    expired: bool = False
    made: int = 0
    """When the checksums were signed, in seconds since 1970."""

    @property
    def proves_content(self) -> bool:
        """Whether the content is proved independently of the connection."""
        return bool(self.checksums or self.signature)


def build(source: Tarball, order: Order) -> Built:
    """Build an image from an archive.

    :raises DownloadError: if a download fails.
    :raises VerificationError: if the archive is not what publisher, catalog or lock file promise,
        or older than the cached one.
    :raises ImageError: if the archive contains no root file system.
    """
    return _fetch(source, order, find_proof(source, order))


def find_proof(source: Tarball, order: Order) -> Proof:
    """Find the URL of an archive, and what proves its content.

    A pin adds its digest to what the catalog demands.

    :raises DownloadError: if a download fails.
    :raises VerificationError: if the checksums are not signed as they should be, lack the file, or
        are older than those of the cached image, or if the catalog does not mean the pinned file.
    """
    url, checksums, signature = (
        expand(text, order.architecture)
        for text in (source.url, source.checksums, source.signature)
    )
    order.progress.describe("verification")
    known = [source.sha256] if source.sha256 else []
    if order.pinned:
        url = _pinned_url(url, order.pinned)
        known.append(order.pinned.artifact)
        checksums = checksums if source.key else ""  # unsigned ones prove less than the digest
    digests = tuple(Checksum("", "sha256", digest) for digest in known)
    proof = Proof(url=url, checksums=digests, known_before=bool(digests))
    if checksums:
        return _with_checksums(proof, checksums, signature, source.key, order)
    if signature:
        return replace(
            proof, signature=net.fetch_small(signature, limit=LARGEST, allow_downgrade=True)
        )
    return proof


def _pinned_url(url: str, pinned: Provenance) -> str:
    """Return the URL of the catalog, with the pinned file in place of its `*`.

    :raises VerificationError: if the catalog does not mean that file.
    """
    folder, _, name = url.rpartition("/")
    if "*" not in name:
        return url
    file = pinned.url.rpartition("/")[2]
    if not name_pattern(name).fullmatch(file):
        message = f"the catalog has no file '{redacted(file)}', which the lock file names"
        raise VerificationError(message, evidence=redacted(url), hint="lock the image again")
    return f"{folder}/{file}"


def _with_checksums(proof: Proof, url: str, signature: str, key: str, order: Order) -> Proof:
    """Add the checksum from a checksum file, whose signature is verified if there is a key.

    Where a publisher has gone from `.sha256` to `.sha512`, that is taken.
    """
    try:
        data = net.fetch_small(url, limit=LARGEST, allow_downgrade=bool(key))
    except AbsentError:
        if signature or not url.endswith(".sha256"):
            raise
        url = url.removesuffix("256") + "512"
        data = net.fetch_small(url, limit=LARGEST, allow_downgrade=bool(key))
    if key:
        detached = (
            net.fetch_small(signature, limit=LARGEST, allow_downgrade=True) if signature else None
        )
        name = f"'{redacted(url)}'"
        signed = verify.check_signature(
            data, detached, key, name=name, allow_expired=order.allow_expired_keys
        )
        _refuse_rollback(signed, order, name)
        proof = replace(
            proof, fingerprints=signed.fingerprints, expired=signed.expired, made=signed.made
        )
        data = signed.text
    folder, _, name = proof.url.rpartition("/")
    listed_in = url.rpartition("/")[2]
    checksum = find_checksum(data.decode(errors="replace"), name, listed_in=listed_in)
    if checksum is None:
        message = f"'{redacted(url)}' does not list the file '{name}'"
        raise VerificationError(message, hint="has its publisher renamed it?")
    return replace(proof, url=f"{folder}/{checksum.name}", checksums=(*proof.checksums, checksum))


def _fetch(source: Tarball, order: Order, proof: Proof) -> Built:
    name = f"'{redacted(proof.url)}'"
    # The download computes SHA-256 anyway.
    others = {one.algorithm: hashlib.new(one.algorithm) for one in proof.checksums}
    others.pop("sha256", None)
    gpgv = None
    if proof.signature:
        expired = order.allow_expired_keys
        gpgv = verify.DetachedSignature(
            proof.signature, source.key, name=name, allow_expired=expired
        )
    order.progress.describe("download")
    with (
        net.stream(
            proof.url, progress=order.progress, allow_downgrade=proof.proves_content
        ) as body,
        Converter(order.directory, order.architecture, source.subtree) as converter,
    ):
        with gpgv or nullcontext():
            for chunk in body:
                converter.write(chunk)
                for digest in others.values():
                    digest.update(chunk)
                if gpgv:
                    gpgv.write(chunk)
        # Before errors of unpacking, which tampering may have caused.
        for one in proof.checksums:
            other = others.get(one.algorithm)
            verify.check_digest(name, one, other.hexdigest() if other else body.sha256)
    signed = gpgv or proof
    if gpgv:
        _refuse_rollback(gpgv, order, name)
    return Built(
        converter.finish(),
        Provenance(
            source=SourceKind.TARBALL,
            url=redacted(proof.url),
            build="",
            artifact=body.sha256,
            compression=converter.compression,
            verification=_verification(proof),
            fingerprints=signed.fingerprints,
            archived=source.archived,
            signed=signed.made or None,
            expired_signature=signed.expired,
        ),
    )


def _refuse_rollback(
    signed: verify.Signed | verify.DetachedSignature, order: Order, name: str
) -> None:
    """Refuse what the same key signed before it signed the cached image.

    Otherwise an old file with its good signature could bring back a flaw that has been fixed.

    :raises VerificationError: if it is older.
    """
    known = order.previous
    if known is None or known.signed is None or order.pinned:
        return
    if signed.made < known.signed and set(signed.fingerprints) & set(known.fingerprints):
        message = f"{name} was signed before the cached '{order.entry.name}' was"
        evidence = f"signed {_date(signed.made)}, the cached one {_date(known.signed)}"
        hint = f"if the publisher withdrew that: `postroj remove {order.entry.name}`, then pull"
        raise VerificationError(message, evidence=evidence, hint=hint)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _verification(proof: Proof) -> Verification:
    """Return how the archive was verified."""
    if proof.fingerprints or proof.signature:
        return Verification.SIGNATURE
    if proof.known_before:
        return Verification.DIGEST
    return Verification.TLS if proof.url.startswith("https:") else Verification.NONE
