"""Freeze a guest while its files are read, so that they are consistent."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.container import roster
from postroj.container.cgroup import processes
from postroj.errors import GuestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.container.entered import EnteredGuest

FREEZE = Path(__file__).with_name("freeze.sh")


@dataclass(frozen=True, kw_only=True)
class FrozenFiles:
    """How to read the files of a frozen guest."""

    root: Path
    """Path of the guest's root directory on the host, without the mounts inside the guest.

    Do not follow links below it: the guest controls them.
    """
    prefix: tuple[str, ...]
    """Arguments before a command that freeze the guest while it runs; empty without cgroup v2."""


@contextmanager
def frozen(guest: EnteredGuest) -> Iterator[FrozenFiles]:
    """Yield how to read a guest's files; a frozen guest is thawed afterwards.

    The overlay is read where the launch script has mounted it. The mounts inside the guest are not
    there: /run, /tmp, /proc, /sys, /dev and the bound paths.

    :raises UsageError: if the guest has private users.
    :raises GuestError: if the guest has ended or is ending.
    """
    script = roster.script(guest.name)
    guest.require()
    if not script:
        message = f"the guest '{guest.name}' is ending"
        raise GuestError(message)
    if guest.leader.has_own_users:
        owners = "its private users, which no other guest has"
        message = f"the files of the guest '{guest.name}' belong to {owners}"
        hint = "a guest without `--private-users` can become an image"
        raise UsageError(message, hint=hint)
    freezer = processes.freezer(guest.leader.read("cgroup"))
    prefix = ("sh", str(FREEZE), str(freezer)) if freezer else ()
    try:
        yield FrozenFiles(root=script.path(guest.run_dir / "mnt" / "root"), prefix=prefix)
    finally:
        if freezer:
            processes.thaw(freezer)  # the shell may have been killed
