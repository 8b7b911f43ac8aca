"""Looks at what keeps a guest within its bounds: limits, devices, users. Each is tried."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace

from postroj.container import naming
from postroj.container.boot import idmap
from postroj.container.cgroup import hierarchies, limits, scope
from postroj.container.cgroup.group import Group, systemd_controllers
from postroj.doctor.facts import MOUNT_SQUASHFS, Finding, Status, image_trial

MAP_USERS = f"""
{MOUNT_SQUASHFS}
cd "$1"
{shlex.join(idmap.argv(idmap.FIRST, ["mounted"]))}
mkdir other
mount -t overlay -o lowerdir=mounted:other overlay mounted
"""


def limiting() -> Finding:
    """Which of `--memory`, `--cpus` and `--pids` can be kept to."""
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
    """Whether guests can be kept from opening devices of the host."""
    group = _group()
    if isinstance(group, Finding):
        return group
    if group.open_devices:
        return Finding(Status.WARNING, f"guests can open all: {group.open_devices}")
    return Finding(Status.OK, "guests cannot open the host's")


def private_users() -> Finding:
    """Whether the files of an image can be given to others than the users of the host."""
    trial = image_trial(MAP_USERS)
    if trial.status is Status.OK:
        return Finding(Status.OK, "owners were mapped")
    return Finding(Status.WARNING, trial.found)


def _group() -> Group | Finding:
    """Return a guest's control groups, which are gone again; or why there are none."""
    if os.geteuid() != 0:
        return Finding(Status.WARNING, "not tried: only root may")
    every = replace(limits.of_host(1), cpus=1)
    try:
        group = Group(naming.generate(), every, hierarchies.mounted())
    except OSError as error:
        return Finding(Status.WARNING, f"no control group: {error}")
    group.remove()
    return group
