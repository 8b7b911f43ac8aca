"""Limits of the resources that a guest may take of the host."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from postroj.container.cgroup import memory
from postroj.errors import UsageError

PROCESSES = 4096
"""Processes and threads; many hosts have PIDs up to 32768."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a guest."""

    memory: int
    """Bytes of its processes and of its files in memory and swap, including those of `disk`."""
    disk: int
    """Bytes of files that it can write."""
    processes: int = PROCESSES
    cpus: float | None = None
    """Number of processors; None is no limit."""
    asked: tuple[str, ...] = ()
    """The controllers of limits that the user asked for, without which the guest is refused."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Limits that the user asked for; None leaves the guest its share of the host."""

    memory: int | None = None
    """Bytes."""
    cpus: float | None = None
    processes: int | None = None

    def instead_of(self, limits: Limits) -> Limits:
        """Return limits with these in their place; two thirds of the memory can be written."""
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
    """Read a size in bytes, as 512M or 1.5G; K, M and G are powers of 1024.

    :raises UsageError: if the text is not a size, or less than a MiB.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)(?:I?B)?", text.upper())
    number = int(float(found[1]) * 1024 ** " KMG".index(found[2] or " ")) if found else 0
    if number < 1 << 20:
        message = f"'{text}' is not a size of at least 1 MiB"
        raise UsageError(message, hint="write `512M` or `2G`, for example")
    return number


def share(total: int, guests: int) -> Limits:
    """Divide `total` bytes of memory among guests that run at the same time.

    Guests get three quarters, of which two thirds can be written: half of the host's memory, as a
    tmpfs takes by default.
    """
    return Limits(memory=total * 3 // 4 // guests, disk=_whole(total // 2 // guests))


def _whole(size: int) -> int:
    """Round down to MiB, since a tmpfs rounds up to pages."""
    return size >> 20 << 20


def of_host(guests: int) -> Limits:
    """Return the limits of each of `guests` guests on this host."""
    return share(memory.available(), guests)


def oom_kills() -> int:
    """Return the number of processes that this host's kernel has killed for lack of memory."""
    found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
