"""A guest that stands still while its files are read, so that they are of one moment."""

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
class Still:
    """How a guest's files are read."""

    root: Path
    """Its root directory, by a path of the host; the guest's own mounts are not on it.

    Links below it must not be followed: they are the guest's.
    """
    prefix: tuple[str, ...]
    """Words before a command that freeze the guest while it runs; none where that cannot be."""


@contextmanager
def still(guest: EnteredGuest) -> Iterator[Still]:
    """Give a way to read a guest's files; a guest that was frozen goes on afterwards.

    The overlay is read where the launch script mounted it: none of the guest's own mounts, which
    are /run, /tmp, /proc, /sys, /dev and what was bound, are there.

    :raises UsageError: if its users are not those of the host.
    :raises GuestError: if it ends.
    """
    with roster.opened(guest.name, roster.script) as (script, _):
        guest.require()
        if not script:
            message = f"the guest '{guest.name}' is ending"
            raise GuestError(message)
        if guest.leader.has_own_users:
            message = f"the files of the guest '{guest.name}' have owners whom no other guest has"
            hint = "a guest without `--private-users` can become an image"
            raise UsageError(message, hint=hint)
        freezer = processes.freezer(guest.name)
        prefix = ("sh", str(FREEZE), str(freezer)) if freezer else ()
        try:
            yield Still(root=Path(f"/proc/{script}/root{guest.run_dir}/mnt/root"), prefix=prefix)
        finally:
            if freezer:
                processes.thaw(freezer)  # the shell may have been killed
