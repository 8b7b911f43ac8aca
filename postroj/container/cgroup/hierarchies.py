"""Where this host has mounted the hierarchies of control groups, cgroups(7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from postroj import user

TOP = Path("/sys/fs/cgroup")
"""Where systemd, nspawn and postroj look for hierarchies; others mount more of them elsewhere."""

V2 = ""
"""The hierarchy that all controllers share, as `/proc/PID/cgroup` names it."""
TRACKING = "name=systemd"
"""The hierarchy of cgroup v1 in which systemd tracks processes, the twin of `V2`."""
MANAGED = "user.slice/user-{0}.slice/user@{0}.service"
"""The group that systemd gives to the systemd of a user by number, user@.service(5)."""
LIMITING = ("memory", "pids", "cpu")
"""The controllers that limit a guest; each may have a hierarchy of cgroup v1."""


class Mount(NamedTuple):
    """A hierarchy, or a part of it, where it is mounted."""

    point: Path
    top: str
    """The group that is seen there, as `/proc/PID/cgroup` names it."""


def parse(mounts: str) -> dict[str, Mount]:
    """Return the hierarchies in which guests have groups.

    `mounts` is the text of `/proc/self/mountinfo`. The keys are those of `/proc/PID/cgroup`: `V2`,
    `TRACKING`, and the controllers of `LIMITING`. A hierarchy may also be bound below itself.
    """
    found: dict[str, Mount] = {}
    for line in mounts.splitlines():
        before, after = line.split(" - ", 1)
        top, target = before.split(" ")[3:5]
        kind, _, options = after.split(" ", 2)
        mount = Mount(Path(target), top)
        if mount.point == TOP:
            found.clear()  # what was mounted there and below is hidden
        elif mount.point.parent != TOP:
            continue
        names = [V2] if kind == "cgroup2" else []
        if kind == "cgroup":  # one hierarchy may have several controllers
            names = [name for name in (TRACKING, *LIMITING) if name in options.split(",")][:1]
        for name in names:
            if mount.point == found.setdefault(name, mount).point:
                found[name] = mount
    return found


def mounts() -> dict[str, Mount]:
    """Return the hierarchies of this host, as `parse` does."""
    return parse(Path("/proc/self/mountinfo").read_text())


def mounted() -> dict[str, Path]:
    """Return where the hierarchies of this host are mounted, by the keys of `parse`."""
    return {name: mount.point for name, mount in mounts().items()}


def place(mount: Mount, path: str) -> Path:
    """Return the folder of a group, whose path is as in `/proc/PID/cgroup`."""
    inner = f"{path}/".removeprefix(f"{mount.top.rstrip('/')}/")
    return mount.point / inner.strip("/")


def homes() -> dict[str, Path]:
    """Return the groups in which those of guests are made, one in each hierarchy that has guests.

    They are the top groups for root. Others have the group of their own systemd, else the highest
    one above this process that belongs to them; none if this host has given them none.
    """
    roots = mounted()
    if user.is_root() or V2 not in roots:
        return roots if user.is_root() else {}
    own = own_group()
    above = [group for group in reversed(own.parents) if group.is_relative_to(roots[V2])]
    candidates = (roots[V2] / MANAGED.format(user.UID), *above, own)
    home = next(filter(_is_ours, candidates), None)
    return {V2: home} if home else {}


def own_group() -> Path:
    """Return the group of cgroup v2 in which this process is."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    return place(mounts()[V2], path)


def _is_ours(group: Path) -> bool:
    """Whether we may make groups in a group, and move processes there."""
    return all(os.access(path, os.W_OK) for path in (group, group / "cgroup.procs"))


def offered(root: Path) -> set[str]:
    """Return the controllers that the top group of cgroup v2 can hand down."""
    file = root / "cgroup.controllers"
    return set(file.read_text().split()) if file.is_file() else set()
