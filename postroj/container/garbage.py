"""What a guest leaves when postroj is killed: a run directory and empty control groups.

Everything else went with the guest's namespaces. The next command removes the rest, and only of
guests whose lock is free: it is inherited by all processes of a guest, so these are dead too.
"""

from __future__ import annotations

import logging

from postroj import locking, paths
from postroj.container import cgroup

log = logging.getLogger(__name__)


def sweep() -> None:
    """Remove what dead guests left on this host."""
    for name in locking.sweep(paths.state_dir(), before=cgroup.remove):
        log.debug("removed what was left of guest '%s'", name)
