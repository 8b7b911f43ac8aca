"""The vocabulary of images and guests: closed sets, and the record they meet in.

Imports nothing of postroj. A word here means the same everywhere, in messages and reports too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}")
"""A SHA-256 in lower-case hex, as postroj writes it; what people type is lowered first."""


class SourceKind(StrEnum):
    """Where an image comes from."""

    BOOTSTRAP = "bootstrap"
    """The packages of a mirror."""
    SIMPLESTREAMS = "simplestreams"
    TARBALL = "tarball"
    OCI = "oci"
    """A registry."""
    IMPORT = "import"
    """Brought by the user."""


class Verification(StrEnum):
    """How strongly the origin of an image was proved, strongest first."""

    SIGNATURE = "signature"
    """By a key that postroj ships, or that the user named."""
    DIGEST = "digest"
    """Known before anything was fetched: from the catalog, a lock file or the user."""
    TLS = "tls"
    """The server's name alone, also where it serves checksums that nobody signed."""
    NONE = "none"


class Manager(StrEnum):
    """The package managers; a distribution has one of them."""

    APT = "apt"
    DNF = "dnf"
    """Also yum, its predecessor."""
    ZYPPER = "zypper"
    PACMAN = "pacman"


class NetworkMode(StrEnum):
    """What network a guest has."""

    PRIVATE = "private"
    """A namespace of its own with outbound access."""
    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Image:
    """A stored image: what `image` hands to `container`."""

    name: str
    """Its name in the catalog, as `debian-trixie`."""
    architecture: str
    """As `uname -m` has it: `x86_64`, `aarch64`."""
    layers: tuple[Path, ...]
    """Squashfs files, immutable; the base first, each later one on top."""
    manager: Manager | None
    """None if it is one that postroj does not know."""
    systemd: int | None = None
    """Major version of its systemd, where that is known."""
    emulated: bool = False
    """Whether its programs run through qemu-user here."""
    has_lists: bool = False
    """Whether package lists that will do are in its layers."""
