"""Source `oci`: download an image from a container registry and merge its layers to a squashfs.

skopeo speaks with the registry. Each file must have the digest in the manifest; the manifest must
have the pinned digest, or come from the registry over TLS.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from postroj import net
from postroj.errors import ImageError, VerificationError
from postroj.image.sources import Built, skopeo
from postroj.image.sources.reference import parse_reference
from postroj.image.store.record import Provenance
from postroj.image.unpack import manifest, pack
from postroj.image.unpack.flatten import flatten
from postroj.model import SourceKind, Verification

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.catalog.entry import Oci
    from postroj.image.sources import Order
    from postroj.image.sources.reference import Reference
    from postroj.image.unpack.manifest import Descriptor, Manifest


def build(source: Oci, order: Order) -> Built:
    """Build an image from one in a registry.

    :raises UsageError: if its name is invalid.
    :raises HostError: if this host lacks a tool.
    :raises DownloadError: if the download fails.
    :raises VerificationError: if a file has another digest than the manifest, or than was pinned.
    :raises ImageError: if the image is not bootable, or not there for the architecture.
    """
    wanted = parse_reference(source.reference)
    if order.pinned and not wanted.digest:  # else `LockedImage.check` compares the result
        wanted = wanted.at(order.pinned.artifact)
    parts = order.directory / "parts"
    parts.mkdir()
    order.progress.describe("manifest")
    found, image = _resolve(wanted, order)
    if image.size > net.LARGEST:
        message = f"the image '{found}' is larger than the limit of {net.LARGEST} bytes"
        raise ImageError(message, evidence=f"its manifest says {image.size} bytes")
    order.progress.describe("download")
    skopeo.copy(
        found,
        parts,
        image.size,
        lambda size: order.progress.reach(min(size, image.size), image.size),
    )
    order.progress.describe("pack")
    layers = _verified(image, parts, order.architecture)
    target = order.directory / "image.squashfs"
    with pack.Packer(target) as packer:
        flatten(layers, packer)
    provenance = Provenance(
        source=SourceKind.OCI,
        url=found.url,
        build=wanted.tag,
        artifact=found.digest,
        compression=pack.COMPRESSION,
        verification=_verification(wanted),
    )
    return Built(target, provenance)


def _verification(wanted: Reference) -> Verification:
    """Return how the image is verified; a tag without TLS proves nothing."""
    if wanted.digest:
        return Verification.DIGEST
    return Verification.NONE if wanted.is_local else Verification.TLS


def _resolve(wanted: Reference, order: Order) -> tuple[Reference, Manifest]:
    """Find the manifest for the architecture and its digest."""
    digest, document = fetch_manifest(wanted, order.directory)
    if manifest.is_index(document):
        chosen = manifest.choose(document, order.architecture)
        digest, document = fetch_manifest(wanted.at(chosen.digest), order.directory)
        if manifest.is_index(document):
            message = f"the image '{wanted}' has an index inside an index"
            raise ImageError(message)
    return wanted.at(digest), manifest.parse_manifest(document)


def fetch_manifest(reference: Reference, directory: Path) -> tuple[str, manifest.Json]:
    """Fetch a manifest or an index; return its SHA-256 in hex and the parsed JSON.

    :raises DownloadError: if the download fails.
    :raises VerificationError: if it has another digest than the reference.
    :raises ImageError: if it cannot be read.
    :raises HostError: if skopeo is not installed.
    """
    data = skopeo.inspect(reference, directory)
    digest = hashlib.sha256(data).hexdigest()
    if reference.digest and reference.digest != digest:
        raise _mismatch(reference.digest, digest)
    return digest, manifest.parse_json(data)


def _verified(image: Manifest, parts: Path, architecture: str) -> list[Path]:
    """Return the layers after checking all files against the manifest."""
    files = [_checked(part, parts) for part in (image.config, *image.layers)]
    config = files[0].read_bytes() if image.config.size < manifest.MOST_JSON else b""
    manifest.check_platform(manifest.parse_json(config), architecture)
    return files[1:]


def _checked(part: Descriptor, parts: Path) -> Path:
    """Return a file after checking its digest and size."""
    path = parts / part.digest
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        message = "the registry did not send a part of the image"
        raise ImageError(message, evidence=f"sha256:{part.digest}") from None
    size = path.stat().st_size
    if (digest, size) != (part.digest, part.size):
        raise _mismatch((part.digest, part.size), (digest, size))
    return path


def _mismatch(expected: object, received: object) -> VerificationError:
    return VerificationError(
        "the registry brought something else than the image",
        evidence=f"expected {expected}\nreceived {received}",
        hint="something between this host and the registry changes files, or a disk is damaged",
    )
