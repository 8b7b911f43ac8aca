"""This process, or another one, in the place of a guest's leader: reads the real `/proc`."""

from __future__ import annotations

import os
from pathlib import Path

from postroj.container.entered import EnteredGuest
from postroj.container.leader import Leader


def leader(
    pid: int = 0,
    *,
    bounding_set: tuple[int, ...] = (),
    joins: tuple[Path, ...] = (),
    has_own_users: bool = False,
) -> Leader:
    """Return a leader for command lines, which nobody enters."""
    return Leader(
        pid=pid,
        pidfd=-1,
        bounding_set=bounding_set,
        joins=joins,
        has_own_users=has_own_users,
    )


def guest(pid: int = 0) -> EnteredGuest:
    """Return the guest that would have this process, or another one, as its leader."""
    return EnteredGuest(Path("/nonexistent/postroj-0a1b2c3d"), of(pid))


def of(pid: int = 0) -> Leader:
    """Return this process, or another one, as a leader."""
    return Leader.of(pid or os.getpid(), "postroj-0a1b2c3d")
