"""How much memory this process and its guests may take: this host's, or less in a control group.

A container or a service may have been given less than the host has, and nothing but its control
groups tells so.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.cgroup import hierarchies

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = {hierarchies.V2: "memory.max", "memory": "memory.limit_in_bytes"}
"""The file with a group's limit, by the hierarchy in which groups have it."""


def available() -> int:
    """Return the bytes of memory of this host, or of the smallest of our control groups."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([pages, *_limits(Path("/proc/self/cgroup").read_text())])


def _limits(cgroup: str) -> Iterator[int]:
    """Yield the limits of the groups in `/proc/self/cgroup` and of all groups above them."""
    roots = hierarchies.mounted()
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for kind in LIMITS.keys() & roots.keys() & {*controllers.split(",")}:
            for folder in _upwards(roots[kind], path):
                with suppress(OSError, ValueError):  # the root group has no limit; or it is "max"
                    yield int((folder / LIMITS[kind]).read_text())


def _upwards(root: Path, path: str) -> list[Path]:
    """Return a group and all groups above it up to the mount point.

    In a container the mount may show less of the hierarchy than `path` names. Then the mount point
    is the container's group.
    """
    group = root if ".." in path.split("/") else root / path.lstrip("/")
    return [group, *(above for above in group.parents if above.is_relative_to(root))]
