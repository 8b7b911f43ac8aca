"""List the processes of a guest and their units, from the host's control groups."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.boot.readiness import namespace_pids
from postroj.container.cgroup.processes import beside
from postroj.container.guest import Process

if TYPE_CHECKING:
    from postroj.container.leader import Leader

DELETED = " (deleted)"
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
            executable, is_deleted = _executable(pid)
            found.append(
                Process(
                    pid=number,
                    name=comm(pid),
                    group=group,
                    unit=unit_of(group),
                    executable=executable,
                    is_deleted=is_deleted,
                    arguments=parse_arguments(Path(f"/proc/{pid}/cmdline").read_bytes()),
                    started=parse_started(Path(f"/proc/{pid}/stat").read_text(errors="replace")),
                )
            )
    return sorted(found, key=lambda process: process.pid)


def comm(pid: int) -> str:
    """Return the name of a process by its PID on the host, comm(5); '' if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_bytes().decode(errors="replace").strip()
    return ""


def _executable(pid: int) -> tuple[str, bool]:
    """Return the path of a process's program in its guest, and whether the file is deleted.

    The path is that in the mount namespace of the process, as the kernel finds no way from there to
    the root directory of this process. proc_pid_exe(5)
    """
    with suppress(OSError):  # a thread of the kernel, or it has ended
        path = str(Path(f"/proc/{pid}/exe").readlink())
        return path.removesuffix(DELETED), path.endswith(DELETED)
    return "", False


def parse_arguments(raw: bytes) -> tuple[str, ...]:
    """Parse `/proc/PID/cmdline`."""
    text = raw.decode(errors="surrogateescape").rstrip("\0")
    return tuple(text.split("\0")) if text else ()


def parse_started(text: str) -> float:
    """Return when a process was started from `/proc/PID/stat`; its name may contain anything."""
    return int(text.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


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
