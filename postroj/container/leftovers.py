"""What a guest leaves on the host when postroj is killed: a run directory and empty control groups.

The rest of the guest ended with its namespaces. The next command that deals with guests or with
this host sweeps these leftovers. Every process of a guest inherits its locks, so a lock that is
free proves that all of them are dead.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from postroj import locking, paths
from postroj.container import disk, user_namespace
from postroj.container.cgroup import group, scope

log = logging.getLogger(__name__)


def sweep_in_passing() -> None:
    """Remove the leftovers of dead guests without waiting, as far as that is possible."""
    with suppress(OSError):
        sweep(patience=0)


def sweep_disk() -> None:
    """Remove what dead guests have left on disk, for which this process enters a user namespace.

    :raises HostError: if this host does not let this user.
    """
    if disk.leftovers():
        user_namespace.enter()
        disk.sweep()


def sweep(*, only: str = "", patience: float = group.PATIENCE, dry_run: bool = False) -> list[str]:
    """Remove the leftovers of dead guests, or of `only` one; return the names of these.

    Folders on disk are not named after their guests, and are always removed for all of them.
    `patience` is in seconds, for processes that the kernel has not reaped yet. With `dry_run`
    nothing is removed.
    """
    directories = locking.sweep(paths.state_dir(), only=only, dry_run=dry_run)
    groups = group.sweep(only=only, patience=patience, dry_run=dry_run)
    names = sorted(groups.union(directories))
    if not dry_run:
        for name in names:
            scope.forget(name)
            log.debug("removed the leftovers of guest '%s'", name)
    written = disk.leftovers() if dry_run else disk.sweep()
    return [*names, *(f"{disk.folder().name}/{name}" for name in written)]
