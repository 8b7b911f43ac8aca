"""A guest's PID 1, seen from the host."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container.cgroup.processes import is_of, joins
from postroj.container.held import Held

if TYPE_CHECKING:
    from collections.abc import Sequence

PF_EXITING = 0x4
"""Flag of a process that the kernel is about to end, its include/linux/sched.h."""
SIGKILL_PENDING = 1 << (signal.SIGKILL - 1)


class Leader(Held):
    """A guest's PID 1, with everything that is needed to enter the guest."""

    def __init__(self, pid: int, machine: str) -> None:
        """Hold the leader of the guest named `machine`, and read the facts about it.

        :raises OSError: if it has ended, or the process with this PID is not PID 1 of the guest.
        """
        super().__init__(pid)
        cgroup = self.read("cgroup")
        if not is_of(cgroup, machine) or self.numbers[1:][-1:] != [1]:
            raise ProcessLookupError(pid)
        self.machine = machine
        self.bounding_set = tuple(bounding_set(self.read("status")))
        """Numbers of the capabilities in its bounding set, capabilities(7)."""
        self.joins = tuple(joins(cgroup, machine))
        """Files to which a PID is written to make a process join the guest's control groups."""
        users = os.stat("ns/user", dir_fd=self.folder)
        self.has_own_users = users.st_ino != Path("/proc/self/ns/user").stat().st_ino
        """Whether it has a user namespace of its own."""

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


def bounding_set(status: str) -> Sequence[int]:
    """Read `CapBnd` of a `/proc/PID/status`: numbers of capabilities, capabilities(7)."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapBnd":
            mask = int(value, 16)
            return [number for number in range(mask.bit_length()) if mask >> number & 1]
    return []
