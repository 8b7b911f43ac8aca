"""Walk a tree of control groups, however deep a guest has made it.

`os.walk` recurses (before Python 3.12), and passes paths that the kernel refuses when they are
longer than PATH_MAX. A guest can make groups deeper than both.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Node(NamedTuple):
    """A group in a tree."""

    above: int
    """Open directory of the group above it, until the next group is asked for."""
    name: str
    path: str
    """Below the top of the tree: `/system.slice/cron.service`; '' for the top itself."""


def walk(top: Path) -> Iterator[Node]:
    """Yield the groups of a tree, each after all below it; none if there is no such tree.

    One directory is open at a time, as there may be more levels than a process may open files.
    Groups that vanish meanwhile are left out.
    """
    try:
        here = os.open(top.parent, DIRECTORY)
    except OSError:
        return
    waiting, path = [[top.name]], list[str]()
    try:
        while path or waiting[-1]:
            if waiting[-1]:
                name = waiting[-1].pop()
                with suppress(OSError):  # it is gone
                    here = _move(here, name)
                    path.append(name)
                    waiting.append(_names(here))
            else:
                here = _move(here, "..")
                waiting.pop()
                yield Node(here, path[-1], "".join(f"/{name}" for name in path[1:]))
                path.pop()
    finally:
        os.close(here)


def _move(here: int, name: str) -> int:
    """Open a directory beside another one, and close that."""
    there = os.open(name, DIRECTORY, dir_fd=here)
    os.close(here)
    return there


def _names(directory: int) -> list[str]:
    """Return the names of the groups in a directory; none if it has just been removed."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
