"""Prepare a guest's first files: the identity that its layers do not have."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from postroj.container.naming import DOMAIN

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

NO_CREDENTIALS = "LoadCredential=\nSetCredential=\nImportCredential="
EMULATED = {
    # cannot clone(2) into a new mount namespace, which credentials take: systemd issue 21511
    "systemd-sysctl.service": NO_CREDENTIALS,
    "systemd-tmpfiles-setup.service": NO_CREDENTIALS,
    "systemd-tmpfiles-setup-dev.service": NO_CREDENTIALS,
    # answers a request to a new network namespace with EIO
    "systemd-hostnamed.service": "PrivateNetwork=no",
}
"""Settings without features that units of every image use and qemu-user 7.2 lacks."""


def lock_layer(stack: ExitStack, layer: Path) -> int:
    """Lock a layer, shared, so that no other process deletes it while a guest uses it."""
    descriptor = os.open(layer, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def write_seed(run_dir: Path, hostname: str, resolv_conf: str, *, emulated: bool = False) -> None:
    """Write the layer with a guest's identity: its host name, machine-id and resolv.conf.

    An `emulated` guest also gets settings without the features that qemu-user lacks.
    """
    etc = run_dir / "seed" / "etc"
    etc.mkdir(parents=True)
    files = {
        "hostname": f"{hostname}\n",
        # a minimal image has none, and daemons that bind `localhost` need it; the first name after
        # an address is the canonical one, hosts(5)
        "hosts": (
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
            f"127.0.1.1 {hostname}.{DOMAIN} {hostname}\n"
        ),
        # without one systemd would preset all units again, machine-id(5)
        "machine-id": f"{os.urandom(16).hex()}\n",
        "resolv.conf": resolv_conf,
    }
    for unit, settings in EMULATED.items() if emulated else ():
        files[f"systemd/system/{unit}.d/qemu-user.conf"] = f"[Service]\n{settings}\n"
    for file, text in files.items():
        (etc / file).parent.mkdir(parents=True, exist_ok=True)
        (etc / file).write_text(text)
        (etc / file).chmod(0o644)
    for folder in (etc.parent, *etc.parent.rglob("*/")):  # whatever root's umask is
        if folder.is_dir():
            folder.chmod(0o755)
