"""Leave to a user's own control groups, from which alone a process can join those of guests.

The kernel moves a process only within a tree that belongs to who moves it. The session of a login
is outside of that tree, and the user's own systemd has the tree.
"""

from __future__ import annotations

import os
import time

from postroj import locking, process, user
from postroj.container.cgroup import hierarchies, scope
from postroj.container.cgroup.hierarchies import V2
from postroj.errors import CommandError, HostError

PATIENCE = 5.0
"""Seconds for the user's manager."""
SYSTEMD = "org.freedesktop.systemd1"
HINT = (
    "`ssh` or `machinectl shell` to this user starts the user's own systemd,"
    " which has control groups; `sudo postroj` needs none"
)


def settle() -> None:
    """Move this process to a group from which it can join a guest's; root can from everywhere.

    :raises HostError: if this host has given the user no groups.
    """
    if user.is_root() or _is_settled():
        return
    if not hierarchies.homes() or not scope.is_usable():
        message = "this host has given this user no control groups of version 2"
        raise HostError(message, hint=HINT)
    try:
        process.run(move_argv(os.getpid()), timeout=PATIENCE, env=scope.environment())
    except CommandError as error:
        message = "the user's systemd has given this command no control group"
        raise HostError(message, evidence=error.evidence, hint=HINT) from None
    deadline = time.monotonic() + PATIENCE
    while not _is_settled():
        if time.monotonic() > deadline:
            message = f"the user's systemd has not moved this command within {PATIENCE:g} s"
            raise HostError(message, hint=HINT)
        time.sleep(0.002)  # the kernel does not notify of it


def _is_settled() -> bool:
    home = hierarchies.homes().get(V2)
    if not home:
        return False
    own = hierarchies.own_group()
    return home in (own, *own.parents)


def move_argv(pid: int) -> list[str]:
    """Return the command that has the user's systemd make a scope of a process, busctl(1)."""
    name = f"postroj-{pid}-{locking.random_digits()}.scope"
    properties = ("PIDs", "au", "1", str(pid), "CollectMode", "s", "inactive-or-failed")
    return [
        *("busctl", "--user", "--quiet", f"--timeout={PATIENCE:g}", "call", SYSTEMD),
        *("/org/freedesktop/systemd1", f"{SYSTEMD}.Manager", "StartTransientUnit"),
        *("ssa(sv)a(sa(sv))", name, "fail", "2", *properties, "0"),
    ]
