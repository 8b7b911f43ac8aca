"""Where this host has mounted the hierarchies of control groups, cgroups(7)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

TOP = Path("/sys/fs/cgroup")
"""Where systemd, nspawn and postroj look for hierarchies; others mount more of them elsewhere."""

V2 = ""
"""The hierarchy that all controllers share, as `/proc/PID/cgroup` names it."""
TRACKING = "name=systemd"
"""The hierarchy of cgroup v1 in which systemd tracks processes, the twin of `V2`."""
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


def offered(root: Path) -> set[str]:
    """Return the controllers that the top group of cgroup v2 can hand down."""
    file = root / "cgroup.controllers"
    return set(file.read_text().split()) if file.is_file() else set()
