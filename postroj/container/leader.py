"""A guest's PID 1, seen from the host."""

from __future__ import annotations

import os
import select
import signal
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from postroj.container.cgroup.processes import joins

if TYPE_CHECKING:
    from collections.abc import Sequence

PF_EXITING = 0x4
"""Flag of a process that the kernel is about to end, its include/linux/sched.h."""
SIGKILL_PENDING = 1 << (signal.SIGKILL - 1)


@dataclass(frozen=True, kw_only=True)
class Leader:
    """A guest's PID 1, and what commands that enter the guest need to know of it.

    Its number may be another process's once it has ended. So `pidfd` is asked after everything that
    was read by number: while that process lives, the number was its own.
    """

    pid: int
    pidfd: int
    """Closed when nobody refers to this record any more."""
    bounding_set: tuple[int, ...]
    """Numbers of the capabilities that it may ever have, capabilities(7)."""
    joins: tuple[Path, ...]
    """Write "0" into these to join the control groups of the guest."""
    has_own_users: bool
    """Whether its user namespace is not ours."""

    @classmethod
    def of(cls, pid: int, machine: str) -> Self:
        """Read what there is to know of the leader of the guest named `machine`.

        :raises OSError: if it has ended.
        """
        pidfd = os.pidfd_open(pid)
        try:
            users = (Path(f"/proc/{one}/ns/user").stat().st_ino for one in (pid, "self"))
            leader = cls(
                pid=pid,
                pidfd=pidfd,
                bounding_set=tuple(bounding_set(_read(pid, "status"))),
                joins=tuple(joins(_read(pid, "cgroup"), machine)),
                has_own_users=len({*users}) > 1,
            )
            leader.require()
        except BaseException:
            os.close(pidfd)
            raise
        weakref.finalize(leader, os.close, pidfd)
        return leader

    def require(self) -> None:
        """Raise if it has ended.

        :raises ProcessLookupError: then.
        """
        if self.has_ended():
            raise ProcessLookupError(self.pid)

    def has_ended(self, patience: float = 0) -> bool:
        """Whether it has ended, or will have within `patience` seconds."""
        return bool(select.select([self.pidfd], [], [], patience)[0])

    def read(self, name: str) -> str:
        """Return the text of a file of its in `/proc`.

        :raises OSError: if it has ended.
        """
        return self.read_bytes(name).decode(errors="replace")

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file of its in `/proc`.

        :raises OSError: if it has ended.
        """
        content = Path(f"/proc/{self.pid}/{name}").read_bytes()
        self.require()
        return content

    def open(self, name: str, flags: int) -> int:
        """Open a file of its in `/proc`; the caller closes the descriptor.

        :raises OSError: if it has ended.
        """
        descriptor = os.open(f"/proc/{self.pid}/{name}", flags | os.O_CLOEXEC)
        try:
            self.require()
        except ProcessLookupError:
            os.close(descriptor)
            raise
        return descriptor

    @property
    def comm(self) -> str:
        """Name of its program, comm(5); '' if it has ended."""
        with suppress(OSError):
            return self.read("comm").rstrip("\n")
        return ""

    @property
    def is_doomed(self) -> bool:
        """Whether it has ended, or was killed or exits, and so will have, proc_pid_stat(5).

        The kernel takes the namespaces from a PID 1, and kills what is in them, before others can
        see that it has ended.
        """
        try:
            fields = self.read("stat").rpartition(")")[2].split()
        except OSError:
            return True
        return bool(int(fields[6]) & PF_EXITING or int(fields[28]) & SIGKILL_PENDING)

    def kill(self) -> None:
        """Kill it, and with it all that is in its namespaces."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


def bounding_set(status: str) -> Sequence[int]:
    """Read `CapBnd` of a `/proc/PID/status`: numbers of capabilities, capabilities(7)."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapBnd":
            mask = int(value, 16)
            return [number for number in range(mask.bit_length()) if mask >> number & 1]
    return []


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
