"""Open paths of a guest from the host, and follow their links only within the guest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from postroj.container import kernel

if TYPE_CHECKING:
    from postroj.container.held import Held


def open_path(process: Held, path: str) -> int:
    """Open a path with `O_PATH` as a process sees it; the caller closes the descriptor.

    A relative path begins at the process's working directory and cannot lead above it.

    :raises OSError: if the path does not exist, or if the process has ended.
    """
    root = process.open("root" if path.startswith("/") else "cwd", os.O_PATH | os.O_DIRECTORY)
    try:
        return kernel.open_in_root(root, path)
    finally:
        os.close(root)
