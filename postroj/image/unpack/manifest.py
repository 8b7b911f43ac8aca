"""Parse manifests, indexes and configurations of OCI images, and choose a platform's image.

Pure functions on JSON; the OCI specification and docker's schema 2 use the same keys.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from postroj.errors import ImageError
from postroj.image import architectures
from postroj.model import SHA256

DIGEST = re.compile(f"sha256:({SHA256.pattern})")

MOST_JSON = 1 << 20
"""Largest manifest or configuration, in bytes."""

LAYER = re.compile(
    r"application/vnd\.(?:oci\.image\.layer(?:\.nondistributable)?\.v1"
    r"|docker\.image\.rootfs(?:\.foreign)?\.diff)\.tar(?:[.+](?:gzip|zstd))?"
)
"""Media types of layers."""

VARIANTS = {
    "amd64": ("", "v1", "v2", "v3", "v4"),
    "arm": ("v7", "", "v6", "v5"),
    "arm64": ("v8", ""),
}
"""Variants of an architecture in order of preference; for amd64, one that runs on every host first.
"""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """Digest and size of a file."""

    digest: str
    """SHA-256 in hex."""
    size: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The parts of one image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    """The lowest first."""

    @property
    def size(self) -> int:
        """Bytes to download."""
        return self.config.size + sum(layer.size for layer in set(self.layers))


def parse_json(data: bytes) -> Json:
    """Parse a manifest, an index or a configuration.

    :raises ImageError: if it is not a JSON object of moderate size.
    """
    try:
        if len(data) >= MOST_JSON:
            raise ValueError("it is larger than 1 MiB")  # noqa: EM101, TRY301
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError("it is not a JSON object")  # noqa: EM101, TRY301, TRY004
    except (ValueError, RecursionError) as error:
        message = "the manifest of the image cannot be read"
        raise ImageError(message, evidence=str(error)) from None
    return document


def is_index(document: Json) -> bool:
    """Whether the document is an index of several manifests.

    :raises ImageError: if it is a manifest as well, which tools would read in different ways.
    """
    if "manifests" in document and "layers" in document:
        message = "the manifest of the image is an index at the same time"
        raise ImageError(message)
    return "manifests" in document


def choose(index: Json, architecture: str) -> Descriptor:
    """Choose the manifest for an architecture (as in `uname -m`) from an index.

    :raises ImageError: if the index has none.
    """
    wanted = architectures.OCI.get(architecture, architecture)
    entries = [entry for entry in _list(index, "manifests") if isinstance(entry, dict)]
    ranked = sorted(
        (rank, position)
        for position, entry in enumerate(entries)
        if (rank := _rank(_platform(entry), wanted)) is not None
    )
    if ranked:
        return _descriptor(entries[ranked[0][1]])
    if len(entries) == 1 and not _platform(entries[0]):
        return _descriptor(entries[0])  # its configuration states the platform
    raise missing_platform(
        architecture, [name for entry in entries if (name := _platform_name(_platform(entry)))]
    )


def missing_platform(architecture: str, there: list[str]) -> ImageError:
    """Build the error for an image without the architecture."""
    message = f"the image does not exist for the architecture '{architecture}'"
    evidence = f"it exists for {', '.join(dict.fromkeys(there))}" if there else ""
    return ImageError(message, evidence=evidence)


def parse_manifest(document: Json) -> Manifest:
    """Parse the manifest of one image.

    :raises ImageError: if it is not the manifest of a bootable image.
    """
    if document.get("schemaVersion") == 1:
        message = "the manifest of the image has schema 1, which is obsolete"
        raise ImageError(message)
    layers = _list(document, "layers")
    kinds = {str(layer.get("mediaType")) for layer in layers if isinstance(layer, dict)}
    if unknown := sorted(kind for kind in kinds if not LAYER.fullmatch(kind)):
        message = "the image has layers that are not part of a file system"
        raise ImageError(message, evidence="\n".join(unknown))
    return Manifest(
        config=_descriptor(document.get("config")),
        layers=tuple(_descriptor(layer) for layer in layers),
    )


def check_platform(config: Json, architecture: str) -> None:
    """Check that a configuration is for Linux on an architecture.

    :raises ImageError: if it is for another platform.
    """
    wanted = architectures.OCI.get(architecture, architecture)
    if (config.get("os", "linux"), config.get("architecture", wanted)) != ("linux", wanted):
        raise missing_platform(architecture, [_platform_name(config)])


def diff_ids(config: Json) -> list[str]:
    """Return the SHA-256 of each uncompressed layer, in hex."""
    rootfs = config.get("rootfs")
    found = _list(rootfs if isinstance(rootfs, dict) else {}, "diff_ids")
    return [_digest(digest) for digest in found]


def _rank(platform: Json, wanted: str) -> int | None:
    """Return the preference of a platform, 0 for the best; None if it does not match."""
    if (platform.get("os"), platform.get("architecture")) != ("linux", wanted):
        return None
    known = VARIANTS.get(wanted, ())
    variant = platform.get("variant", "")
    if not known or variant not in known:
        return None if known else 0
    return known.index(variant)


def _platform(entry: Json) -> Json:
    platform = entry.get("platform")
    return platform if isinstance(platform, dict) else {}


def _platform_name(platform: Json) -> str:
    """Format a platform; '' for a pseudo platform, as attestations have it."""
    parts = [str(platform.get(key, "")) for key in ("os", "architecture", "variant")]
    return "" if "unknown" in parts else "/".join(filter(None, parts))


def _list(document: Json, key: str) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        message = "the manifest of the image cannot be read"
        raise ImageError(message, evidence=f"it has no list '{key}'")
    return found


def _descriptor(entry: object) -> Descriptor:
    size = entry.get("size") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or type(size) is not int or size < 0:
        message = "the manifest of the image cannot be read"
        raise ImageError(message, evidence="a digest or a size is missing")
    return Descriptor(digest=_digest(entry.get("digest")), size=size)


def _digest(digest: object) -> str:
    match = DIGEST.fullmatch(str(digest))
    if not match:
        message = "the image has a digest that is not a SHA-256"
        raise ImageError(message, evidence=str(digest)[:200])
    return match[1]
