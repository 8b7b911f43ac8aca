"""Who runs postroj: root of the host, or a user who becomes root of namespaces of their own.

In these namespaces the numbers of users change, so who it was is read before.
"""

from __future__ import annotations

import os
from pathlib import Path

UID, GID = os.geteuid(), os.getegid()
"""Of the user who runs postroj, as the host numbers users and groups."""


def runtime_dir() -> Path:
    """Return the folder for what lives as long as the user is logged in; it may not exist."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{UID}")


def is_root() -> bool:
    """Whether root of the host runs postroj."""
    return UID == 0
