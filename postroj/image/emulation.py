"""Check whether this host runs programs of an architecture, natively or through qemu-user."""

from __future__ import annotations

from pathlib import Path

from postroj.errors import HostError
from postroj.image import architectures

BINFMT = Path("/proc/sys/fs/binfmt_misc")

NATIVE = {"x86_64": ("x86_64", "i686")}
"""Architectures that processors run natively, if more than their own.

Not armv7l on aarch64: server cores do not support it.
"""

QEMU = {"armv7l": "arm", "i686": "i386"}
"""qemu's names of architectures, if they differ from `uname -m`."""


def is_needed(architecture: str) -> bool:
    """Whether this host needs qemu-user to run programs of an architecture."""
    host = architectures.of_this_host()
    return architecture not in NATIVE.get(host, (host,))


def require(architecture: str) -> None:
    """Ensure that this host can run programs of an architecture.

    :raises HostError: if it cannot.
    """
    if not is_needed(architecture):
        return
    host = architectures.of_this_host()
    name = f"qemu-{QEMU.get(architecture, architecture)}"
    if fault := _registration_fault(BINFMT / name):
        message = f"this host ({host}) cannot run programs for {architecture}"
        hint = (
            "install `qemu-user-static` (`qemu-user-binfmt` since Debian 13);"
            " `systemctl restart systemd-binfmt` registers it; inside a container, do so"
            " on its host, and `mount -t binfmt_misc none /proc/sys/fs/binfmt_misc` in it"
        )
        raise HostError(message, evidence=fault, hint=hint)


def _registration_fault(entry: Path) -> str:
    """Return what is wrong with the qemu-user registration in the kernel; '' if nothing is."""
    try:
        lines = entry.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{entry} does not exist: qemu-user is not registered"
    if lines[:1] != ["enabled"]:
        return f"{entry} says '{''.join(lines[:1])}', not 'enabled'"
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    # With F the kernel keeps the interpreter open, so it works below the root of an image.
    return (
        "" if "F" in flags else f"{entry} lacks the flag F: images do not contain its interpreter"
    )
