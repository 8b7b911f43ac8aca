"""A control group for each guest, on cgroup v2 and on the hybrid of v1 and v2.

nspawn with `--keep-unit` makes `payload` and `supervisor` below the group it is started in, so two
guests started from one group would share them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

PATIENCE = 2.0
"""Seconds for the kernel to reap the last processes of a guest that was killed."""


def hierarchies(mounts: str) -> dict[str, Path]:
    """Mount points of the hierarchies in which systemd tracks processes, by `/proc/PID/cgroup` id.

    `mounts` is the text of `/proc/self/mounts`. '' is cgroup v2, 'name=systemd' its v1 twin.
    """
    found = {}
    for line in mounts.splitlines():
        _, target, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            found[""] = Path(target)
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            found["name=systemd"] = Path(target)
    return found


def mounted() -> dict[str, Path]:
    """Return `hierarchies` of this host."""
    return hierarchies(Path("/proc/self/mounts").read_text())


def create(name: str) -> list[Path]:
    """Make the group `name` in each hierarchy; what to write "0" into in order to join it."""
    groups = [root / name for root in mounted().values()]
    for group in groups:
        group.mkdir(exist_ok=True)
    return [group / "cgroup.procs" for group in groups]


def remove(name: str) -> None:
    """Remove the group `name` and the empty groups that a dead guest left below it.

    Groups are directories that only `rmdir(2)` removes, and only when no process is in them: this
    cannot hurt a guest that lives.
    """
    deadline = time.monotonic() + PATIENCE
    for root in mounted().values():
        for folder, _, _ in os.walk(root / name, topdown=False):
            _remove_group(Path(folder), deadline)


def _remove_group(folder: Path, deadline: float) -> None:
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # EBUSY: a zombie is still in it
            if time.monotonic() > deadline:
                return
            time.sleep(0.005)
        else:
            return


def members(cgroup: str, name: str) -> list[Path]:
    """What to write "0" into in order to be where the leader is.

    `cgroup` is the text of `/proc/LEADER/cgroup`; `name` is the guest's group. Hierarchies in which
    the guest has no group of its own are left alone.
    """
    roots = mounted()
    joins = []
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in roots and name in path.split("/"):
            joins.append(roots[controllers] / path.lstrip("/") / "cgroup.procs")
    return joins
