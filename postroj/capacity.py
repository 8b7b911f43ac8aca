"""How many guests a host bears at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

GUESTS_PER_CORE = 2
"""A guest mostly waits: for its boot, for the mirror, for a unit to settle."""
GUEST_MEMORY = 1 << 30
"""Bytes of free memory that are reckoned for each; what it may take is in `container.limits`."""


def jobs_for(cores: int, memory: int) -> int:
    """Return how many guests a host bears at once; `memory` is what is free, in bytes."""
    return max(1, min(cores * GUESTS_PER_CORE, memory // GUEST_MEMORY))


def jobs_here() -> int:
    """Return how many guests this host bears: by the cores that we may use, and by free memory."""
    free = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    return jobs_for(len(os.sched_getaffinity(0)), int(free[1]) << 10 if free else 0)
