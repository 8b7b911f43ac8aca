"""List the processes of a guest and their units, from the host's control groups."""

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
"""Name of a unit's control group; systemd puts `_` before a name that looks like a controller's."""


def groups(leader: Leader) -> dict[int, str]:
    """Return the control group in the guest of each process, by its PID on the host."""
    try:
        return beside(leader.read("cgroup"))
    except OSError:  # it has ended
        return {}


def processes(leader: Leader) -> list[Process]:
    """Return the processes of a guest, init first; those that end meanwhile are left out."""
    found = []
    for pid, group in groups(leader).items():
        with suppress(OSError, IndexError):
            number = namespace_pids(pid)[-1]
            found.append(Process(pid=number, name=comm(pid), group=group, unit=unit_of(group)))
    return sorted(found, key=lambda process: process.pid)


def comm(pid: int) -> str:
    """Return the name of a process by its PID on the host, comm(5); '' if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_bytes().decode(errors="replace").strip()
    return ""


def unit_of(group: str) -> str:
    """Return the unit of a control group: `redis.service` for `/system.slice/redis.service`.

    This is the outermost unit: processes below a user's manager belong to `user@UID.service`. Init
    and commands that entered the guest belong to no unit.
    """
    for part in group.split("/"):
        match = UNIT.fullmatch(part)
        if match and match["name"] != "init.scope":
            return match["name"]
    return ""
