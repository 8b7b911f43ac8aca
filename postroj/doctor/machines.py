"""What guests with a kernel of their own need from this host, one function for each requirement."""

from __future__ import annotations

import os
import platform
import re

from postroj import process
from postroj.doctor import facts
from postroj.doctor.facts import Finding, Status
from postroj.errors import CommandError, HostError
from postroj.image import emulation
from postroj.machine import acceleration, qemu

SSH = re.compile(r"OpenSSH_(?P<version>[\w.]+)")
PACKAGES = {
    "x86_64": {
        "apt": "qemu-system-x86",
        "dnf": "qemu-system-x86-core",
        "zypper": "qemu-x86",
        "pacman": "qemu-system-x86",
    },
    "aarch64": {
        "apt": "qemu-system-arm",
        "dnf": "qemu-system-aarch64-core",
        "zypper": "qemu-arm",
        "pacman": "qemu-system-aarch64",
    },
}
"""Packages with the qemu for guests of an architecture."""


def packages(architecture: str = "") -> dict[str, str]:
    """Return the packages with the qemu for guests of an architecture, else of this host's."""
    return PACKAGES.get(architecture or platform.machine(), {})


def system_emulator(architecture: str = "") -> Finding:
    """Check that the qemu for guests of an architecture is installed, else of this host's."""
    machine = architecture or platform.machine()
    if machine not in qemu.PROGRAMS:
        return Finding(Status.WARNING, f"`--vm` knows no guests of {machine}")
    return facts.tool(qemu.PROGRAMS[machine])


def user_emulator(architecture: str) -> Finding:
    """Check that this host runs programs of an architecture, natively or through qemu-user."""
    try:
        emulation.require(architecture)
    except HostError as error:
        return Finding(Status.WARNING, error.evidence)
    return Finding(Status.OK, "is registered")


def ssh() -> Finding:
    """Check that OpenSSH's client is installed, which has no `--version`."""
    try:
        output = process.run(["ssh", "-V"], timeout=facts.TRIAL_TIMEOUT).output
    except HostError:
        return Finding(Status.MISSING, "")
    except CommandError as error:
        return Finding(Status.WARNING, error.message)
    found = SSH.search(output)
    return Finding(Status.OK, found["version"]) if found else Finding(Status.WARNING, "not OpenSSH")


def kvm() -> Finding:
    """Check that this host's `/dev/kvm` can be opened, which says little about what it can do."""
    try:
        os.close(os.open(acceleration.DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Finding(Status.WARNING, "this host has none, so qemu emulates the processor")
    except PermissionError:
        return Finding(Status.WARNING, acceleration.closed())
    except OSError as error:
        return Finding(Status.WARNING, f"cannot be opened: {error.strerror}")
    return Finding(Status.OK, "can be opened; the first `--vm` tries a kernel on it")
