"""The vocabulary of images and guests: enumerations, and the record that joins both.

Imports nothing of postroj. A word means the same in code, messages and reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}")
"""A SHA-256 in lower-case hex; input of users is lower-cased before it is matched."""
EPHEMERAL = 32768
"""The first of the ports that the kernel chooses by itself, ip_local_port_range in ip(7)."""


def socket_name(address: str) -> str:
    """Return the address of a unix socket as people read it.

    Programs fill the name of an abstract one up to its 107 bytes with NUL, for which the kernel
    shows `@` (unix(7)); the name is shown without those.
    """
    return f"@{address[1:].rstrip('@')}" if address.startswith("@") else address


class SourceKind(StrEnum):
    """Where an image comes from."""

    BOOTSTRAP = "bootstrap"
    """Packages of a mirror, installed into an empty folder."""
    SIMPLESTREAMS = "simplestreams"
    TARBALL = "tarball"
    OCI = "oci"
    """A container registry."""
    IMPORT = "import"
    """The user's own file, folder or URL."""


class Verification(StrEnum):
    """How strongly the origin of an image was proved, strongest first."""

    SIGNATURE = "signature"
    """By a key that postroj ships or the user named."""
    DIGEST = "digest"
    """By a digest known before the download: from the catalog, a lock file or the user."""
    TLS = "tls"
    """By the server's certificate only, even if it serves unsigned checksums."""
    NONE = "none"

    def satisfies(self, required: Verification) -> bool:
        """Whether it is at least as strong."""
        order = list(Verification)
        return order.index(self) <= order.index(required)


REQUIRE = "POSTROJ_REQUIRE"
"""Variable with the weakest acceptable verification, which `--require` sets."""
REQUIRABLE = (Verification.SIGNATURE, Verification.DIGEST)
"""Its values."""


class Manager(StrEnum):
    """The package managers; a distribution has exactly one."""

    APT = "apt"
    DNF = "dnf"
    """And its predecessor yum."""
    ZYPPER = "zypper"
    PACMAN = "pacman"


class NetworkMode(StrEnum):
    """How a guest is connected."""

    PRIVATE = "private"
    """A namespace of its own with outbound access."""
    HOST = "host"
    NONE = "none"


class Kernel(StrEnum):
    """Which kernel guests have; the values are those of `--vm`."""

    SHARED = "never"
    """The host's: containers."""
    OWN = "always"
    """One of their own: machines."""
    AUTO = "auto"
    """The host's first, then one of their own for what a container cannot show."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A stored image, as `image` hands it to `container`."""

    name: str
    """Name in the catalog, as `debian-trixie`."""
    architecture: str
    """As `uname -m` has it: `x86_64`, `aarch64`."""
    layers: tuple[Path, ...]
    """Immutable squashfs files, the base first, each later one stacked on top."""
    digest: str = ""
    """SHA-256 of the base; '' if it is not known."""
    manager: Manager | None
    """None if postroj does not know its package manager."""
    systemd: int | None = None
    """Major version of its systemd, if known."""
    emulated: bool = False
    """Whether its programs run through qemu-user on this host."""
    has_lists: bool = False
    """Whether its layers contain recent package lists."""
    dependencies: tuple[str, ...] | None = None
    """Names of the packages that its layers have only because the packages under test need them.

    None if nobody has tried to install them."""
