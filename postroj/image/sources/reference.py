"""Parse names of images in container registries, with docker's short names.

`debian` means `docker.io/library/debian:latest`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from postroj.errors import UsageError
from postroj.image.unpack.manifest import DIGEST
from postroj.urls import redacted

TRANSPORT = "docker://"
HUB, OFFICIAL = "docker.io", "library/"
HUB_ALIASES = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")

# Grammar: https://pkg.go.dev/github.com/distribution/reference
REGISTRY = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
)
PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
PATH = re.compile(rf"{PART}(?:/{PART})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Name of an image in a registry; it may exist for several platforms."""

    registry: str
    """Host, with a port if given."""
    path: str
    """Path of the repository."""
    tag: str
    """'' if unknown."""
    digest: str
    """SHA-256 of a manifest or an index in hex; '' if none is pinned."""

    def __str__(self) -> str:
        end = f"@sha256:{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.path}{end}"

    @property
    def url(self) -> str:
        """The form that skopeo and records use."""
        return f"{TRANSPORT}{self}"

    def at(self, digest: str) -> Reference:
        """Return the reference to a manifest of the same repository."""
        return replace(self, digest=digest)

    @property
    def is_local(self) -> bool:
        """Whether the registry runs on this host, so that nobody can tamper with the connection."""
        host = re.sub(r":\d+$", "", self.registry)
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False


def parse_reference(text: str) -> Reference:
    """Parse a name as the user types it.

    :raises UsageError: if it is not the name of an image.
    """
    name, at, pinned = text.removeprefix(TRANSPORT).partition("@")
    digest = DIGEST.fullmatch(pinned)
    name, tag = _split_tag(name)
    registry, path = _split_registry(name)
    if (
        (at and not digest)
        or not REGISTRY.fullmatch(registry)
        or not PATH.fullmatch(path)
        or not (tag is None or TAG.fullmatch(tag))
    ):
        message = f"'{redacted(text)}' is not the name of an image in a registry"
        hint = "use 'debian:trixie', 'quay.io/centos/centos:stream9', 'HOST/PATH@sha256:DIGEST'"
        raise UsageError(message, hint=hint)
    if tag is None:
        tag = "" if digest else "latest"
    return Reference(registry=registry, path=path, tag=tag, digest=digest[1] if digest else "")


def _split_tag(name: str) -> tuple[str, str | None]:
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag and head else (name, None)


def _split_registry(name: str) -> tuple[str, str]:
    """Split off the registry by docker's rule."""
    first, slash, rest = name.partition("/")
    if slash and (re.search(r"[.:A-Z]", first) or first == "localhost"):
        registry, path = (HUB if first in HUB_ALIASES else first), rest
    else:
        registry, path = HUB, name
    if registry == HUB and "/" not in path:
        path = OFFICIAL + path
    return registry, path
