"""Names of processor architectures: as `uname -m`, as Debian and as Go has them."""

from __future__ import annotations

import os
import platform

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


MACHINES = {
    **{debian: machine for machine, debian in DEBIAN.items()},
    **{go: machine for machine, go in OCI.items()},
    **dict.fromkeys(("armv7", "armv7h", "armv7hl", "arm/v7"), "armv7l"),
    **dict.fromkeys(("i486", "i586", "x86"), "i686"),
    **dict.fromkeys(("arm64/v8", "arm64v8"), "aarch64"),
    **dict.fromkeys(("x64", "x86-64", "x86_64_v2", "x86_64_v3", "x86_64_v4"), "x86_64"),
    **dict.fromkeys(("all", "any", "noarch"), ""),
}
"""Architecture of each other name: those of Debian, Go, docker, rpm and pacman; '' for all."""


def machine(name: str) -> str:
    """Return an architecture as `uname -m` has it; '' for packages that fit every machine.

    Names that are not known stay as they are.
    """
    bare = name.lower().removeprefix("linux/")
    return MACHINES.get(bare, bare)


def of_this_host() -> str:
    """Return the architecture of this host, as `uname -m` of Linux has it."""
    return machine(os.uname().machine if hasattr(os, "uname") else platform.machine())
