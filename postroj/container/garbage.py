"""What a guest leaves when postroj is killed: a run directory and empty control groups.

Everything else went with the guest's namespaces. The next command removes the rest, and only of
guests whose locks are free: they are inherited by all processes of a guest, so these are dead too.
"""

from __future__ import annotations

import logging

from postroj import locking, paths
from postroj.container.cgroup import group, scope

log = logging.getLogger(__name__)


def sweep(*, dry_run: bool = False) -> list[str]:
    """Remove what dead guests left on this host; their names. With `dry_run` none is removed."""
    directories = locking.sweep(paths.state_dir(), dry_run=dry_run)
    names = sorted(group.sweep(dry_run=dry_run).union(directories))
    if not dry_run:
        for name in names:
            scope.forget(name)
            log.debug("removed what was left of guest '%s'", name)
    return names
