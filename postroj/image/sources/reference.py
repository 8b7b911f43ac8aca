"""The name of an image in a registry: what is typed, and what it stands for.

Short names stand for what they do with docker: `debian` is `docker.io/library/debian:latest`.
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

# The grammar is that of https://pkg.go.dev/github.com/distribution/reference
REGISTRY = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
)
PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
PATH = re.compile(rf"{PART}(?:/{PART})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image, or several for different platforms, in a registry."""

    registry: str
    """Its host, perhaps with a port."""
    path: str
    """Of the repository."""
    tag: str
    """'' if it is not known."""
    digest: str
    """SHA-256 of a manifest or an index of manifests, in hex; '' if any will do."""

    def __str__(self) -> str:
        end = f"@sha256:{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.path}{end}"

    @property
    def url(self) -> str:
        """As skopeo and records have it."""
        return f"{TRANSPORT}{self}"

    def at(self, digest: str) -> Reference:
        """Return the reference to one manifest of the same repository."""
        return replace(self, digest=digest)

    @property
    def is_local(self) -> bool:
        """Whether the registry runs on this host, where nobody is between us and it."""
        host = re.sub(r":\d+$", "", self.registry)
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False


def normalise(text: str) -> Reference:
    """Read what somebody calls an image.

    :raises UsageError: if no image can have that name.
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
        shown = redacted(text) if "://" in text else text.rpartition("@")[2] if at else text
        message = f"'{shown}' names no image of a registry"
        hint = "as in 'debian:trixie', 'quay.io/centos/centos:stream9', 'HOST/PATH@sha256:DIGEST'"
        raise UsageError(message, hint=hint)
    if tag is None:
        tag = "" if digest else "latest"
    return Reference(registry=registry, path=path, tag=tag, digest=digest[1] if digest else "")


def _split_tag(name: str) -> tuple[str, str | None]:
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag and head else (name, None)


def _split_registry(name: str) -> tuple[str, str]:
    """Tell a registry from the first part of a path, as docker does."""
    first, slash, rest = name.partition("/")
    if slash and (re.search(r"[.:A-Z]", first) or first == "localhost"):
        registry, path = (HUB if first in HUB_ALIASES else first), rest
    else:
        registry, path = HUB, name
    if registry == HUB and "/" not in path:
        path = OFFICIAL + path
    return registry, path
