"""A folder on disk in place of a guest's tmpfs, where a tmpfs keeps no attributes of users.

The overlay of a user without root notes in attributes `user.*` what the guest has removed or moved.
A tmpfs has them since Linux 6.6 (tmpfs.rst of the kernel), file systems on disks had them before.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroj import locking, paths, process
from postroj.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = "mnt"
"""Folder of a claim with what the guest sees and writes."""


def is_needed() -> bool:
    """Whether a tmpfs keeps no attributes of users; the kernel has each memfd on one."""
    descriptor = os.memfd_create("postroj")
    try:
        os.setxattr(descriptor, "user.postroj", b"")
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def claim() -> Iterator[locking.Claim]:
    """Yield a claim with an empty folder `FILES`, and remove it after that unless it stays.

    :raises HostError: if the folder for it cannot be used.
    """
    parent = folder()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # a guest can make a program that runs with the rights of this user
        parent.chmod(0o700)
        claimed = locking.Claim.make(parent, "guest")
        (claimed.path / FILES).mkdir()
    except OSError as error:
        message = f"the folder '{parent}', to which guests write, cannot be used"
        raise HostError(message, evidence=str(error)) from None
    try:
        yield claimed
    finally:
        if not claimed.stays:
            _empty(claimed.path)
        claimed.release()


def sweep() -> list[str]:
    """Remove the folders of dead guests, if this process is root of the user namespace.

    Their names are returned.
    """
    if os.geteuid() != 0:
        return []
    return locking.sweep(folder(), lambda name: _empty(folder() / name))


def leftovers() -> list[str]:
    """Return the names of the folders of dead guests."""
    return locking.sweep(folder(), dry_run=True)


def folder() -> Path:
    """Return the folder with the claims of all guests."""
    return paths.cache_dir() / "guests"


def _empty(path: Path) -> None:
    """Remove what a guest has written; its folders may lie deeper than Python can follow."""
    argv = ["rm", "--recursive", "--force", "--one-file-system", "--", str(path / FILES)]
    process.run(argv, ok=range(256))  # what is left of it, the claim removes or names
