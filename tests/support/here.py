"""This process, or another one, in the place of a guest's leader: reads the real `/proc`."""

from __future__ import annotations

import os
from pathlib import Path

from postroj.container.entered import EnteredGuest
from postroj.container.leader import Leader

NAME = "postroj-0a1b2c3d"


class StandIn(Leader):
    """A process that is no guest's, and says that it is PID 1 of one."""

    def read(self, name: str) -> str:
        """Read a file of the process, but have the group of a guest's PID 1."""
        text = super().read(name)
        return f"0::/{NAME}/payload/init.scope\n" if name == "cgroup" else text

    @property
    def numbers(self) -> list[int]:
        """The PIDs of a guest's PID 1."""
        return [*super().numbers[:1], 8, 1]


def leader(*, bounding_set: tuple[int, ...] = (), has_own_users: bool = False) -> Leader:
    """Return a leader for command lines, which nobody enters."""
    found = of()
    found.bounding_set, found.has_own_users = bounding_set, has_own_users
    return found


def guest(pid: int = 0) -> EnteredGuest:
    """Return the guest that would have this process, or another one, as its leader."""
    return EnteredGuest(Path("/nonexistent") / NAME, of(pid))


def of(pid: int = 0) -> Leader:
    """Return this process, or another one, as a leader."""
    return StandIn(pid or os.getpid(), NAME)
