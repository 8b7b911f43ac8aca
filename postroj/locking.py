"""File locks, and directories that are removed once their owner is dead.

All locks are `flock(2)`: the kernel releases them when the last process with the descriptor ends,
however it ends. A lock that is free proves that its owner is dead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK_NAME = "lock"
DEATH_TIMEOUT = 5
"""Seconds until a killed process is gone at the latest."""
DIGITS = r"[0-9a-f]{8}"
"""The random end of a claim's name."""
CLAIM_NAME = re.compile(rf"[a-z-]+-{DIGITS}")


def random_digits() -> str:
    """Return an end for a claim's name."""
    return os.urandom(4).hex()


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Lock the file at `path` exclusively; call `on_wait` once if another process has the lock."""
    descriptor = _open(path)
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX):
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open a lock file, creating it if necessary; read-only if another user created it."""
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | flags, 0o644)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags, 0o644)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Lock the file at `path` together with other readers; do nothing if it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, kind: int) -> bool:
    """Try to lock at once (`fcntl.LOCK_EX` or `LOCK_SH`) and return whether that succeeded."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Claim:
    """A directory `PARENT/NAME/` that exists as long as its owner lives, with a locked file in it.

    Leaving the context removes the directory. After a SIGKILL it stays, unlocked, until `sweep`.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.stays = False
        """Whether `release` leaves the directory to processes that inherited the lock."""

    @classmethod
    def make(
        cls, parent: Path, prefix: str, is_free: Callable[[str], bool] = lambda name: True
    ) -> Self:
        """Create `PARENT/PREFIX-XXXXXXXX` (mode 0755) and lock it.

        `is_free` refuses names; no other claim is made there between its answer and this one.
        """
        parent.mkdir(parents=True, exist_ok=True)
        with exclusive(parent / ".lock"):  # no sweep between mkdir and flock
            while not is_free(name := f"{prefix}-{random_digits()}"):
                pass
            path = parent / name
            path.mkdir()
            try:
                path.chmod(0o755)  # independent of the umask
                descriptor = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                path.rmdir()
                raise
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor)

    def release(self) -> None:
        """Remove the directory, unless it stays, and close the lock's descriptor."""
        try:
            if not self.stays:
                with exclusive(self.path.parent / ".lock"):  # no sweep meanwhile
                    _remove(self.path)
        finally:
            os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def sweep(
    parent: Path,
    before: Callable[[str], None] = lambda name: None,
    *,
    only: str = "",
    dry_run: bool = False,
) -> list[str]:
    """Remove the directories below `parent` whose owners are dead, and return their names.

    `before` is called with each name, to clean up what else the owner left. With `only`, no other
    directory is looked at. `dry_run` removes nothing. Directories of other users are skipped.
    """
    if not (parent / only).is_dir():
        return []
    removed = []
    with exclusive(parent / ".lock"):  # nobody is creating one meanwhile
        for path in [parent / only] if only else sorted(parent.iterdir()):
            if _is_claim(path) and _is_dead(path):
                before(path.name)
                if not dry_run:
                    _remove(path)
                removed.append(path.name)
    return removed


def _is_claim(path: Path) -> bool:
    return bool(CLAIM_NAME.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()


def live_claims(parent: Path) -> list[str]:
    """Return the names of the directories below `parent` whose owners are alive."""
    with suppress(FileNotFoundError):
        names = sorted(path.name for path in parent.iterdir() if CLAIM_NAME.fullmatch(path.name))
        # A shared lock, so that two processes that try at once do not take each other for the
        # owner.
        return [name for name in names if not _is_dead(parent / name, fcntl.LOCK_SH)]
    return []


def _remove(path: Path) -> None:
    """Remove a tree without following links; it never contains files of a guest."""
    deadline = time.monotonic() + DEATH_TIMEOUT
    while True:
        try:
            shutil.rmtree(path)
        except OSError as error:
            # A process that was just killed may still write into it.
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            if not path.exists():
                return
        else:
            return


def _is_dead(claim: Path, kind: int = fcntl.LOCK_EX) -> bool:
    """Whether the owner of a directory is dead, or is just creating or removing it."""
    try:
        descriptor = os.open(claim / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except PermissionError:
        return False
    try:
        return try_lock(descriptor, kind)
    finally:
        os.close(descriptor)
