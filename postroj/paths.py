"""Where postroj keeps things: one door to the folders of the host.

Root uses the system's folders, everybody else their own; `POSTROJ_CACHE_DIR` and
`POSTROJ_STATE_DIR` override both.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Images and what may be fetched again; safe to delete when no guest runs."""
    if override := os.environ.get("POSTROJ_CACHE_DIR"):
        return Path(override).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/postroj")
    from platformdirs import user_cache_path

    return user_cache_path("postroj")


def state_dir() -> Path:
    """Run directories: one a guest, gone with it."""
    if override := os.environ.get("POSTROJ_STATE_DIR"):
        return Path(override).absolute()
    if os.geteuid() == 0:
        return Path("/run/postroj")
    from platformdirs import user_runtime_path

    return user_runtime_path("postroj")
