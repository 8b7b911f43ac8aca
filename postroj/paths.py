"""Where postroj keeps things: one door to the folders of the host.

Root uses the system's folders, everybody else their own; `POSTROJ_CACHE_DIR` and
`POSTROJ_STATE_DIR` override both, `POSTROJ_CATALOG` names a file.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LOCK_NAME = "postroj.lock"
SYSTEM_STATE = Path("/run/postroj")


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
        return SYSTEM_STATE
    from platformdirs import user_runtime_path

    return user_runtime_path("postroj")


def guests_dir() -> Path:
    """Run directories of guests, which are root's, whoever asks."""
    return state_dir() if os.environ.get("POSTROJ_STATE_DIR") else SYSTEM_STATE


def config_dir() -> Path:
    """What the user has written, and nobody else changes."""
    if os.geteuid() == 0:
        return Path("/etc/postroj")
    from platformdirs import user_config_path

    return user_config_path("postroj")


def catalog_file() -> Path | None:
    """Return the user's own catalog: the one that was named, or the usual one if it is there."""
    if named := os.environ.get("POSTROJ_CATALOG"):
        return Path(named).absolute()
    usual = config_dir() / "catalog.toml"
    return usual if usual.exists() else None


def disk_usage(folder: Path) -> int:
    """Return the bytes of all files below a folder that others may change; links count as such."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(parent, name).lstat().st_size
    return size


def lock_file() -> Path | None:
    """Return the lock file that holds: `POSTROJ_LOCK`, else `postroj.lock` here if there is one.

    An empty `POSTROJ_LOCK` stands for none.
    """
    if (chosen := os.environ.get("POSTROJ_LOCK")) is not None:
        return Path(chosen).absolute() if chosen else None
    here = Path(LOCK_NAME)
    return here.absolute() if here.exists() else None
