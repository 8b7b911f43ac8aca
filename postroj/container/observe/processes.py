"""List the processes of a guest and their units, from the host's control groups."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj.container.cgroup.processes import beside, hold
from postroj.container.guest import Process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from postroj.container.held import Held
    from postroj.container.leader import Leader

DELETED = " (deleted)"
UNIT = re.compile(r"_?(?P<name>[^/]+\.(?:service|socket|scope|mount|automount|swap))")
"""Name of a unit's control group; systemd puts `_` before a name that looks like a controller's."""


def members(leader: Leader) -> Iterator[tuple[Held, str]]:
    """Yield the processes of a guest that has not ended, each with its control group there."""
    groups: dict[int, str] = {}
    with suppress(OSError):  # the guest has ended
        groups = beside(leader.read("cgroup"))
    for pid, group in groups.items():
        try:
            held = hold(pid, leader.machine)
        except OSError:  # it has ended
            continue
        yield held, group


def processes(members: Iterable[tuple[Held, str]]) -> list[Process]:
    """Return processes of a guest, init first; those that end meanwhile are left out.

    `members` are the processes, each with its control group.
    """
    found = []
    for held, group in members:
        with suppress(OSError, IndexError):
            executable, is_deleted = _executable(held)
            found.append(
                Process(
                    pid=held.numbers[-1],
                    name=held.comm,
                    group=group,
                    unit=unit_of(group),
                    executable=executable,
                    is_deleted=is_deleted,
                    arguments=parse_arguments(held.read_bytes("cmdline")),
                    started=parse_started(held.read("stat")),
                )
            )
    return sorted(found, key=lambda process: process.pid)


def _executable(held: Held) -> tuple[str, bool]:
    """Return the path of a process's program in its guest, and whether the file is deleted.

    The path is that in the mount namespace of the process, as the kernel finds no way from there to
    the root directory of this process. proc_pid_exe(5)
    """
    with suppress(OSError):  # a thread of the kernel, or it has ended
        path = os.readlink("exe", dir_fd=held.folder)
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
