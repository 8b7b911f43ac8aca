"""What a guest is given before it begins: its identity, and a hold on what it is made of."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

EMULATED = {
    # cannot clone(2) into a new mount namespace, which credentials take: systemd issue 21511
    "systemd-tmpfiles-setup.service": "LoadCredential=\nSetCredential=\nImportCredential=",
    "systemd-tmpfiles-setup-dev.service": "LoadCredential=\nSetCredential=\nImportCredential=",
    # answers a request to a new network namespace with EIO
    "systemd-hostnamed.service": "PrivateNetwork=no",
}
"""What units of every image ask for and qemu-user does not have: measured with qemu 7.2."""


def hold(stack: ExitStack, layer: Path) -> int:
    """Hold a shared lock on a layer, so that nobody deletes it under a guest."""
    descriptor = os.open(layer, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def write_seed(run_dir: Path, name: str, resolv_conf: str, *, emulated: bool = False) -> None:
    """Write the layer that gives a guest its identity: name, machine-id, how to resolve names.

    One that is `emulated` also gets along without what qemu-user does not have.
    """
    etc = run_dir / "seed" / "etc"
    etc.mkdir(parents=True)
    files = {
        "hostname": f"{name}\n",
        # a minimal image has none, and daemons that bind `localhost` fail without
        "hosts": (
            f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {name}\n"
        ),
        # random, since systemd presets all units anew where it is missing, machine-id(5)
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
