"""Names of processor architectures: as `uname -m`, as Debian and as Go has them."""

from __future__ import annotations

import os

DEBIAN = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "i686": "i386",
    "ppc64le": "ppc64el",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
"""Debian's name of each architecture that postroj supports."""

OCI = DEBIAN | {"armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}
"""Go's name (GOARCH) of each, which registries use."""


def of_this_host() -> str:
    """Return the architecture of this host, as `uname -m` has it."""
    return os.uname().machine
