"""Locks that die with their holder, and directories that belong to whoever holds their lock.

All locks are `flock(2)`: the kernel lets go of them when the last process that has the descriptor
ends, however it ends. So a lock that is free proves that its owner is dead.
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
DYING = 5
"""Seconds that a process which was killed may take to be gone."""
DIGITS = r"[0-9a-f]{8}"
"""The random end of a claim's name."""
CLAIM_NAME = re.compile(rf"[a-z-]+-{DIGITS}")


def random_digits() -> str:
    """Return an end for a claim's name."""
    return os.urandom(4).hex()


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file at `path`; call `on_wait` once when somebody else has it."""
    descriptor = _open(path)
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX):
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open a lock file, made if there is none; where another user made it, without writing it."""
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | flags, 0o644)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags, 0o644)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock file at `path` together with others; where there is none, nobody is there."""
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
    """Whether the lock (`fcntl.LOCK_EX` or `LOCK_SH`) could be had at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Claim:
    """A directory of ours for as long as we live: `PARENT/NAME/`, with a held lock inside.

    Leaving the context removes it. After a SIGKILL it stays, its lock free, until `sweep`.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.stays = False
        """Whether it is left to those who have its lock from us."""

    @classmethod
    def make(cls, parent: Path, prefix: str) -> Self:
        """Create `PARENT/PREFIX-XXXXXXXX` (mode 0755) and hold its lock."""
        parent.mkdir(parents=True, exist_ok=True)
        with exclusive(parent / ".lock"):  # no sweep between mkdir and flock
            path = parent / f"{prefix}-{random_digits()}"
            path.mkdir()
            path.chmod(0o755)  # whatever the umask is
            descriptor = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor)

    def release(self) -> None:
        """Remove the directory, unless it stays, then let go of the lock."""
        try:
            if not self.stays:
                with exclusive(self.path.parent / ".lock"):  # no sweep of a half-removed directory
                    _remove(self.path)
        finally:
            os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def sweep(
    parent: Path, before: Callable[[str], None] = lambda name: None, *, dry_run: bool = False
) -> list[str]:
    """Remove every claimed directory below `parent` whose owner is dead; their names.

    `before` is called with each name, for what else the dead owner left. With `dry_run` none is
    removed. Those of another user, which are not ours to remove, are left to that user.
    """
    if not parent.is_dir():
        return []
    removed = []
    with exclusive(parent / ".lock"):  # so none is in the making
        for path in sorted(parent.iterdir()):
            if CLAIM_NAME.fullmatch(path.name) and not path.is_symlink() and _is_dead(path):
                before(path.name)
                if not dry_run:
                    _remove(path)
                removed.append(path.name)
    return removed


def held(parent: Path) -> list[str]:
    """Names of the claimed directories below `parent` whose owners live."""
    with suppress(FileNotFoundError):
        names = sorted(path.name for path in parent.iterdir() if CLAIM_NAME.fullmatch(path.name))
        # shared, so that of two who look at once neither takes the other for the owner
        return [name for name in names if not _is_dead(parent / name, fcntl.LOCK_SH)]
    return []


def _remove(path: Path) -> None:
    """Remove a tree; content of a guest never lands in one, and links are not followed."""
    deadline = time.monotonic() + DYING
    while True:
        try:
            shutil.rmtree(path)
        except OSError as error:
            # A process that was just killed may still be writing below.
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            if not path.exists():
                return
        else:
            return


def _is_dead(claim: Path, kind: int = fcntl.LOCK_EX) -> bool:
    """Whether nobody holds the claim's lock; one that has none was being made or removed."""
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
