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
    """A guest's PID 1, with everything that is needed to enter the guest.

    Once it has ended, its PID may belong to another process. So everything that was read by PID is
    valid only if `pidfd` shows afterwards that the leader still runs.
    """

    pid: int
    pidfd: int
    """Closed once this record is no longer referenced."""
    bounding_set: tuple[int, ...]
    """Numbers of the capabilities in its bounding set, capabilities(7)."""
    joins: tuple[Path, ...]
    """Files to which a PID is written to make a process join the control groups of the guest."""
    has_own_users: bool
    """Whether it has a user namespace of its own."""

    @classmethod
    def of(cls, pid: int, machine: str) -> Self:
        """Read the facts about the leader of the guest named `machine`.

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
        """Require that the leader runs.

        :raises ProcessLookupError: if it has ended.
        """
        if self.has_ended():
            raise ProcessLookupError(self.pid)

    def has_ended(self, patience: float = 0) -> bool:
        """Whether it has ended, or ends within `patience` seconds."""
        return bool(select.select([self.pidfd], [], [], patience)[0])

    def read(self, name: str) -> str:
        """Return the text of a file in its directory of `/proc`.

        :raises OSError: if it has ended.
        """
        return self.read_bytes(name).decode(errors="replace")

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file in its directory of `/proc`.

        :raises OSError: if it has ended.
        """
        content = Path(f"/proc/{self.pid}/{name}").read_bytes()
        self.require()
        return content

    def open(self, name: str, flags: int) -> int:
        """Open a file in its directory of `/proc`; the caller closes the descriptor.

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
        """Whether it has ended, is exiting or has a SIGKILL pending, proc_pid_stat(5).

        When a PID 1 ends, the kernel kills the processes in its namespaces first. So a command in
        the guest can end before the leader does.
        """
        try:
            fields = self.read("stat").rpartition(")")[2].split()
        except OSError:
            return True
        return bool(int(fields[6]) & PF_EXITING or int(fields[28]) & SIGKILL_PENDING)

    def kill(self) -> None:
        """Kill it, and with it all processes in its namespaces."""
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
