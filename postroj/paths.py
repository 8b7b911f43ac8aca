"""The folders and files of postroj on the host.

Root uses the system's folders, other users their own. `POSTROJ_CACHE_DIR`, `POSTROJ_STATE_DIR`,
`POSTROJ_CATALOG` and `POSTROJ_LOCK` override them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LOCK_NAME = "postroj.lock"
SYSTEM_STATE = Path("/run/postroj")


def cache_dir() -> Path:
    """Return the folder of images and downloads, safe to delete while no guest runs."""
    if override := os.environ.get("POSTROJ_CACHE_DIR"):
        return Path(override).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/postroj")
    from platformdirs import user_cache_path

    return user_cache_path("postroj")


def state_dir() -> Path:
    """Return the folder of run directories, one for each guest and removed with it."""
    if override := os.environ.get("POSTROJ_STATE_DIR"):
        return Path(override).absolute()
    if os.geteuid() == 0:
        return SYSTEM_STATE
    from platformdirs import user_runtime_path

    return user_runtime_path("postroj")


def guests_dir() -> Path:
    """Return the folder of the guests' run directories, which root owns, for any user."""
    return state_dir() if os.environ.get("POSTROJ_STATE_DIR") else SYSTEM_STATE


def config_dir() -> Path:
    """Return the folder of the user's own configuration."""
    if os.geteuid() == 0:
        return Path("/etc/postroj")
    from platformdirs import user_config_path

    return user_config_path("postroj")


def catalog_file() -> Path | None:
    """Return the user's catalog: `POSTROJ_CATALOG`, else `catalog.toml` if it exists."""
    if named := os.environ.get("POSTROJ_CATALOG"):
        return Path(named).absolute()
    usual = config_dir() / "catalog.toml"
    return usual if usual.exists() else None


def disk_usage(folder: Path) -> int:
    """Return the bytes of all files below a folder, without following links."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(parent, name).lstat().st_size
    return size


def is_ours(path: Path) -> bool:
    """Whether a file belongs to root, to us, or to the user who called sudo."""
    ours = {0, os.geteuid()}
    with suppress(KeyError, ValueError):
        ours.add(int(os.environ["SUDO_UID"]))
    return path.lstat().st_uid in ours


def lock_file() -> Path | None:
    """Return the lock file in effect: `POSTROJ_LOCK`, else `postroj.lock` if it exists here.

    An empty `POSTROJ_LOCK` disables lock files.
    """
    if (chosen := os.environ.get("POSTROJ_LOCK")) is not None:
        return Path(chosen).absolute() if chosen else None
    here = Path(LOCK_NAME)
    return here.absolute() if here.exists() else None
