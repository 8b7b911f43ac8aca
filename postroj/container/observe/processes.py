"""Processes of a guest, and the units that they belong to, read from the host's control groups."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.boot.readiness import namespace_pids
from postroj.container.cgroup.processes import beside
from postroj.container.guest import Process

if TYPE_CHECKING:
    from postroj.container.leader import Leader

UNIT = re.compile(r"_?(?P<name>[^/]+\.(?:service|socket|scope|mount|automount|swap))")
"""A control group that is a unit; one that could be taken for a controller begins with `_`."""


def groups(leader: Leader) -> dict[int, str]:
    """Return each process by its number on the host, with its control group in the guest."""
    try:
        return beside(leader.read("cgroup"))
    except OSError:  # it has ended
        return {}


def processes(leader: Leader) -> list[Process]:
    """Return the processes of a guest, its init first; those that end meanwhile are left out."""
    found = []
    for pid, group in groups(leader).items():
        with suppress(OSError, IndexError):
            number = namespace_pids(pid)[-1]
            found.append(Process(pid=number, name=comm(pid), group=group, unit=unit_of(group)))
    return sorted(found, key=lambda process: process.pid)


def comm(pid: int) -> str:
    """Return the name of a process by its number on the host, comm(5); '' if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_bytes().decode(errors="replace").strip()
    return ""


def unit_of(group: str) -> str:
    """Return the unit of a control group: `redis.service` of `/system.slice/redis.service`.

    The outermost one: what runs below a user's manager belongs to `user@UID.service`. The guest's
    init, and what entered the guest beside it, is in no unit.
    """
    for part in group.split("/"):
        match = UNIT.fullmatch(part)
        if match and match["name"] != "init.scope":
            return match["name"]
    return ""
