"""What a guest is given before it begins: its identity, and a hold on what it is made of."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path


def hold(stack: ExitStack, layer: Path) -> int:
    """Hold a shared lock on a layer, so that nobody deletes it under a guest."""
    descriptor = os.open(layer, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def write_seed(run_dir: Path, name: str, resolv_conf: str) -> None:
    """Write the layer that gives a guest its identity: name, machine-id, how to resolve names."""
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
    for file, text in files.items():
        (etc / file).write_text(text)
        (etc / file).chmod(0o644)
    for folder in (etc, etc.parent):  # what root's umask is must not matter in the guest
        folder.chmod(0o755)
