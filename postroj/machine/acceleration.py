"""Find out whether this host's processor can run a machine, by booting a kernel on it.

That `/dev/kvm` exists says little: inside a virtual machine without nested virtualization it may
refuse to start a kernel, or never come to an end with it. The answer is kept until this host boots
again.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from pathlib import Path

from postroj import locking, paths, process, user
from postroj.container.spec import Accelerator
from postroj.errors import CommandError
from postroj.image.store import os_errors, store
from postroj.machine import kernel_layer, qemu

log = logging.getLogger(__name__)

DEVICE = Path("/dev/kvm")
PATIENCE = 10.0
"""Seconds for a kernel to boot, which takes one with KVM."""
ANSWER = "kvm.json"
"""File of the cache with the answer."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NOTE = "without KVM, a guest with a kernel of its own is ten to twenty times as slow: %s"


def best(architecture: str, kernel: Path) -> Accelerator:
    """Return the fastest accelerator with which a machine boots on this host.

    `kernel` is the layer of its kernel.
    """
    why = _why_not(architecture, kernel)
    if why:
        log.warning(NOTE, why)
    return Accelerator.TCG if why else Accelerator.KVM


def _why_not(architecture: str, kernel: Path) -> str:
    """Return why machines have no KVM here; '' if they have."""
    if architecture != os.uname().machine:
        return f"this host has another architecture than '{architecture}'"
    if not DEVICE.exists():
        return f"this host has no {DEVICE}"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"{DEVICE} is {closed()}"
    file = paths.cache_dir() / ANSWER
    asked = {"boot": BOOT_ID.read_text().strip(), "kernel": kernel.name}
    known = _read(file)
    if not asked.items() <= known.items():
        with os_errors.explained(), locking.Claim.make(store.partial_dir(), "kvm") as claim:
            known = {**asked, "why": _try(architecture, kernel, claim.path)}
            store.draft(claim.path, json.dumps(known)).replace(file)
    return known["why"]


def closed() -> str:
    """Say to whom the device is closed, and how root opens it to a user.

    In a user namespace the groups of the user do not count, since a guest could use them, too.
    """
    if user.is_root():
        return "closed to root"
    command = f"sudo setfacl -m u:{user.UID}:rw {DEVICE}"
    return f"closed to user {user.UID}, whose groups do not count here; `{command}` opens it"


def _read(file: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        found = json.loads(file.read_bytes())
        if isinstance(found, dict) and isinstance(found.get("why"), str):
            return found
    return {}


def _try(architecture: str, kernel: Path, folder: Path) -> str:
    """Boot a kernel with KVM, from an empty folder; return why it does not boot, or ''."""
    kernel_layer.unpack(kernel, folder)
    argv = qemu.trial_argv(architecture, folder)
    try:
        done = process.run(argv, ok=range(256), timeout=PATIENCE, env=process.environment())
    except CommandError:
        return f"a kernel did not boot within {PATIENCE:g} s with {DEVICE}"
    if qemu.BOOTED in done.output:
        return ""
    return process.last_lines(done.output, 1) or f"a kernel did not boot with {DEVICE}"
