"""The folders and files of postroj on the host.

Root uses the system's folders, other users their own. `POSTROJ_CACHE_DIR`, `POSTROJ_STATE_DIR`,
`POSTROJ_CATALOG` and `POSTROJ_LOCK` override them.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

from postroj import away, user

LOCK_NAME = "postroj.lock"
SYSTEM_STATE = Path("/run/postroj")
SQUASHFUSE = Path(__file__).with_name("squashfuse.sh")
"""Script that mounts a squashfs in a user namespace."""

REMEMBERED: dict[Path, bool] = {}
"""Whether files are ours, if that was found out before a user namespace hides it."""


def cache_dir() -> Path:
    """Return the folder of images and downloads, safe to delete while no guest runs."""
    if override := os.environ.get("POSTROJ_CACHE_DIR"):
        return Path(override).absolute()
    if user.is_root():
        return Path("/var/cache/postroj")
    return _users_cache()


@cache
def _users_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("postroj")


def state_dir() -> Path:
    """Return the folder of run directories, one for each guest and removed with it."""
    if override := os.environ.get("POSTROJ_STATE_DIR"):
        return Path(override).absolute()
    if user.is_root():
        return SYSTEM_STATE
    return _users_state()


@cache
def _users_state() -> Path:
    """Return a user's state folder, if possible where it ends with the user's last session."""
    folder = user.runtime_dir()
    try:
        status = folder.lstat()
    except OSError:
        return cache_dir() / "run"
    is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
    return (folder if is_private and status.st_uid == user.UID else cache_dir()) / "postroj"


def remember() -> None:
    """Find out where our folders are and what is ours, which a user namespace hides."""
    for folder in (state_dir, cache_dir, config_dir):
        folder()
    if lock := lock_file():
        with suppress(OSError):
            REMEMBERED[lock] = is_ours(lock)


def config_dir() -> Path:
    """Return the folder of the user's own configuration."""
    if user.is_root():
        return Path("/etc/postroj")
    from platformdirs import user_config_path

    return user_config_path("postroj")


def catalog_file() -> Path | None:
    """Return the user's catalog: `POSTROJ_CATALOG`, else `catalog.toml` if it exists."""
    if named := os.environ.get("POSTROJ_CATALOG"):
        return Path(away.here(named)).absolute()
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
    if path in REMEMBERED:
        return REMEMBERED[path]
    ours = {0, os.geteuid()}
    if user.is_root():
        with suppress(KeyError, ValueError):
            ours.add(int(os.environ["SUDO_UID"]))
    return path.lstat().st_uid in ours


def lock_file() -> Path | None:
    """Return the lock file in effect: `POSTROJ_LOCK`, else `postroj.lock` if it exists here.

    An empty `POSTROJ_LOCK` disables lock files.
    """
    if (chosen := os.environ.get("POSTROJ_LOCK")) is not None:
        return Path(away.here(chosen)).absolute() if chosen else None
    here = Path(LOCK_NAME)
    return here.absolute() if here.exists() else None
