"""`postroj cp`: copy files between a guest and the host."""

from __future__ import annotations

import click

from postroj.cli.completion import complete_place
from postroj.errors import UsageError


@click.command()
@click.argument("source", shell_complete=complete_place)
@click.argument("target", shell_complete=complete_place)
def cp(source: str, target: str) -> None:
    """Copy files or folders from SOURCE to TARGET, one of which is GUEST:PATH.

    Owners (as numbers), modes, times and links are kept. Into a folder that is there a file or a
    folder is put by its name, of `FOLDER/.` only what is in it; else TARGET is the new name.
    With - for the other side a tar comes from stdin or goes to stdout.
    """
    from postroj.container import roster
    from postroj.container.start import require_root
    from postroj.transfer import copy

    here, there = copy.place(source), copy.place(target)
    if bool(here.guest) is bool(there.guest):
        message = "one side of `postroj cp` is GUEST:PATH, the other one a path of this host or -"
        raise UsageError(message, hint="`./` before a path of this host allows a colon in it")
    require_root()
    guest = roster.enter(here.guest or there.guest)
    if here.guest:
        copy.copy_out(guest, here, target)
    else:
        copy.copy_in(guest, source, there)
