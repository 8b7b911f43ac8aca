"""How much of the host a guest may take, so that what runs in it cannot take all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PROCESSES = 4096
"""Processes and threads; a host often has numbers for 32768."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a guest takes."""

    memory: int
    """Bytes of its processes and of all its files that lie in memory, those of `disk` too."""
    disk: int
    """Bytes that it can write."""
    processes: int = PROCESSES


def share(memory: int, guests: int) -> Limits:
    """Divide a host with so many bytes of memory among guests that run at once.

    Three quarters are theirs, and of these two thirds can be written: half of the host, which is
    what a tmpfs takes by default.
    """
    return Limits(memory=memory * 3 // 4 // guests, disk=_whole(memory // 2 // guests))


def _whole(size: int) -> int:
    """Round down to MiB: a tmpfs rounds up to pages."""
    return size >> 20 << 20


def of_host(guests: int) -> Limits:
    """Return the limits of each of so many guests on this host."""
    return share(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), guests)


def oom_kills() -> int:
    """Return how many processes this host's kernel has killed for want of memory, in any group."""
    found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
