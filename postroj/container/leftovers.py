"""What a guest leaves on the host when postroj is killed: a run directory and empty control groups.

The rest of the guest ended with its namespaces. The next command sweeps these leftovers. Every
process of a guest inherits its locks, so a lock that is free proves that all of them are dead.
"""

from __future__ import annotations

import logging

from postroj import locking, paths
from postroj.container.cgroup import group, scope

log = logging.getLogger(__name__)


def sweep(*, dry_run: bool = False) -> list[str]:
    """Remove the leftovers of dead guests; return their names. With `dry_run` remove none."""
    directories = locking.sweep(paths.state_dir(), dry_run=dry_run)
    names = sorted(group.sweep(dry_run=dry_run).union(directories))
    if not dry_run:
        for name in names:
            scope.forget(name)
            log.debug("removed the leftovers of guest '%s'", name)
    return names
