"""The users of a guest with private users: which numbers they have on the host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

IDS = 65536
"""Users and groups of a guest."""

FIRST, LAST = 0x00080000, 0x6FFF0000
"""The range in which systemd has the users of containers begin. systemd, docs/UIDS-GIDS.md"""
TAKEN = Path("/run/systemd/nspawn-uid")
"""Folder with a lock file of nspawn for each range in use, named by its first number."""


def base(name: str) -> int:
    """Return the number of the guest's root on the host, from the random digits of its name."""
    return FIRST + int(name.rpartition("-")[2], 16) % ((LAST - FIRST) // IDS) * IDS


def is_taken(first: int) -> bool:
    """Whether a container for which nspawn chose its users itself has those from `first` on."""
    return (TAKEN / str(first)).exists()


def argv(first: int, mounts: Sequence[str]) -> list[str]:
    """Return the command that gives the files of mounts to the users from `first` on.

    It runs in the guest's mount namespace, without this process's site-packages.
    """
    return [sys.executable, "-IS", kernel.__file__, str(first), str(IDS), *mounts]
