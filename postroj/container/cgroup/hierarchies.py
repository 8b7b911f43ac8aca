"""Where this host has mounted the hierarchies of control groups, cgroups(7)."""

from __future__ import annotations

from pathlib import Path

TOP = Path("/sys/fs/cgroup")
"""Where systemd, nspawn and postroj look for hierarchies; others mount more of them elsewhere."""

V2 = ""
"""The hierarchy that all controllers share, as `/proc/PID/cgroup` names it."""
TRACKING = "name=systemd"
"""The hierarchy of cgroup v1 in which systemd tracks processes, the twin of `V2`."""
LIMITING = ("memory", "pids", "cpu")
"""The controllers that limit a guest; each may have a hierarchy of cgroup v1."""


def parse(mounts: str) -> dict[str, Path]:
    """Return the mount points of the hierarchies in which guests have groups.

    `mounts` is the text of `/proc/self/mounts`. The keys are those of `/proc/PID/cgroup`: `V2`,
    `TRACKING`, and the controllers of `LIMITING`.
    """
    found = {}
    for line in mounts.splitlines():
        _, target, kind, options, *_ = line.split(" ")
        if TOP not in (Path(target), Path(target).parent):
            continue
        if kind == "cgroup2":
            found[V2] = Path(target)
        elif kind == "cgroup":
            names = [name for name in (TRACKING, *LIMITING) if name in options.split(",")]
            found |= {name: Path(target) for name in names[:1]}  # one hierarchy may have several
    return found


def mounted() -> dict[str, Path]:
    """Return the hierarchies of this host, as `parse` does."""
    return parse(Path("/proc/self/mounts").read_text())


def offered(root: Path) -> set[str]:
    """Return the controllers that the top group of cgroup v2 can hand down."""
    file = root / "cgroup.controllers"
    return set(file.read_text().split()) if file.is_file() else set()
