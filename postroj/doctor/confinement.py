"""Facts about this host's means to confine guests: limits, devices, users. Each is tried."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from postroj import user
from postroj.container import limits, naming
from postroj.container.boot import idmap, nspawn
from postroj.container.capabilities import EVERY_ID, parse_lacking
from postroj.container.cgroup import hierarchies, scope
from postroj.container.cgroup.group import Group, systemd_controllers
from postroj.doctor.facts import Finding, Status, image_trial

USUAL = ("CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_NICE", "CAP_MKNOD", "CAP_AUDIT_CONTROL")
"""Capabilities that nspawn gives to every guest, and that a container often lacks itself."""
LAST = Path("/proc/sys/kernel/cap_last_cap")


def limiting() -> Finding:
    """Check which of `--memory`, `--cpus` and `--pids` this host can enforce."""
    group = _group()
    if isinstance(group, Finding):
        return group
    limited = systemd_controllers() if scope.is_usable() else group.limited
    usable = ", ".join(name for name in hierarchies.LIMITING if name in limited)
    lacking = ", ".join(name for name in hierarchies.LIMITING if name not in limited)
    if lacking:
        return Finding(Status.WARNING, f"{usable or 'nothing'}; not {lacking}")
    return Finding(Status.OK, usable)


def devices() -> Finding:
    """Check that guests can be kept from the host's devices."""
    if not user.is_root():
        return Finding(Status.OK, "guests cannot open the host's: their root is a user")
    group = _group()
    if isinstance(group, Finding):
        return group
    if group.open_devices:
        return Finding(Status.WARNING, f"guests can open all: {group.open_devices}")
    return Finding(Status.OK, "guests cannot open the host's")


def capabilities() -> Finding:
    """Check that this host can pass the capabilities on that guests get."""
    wanted = (*nspawn.GRANTED, nspawn.OWN_NETWORK, *USUAL)
    lacking = withheld(Path("/proc/self/status").read_text(), LAST.read_text())
    if missing := [name for name in wanted if name.removeprefix("CAP_") in lacking]:
        return Finding(Status.WARNING, f"cannot pass on {', '.join(missing)}")
    return Finding(Status.OK, "all that guests get" if user.is_root() else "all of a user's guests")


def withheld(status: str, last: str) -> frozenset[str]:
    """Return the capabilities that this process may not use; `last` is the highest number."""
    line = next(line for line in status.splitlines() if line.startswith("CapBnd"))
    return parse_lacking([*line.split(), last, "0", "0", str(EVERY_ID)])


def private_users() -> Finding:
    """Check that the owners of an image's files can be mapped to other users."""
    if not user.is_root():
        return Finding(Status.OK, "a user's guests always have some")
    trial = image_trial("map-owners", *idmap.argv(idmap.FIRST, ["mounted"]))
    if trial.status is Status.OK:
        return Finding(Status.OK, "owners were mapped")
    return Finding(Status.WARNING, trial.found)


def _group() -> Group | Finding:
    """Make a guest's control groups, remove them again and return them, or why there are none."""
    if os.geteuid() != 0:
        return Finding(Status.WARNING, "not tried: only root may")
    every = replace(limits.of_host(1), cpus=1)
    try:
        group = Group(naming.generate(), every, hierarchies.homes())
    except OSError as error:
        return Finding(Status.WARNING, f"no control group: {error}")
    group.remove()
    return group
