"""How much of the host a guest may take, so that what runs in it cannot take all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from postroj.errors import UsageError

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
    cpus: float | None = None
    """Processors' worth of time; None is no limit."""
    asked: tuple[str, ...] = ()
    """Controllers of what was asked for, without which there is no guest."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for in place of a share of this host; None where nothing was."""

    memory: int | None = None
    """Bytes."""
    cpus: float | None = None
    processes: int | None = None

    def instead_of(self, limits: Limits) -> Limits:
        """Return limits with these in their place; of memory two thirds can be written."""
        wanted = {"memory": self.memory, "cpu": self.cpus, "pids": self.processes}
        return replace(
            limits,
            memory=self.memory or limits.memory,
            disk=_whole(self.memory * 2 // 3) if self.memory else limits.disk,
            processes=self.processes or limits.processes,
            cpus=self.cpus,
            asked=tuple(name for name, value in wanted.items() if value is not None),
        )


NOTHING = Asked()


def size(text: str) -> int:
    """Read a size, as 512M or 1.5G: bytes, with K, M or G as powers of 1024.

    :raises UsageError: if it is none, or less than a MiB.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)(?:I?B)?", text.upper())
    number = int(float(found[1]) * 1024 ** " KMG".index(found[2] or " ")) if found else 0
    if number < 1 << 20:
        message = f"'{text}' is no size of a MiB or more"
        raise UsageError(message, hint="as `512M` or `2G`")
    return number


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
