"""Which processes are in a guest's control groups, and in which group each of them is."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj.container.cgroup import hierarchies, tree
from postroj.container.cgroup.group import folders
from postroj.container.held import Held

if TYPE_CHECKING:
    from pathlib import Path

PAYLOAD = "/payload"
"""The group that nspawn makes for the guest, beside `supervisor` for itself."""


def is_in_payload(place: str) -> bool:
    """Whether a group below a guest's own is the guest's part, as `/1/payload/init.scope` is."""
    return f"{PAYLOAD}/" in f"{place}/"


def is_of(cgroup: str, name: str) -> bool:
    """Whether a process is in a group of the guest `name`, by its `/proc/PID/cgroup`."""
    return any(_is_within(line.split(":", 2)[2], name) for line in cgroup.splitlines())


def _is_within(path: str, name: str) -> bool:
    return not {name, f"{name}.scope"}.isdisjoint(path.split("/"))


def hold(pid: int, name: str) -> Held:
    """Hold a process of the guest `name` by its PID on the host, as its groups list it.

    :raises OSError: if it has ended, or its PID belongs to a process outside by now.
    """
    found = Held(pid)
    if not is_of(found.read("cgroup"), name):
        raise ProcessLookupError(pid)
    return found


def joins(cgroup: str, name: str) -> list[Path]:
    """Return the files into which a PID is written to make a process join the leader's groups.

    `cgroup` is the text of `/proc/LEADER/cgroup`, `name` is the guest's. Hierarchies in which the
    guest has no group of its own are left out.
    """
    mounts = hierarchies.mounts()
    found = []
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        kind = next((one for one in controllers.split(",") if one in mounts), None)
        if kind is not None and _is_within(path, name):
            found.append(hierarchies.place(mounts[kind], path) / "cgroup.procs")
    return found


def beside(cgroup: str) -> dict[int, str]:
    """Return the processes of a guest by the host's PID, each with its group within the guest.

    `cgroup` is the text of `/proc/LEADER/cgroup`. A group is `/system.slice/redis.service`, for
    example: the path below `PAYLOAD`. A guest without nspawn has none.
    """
    found: dict[int, str] = {}
    for payload in _payloads(cgroup):
        _gather(payload, found)
    return found


def _payloads(cgroup: str) -> list[Path]:
    """Return the groups that nspawn has made for a leader, whose `/proc/LEADER/cgroup` is given."""
    mounts = hierarchies.mounts()
    found = []
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        above, payload, _ = path.partition(PAYLOAD)
        if controllers in mounts and payload:
            found.append(hierarchies.place(mounts[controllers], f"{above}{payload}"))
    return found


def population(name: str) -> dict[int, str]:
    """Return all processes in a guest's groups, nspawn and pasta too, each with its group.

    A group is the path below the guest's own.
    """
    found: dict[int, str] = {}
    for top in folders(name):
        _gather(top, found)
    return found


def _gather(top: Path, found: dict[int, str]) -> None:
    """Add the processes of a group and of the groups below it."""
    for node in tree.walk(top):
        for pid in _pids(node):
            # a guest that uses cgroup v2 does not divide its groups of v1
            found[pid] = max(node.path, found.get(pid, ""), key=len)


def _pids(node: tree.Node) -> list[int]:
    try:
        procs = os.open(f"{node.name}/cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=node.above)
        with os.fdopen(procs) as lines:
            return [int(line) for line in lines]
    except OSError:  # the group is gone, or is threaded: then its parent lists the processes
        return []


def freezer(cgroup: str) -> Path | None:
    """Return the group that freezes all that runs in a guest; None without cgroup v2.

    `cgroup` is the text of `/proc/LEADER/cgroup`.
    """
    return next((one for one in _payloads(cgroup) if (one / "cgroup.freeze").exists()), None)


def thaw(group: Path) -> None:
    """Resume the processes of a frozen group."""
    with suppress(OSError):  # the guest has ended
        (group / "cgroup.freeze").write_text("0")
