"""How many guests a host bears at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

GUESTS_PER_CORE = 2
"""A guest mostly waits: for its boot, for the mirror, for a unit to settle."""
GUEST_MEMORY = 1 << 30
"""Bytes of free memory that are reckoned for each; what it may take is in `container.limits`."""

GUEST_INOTIFY = 8
"""inotify instances of root that a guest takes, counted where Debian boots: of its systemd, D-Bus
and logind, and of pasta."""
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")


def jobs_for(cores: int, memory: int, instances: int) -> int:
    """Return how many guests a host bears at once.

    `memory` is what is free, in bytes; `instances` are those of inotify that root may have.
    """
    bounds = (cores * GUESTS_PER_CORE, memory // GUEST_MEMORY, instances // GUEST_INOTIFY)
    return max(1, min(bounds))


def jobs_here() -> int:
    """Return how many guests this host bears: by the cores that we may use, by what is free."""
    free = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    memory = int(free[1]) << 10 if free else 0
    return jobs_for(len(os.sched_getaffinity(0)), memory, int(INOTIFY.read_text()))
