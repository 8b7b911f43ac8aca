"""How many guests a host can run at the same time."""

from __future__ import annotations

import os
import re
from pathlib import Path

from postroj.container.cgroup import memory

GUESTS_PER_CORE = 2
"""Guests per core; they mostly wait for the boot, the mirror or a unit to settle."""
GUEST_MEMORY = 1 << 30
"""Free memory needed for each guest, in bytes; `container.limits` sets its limit."""

GUEST_INOTIFY = 8
"""inotify instances of root that a guest uses, counted on Debian: systemd, D-Bus, logind, pasta."""
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")


def jobs_for(cores: int, memory: int, instances: int) -> int:
    """Return how many guests a host can run at the same time, at least 1.

    `memory` is free memory in bytes, `instances` is root's limit of inotify instances.
    """
    bounds = (cores * GUESTS_PER_CORE, memory // GUEST_MEMORY, instances // GUEST_INOTIFY)
    return max(1, min(bounds))


def jobs_here() -> int:
    """Return how many guests this host can run, by our cores, free memory and inotify limit."""
    free = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    bytes_free = min(int(free[1]) << 10 if free else 0, memory.available())
    return jobs_for(len(os.sched_getaffinity(0)), bytes_free, int(INOTIFY.read_text()))
