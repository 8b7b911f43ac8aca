"""Open paths of a guest from the host, and follow their links only within the guest."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj.container import kernel

if TYPE_CHECKING:
    from postroj.container.leader import Leader


def open_in_guest(leader: Leader, path: str) -> int:
    """Open an absolute path of a guest with `O_PATH`; the caller closes the descriptor.

    :raises OSError: if the path does not exist, or if the guest has ended.
    """
    place = open_path(leader.pid, path)
    try:
        leader.require()
    except ProcessLookupError:
        os.close(place)
        raise
    return place


def open_path(pid: int, path: str) -> int:
    """Open a path with `O_PATH` as process `pid` sees it; the caller closes the descriptor.

    A relative path begins at the process's working directory and cannot lead above it.

    :raises OSError: if the path does not exist, or if the process has ended.
    """
    top = "root" if path.startswith("/") else "cwd"
    root = os.open(f"/proc/{pid}/{top}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return kernel.open_in_root(root, path)
    finally:
        with suppress(OSError):
            os.close(root)
