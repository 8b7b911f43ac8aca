"""`postroj cp`: copy files between a guest and the host."""

from __future__ import annotations

import click

from postroj import away, user
from postroj.cli import host_paths
from postroj.cli.completion import complete_place
from postroj.errors import UsageError


@click.command()
@click.argument("source", type=host_paths.COPIED, shell_complete=complete_place)
@click.argument("target", type=host_paths.COPY, shell_complete=complete_place)
def cp(source: str, target: str) -> None:
    """Copy a file or folder from SOURCE to TARGET, one of which is GUEST:PATH.

    If TARGET is an existing folder, SOURCE is copied into it; otherwise TARGET is the new name.
    `FOLDER/.` copies only the contents of a folder. Numeric owners, modes, times and links are
    preserved. Instead of a path on the host, - reads a tar from stdin or writes one to stdout.
    """
    from postroj import guests
    from postroj.transfer import copy

    here, there = copy.place(source), copy.place(target)
    if bool(here.guest) is bool(there.guest):
        message = "one of SOURCE and TARGET must be GUEST:PATH, the other a path on this host or -"
        raise UsageError(
            message, hint="write `./` before a path on this host that contains a colon"
        )
    guest = guests.enter(here.guest or there.guest)
    if here.guest:
        # what belongs to users of a namespace, `--host` could not carry on from outside of it
        copy.copy_out(guest, here, target, owners=user.is_root() or away.home() is None)
    else:
        copy.copy_in(guest, source, there)
