"""Paths of a guest, opened from the host: every link is followed within the guest, never here."""

from __future__ import annotations

import os
from contextlib import suppress

from postroj.container import kernel


def open_path(pid: int, path: str) -> int:
    """Open a path as process `pid` sees it, as a place only (`O_PATH`); the caller closes it.

    A path that is relative begins at the process's working directory, and stays below it.

    :raises OSError: if there is none, or the process has ended.
    """
    top = "root" if path.startswith("/") else "cwd"
    root = os.open(f"/proc/{pid}/{top}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return kernel.open_in_root(root, path)
    finally:
        with suppress(OSError):
            os.close(root)
