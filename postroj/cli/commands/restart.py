"""`postroj restart`: reboot kept guests."""

from __future__ import annotations

from functools import partial

import click

from postroj.cli import options
from postroj.cli.completion import complete_guest
from postroj.errors import UsageError


@click.command()
@options.seconds(
    "--time", 10, "Time to shut down before a guest is killed and booted again.", zero=True
)
@options.boot_timeout
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_guest)
def restart(names: tuple[str, ...], time: float, boot_timeout: float) -> None:
    """Reboot kept guests with their files, and wait until they are ready."""
    from postroj.container import roster
    from postroj.container.apart import apart
    from postroj.guests import reboot

    own = roster.require(names)
    kept = {guest.name for guest in roster.listing() if guest.kept}
    if others := [name for name, its in zip(names, own, strict=True) if its not in kept]:
        message = f"'{others[0]}' is in use by another command, which would fail"
        raise UsageError(message, hint="`postroj ps` shows which guests are kept")
    for name in own:
        # each guest of a user has a user namespace of its own
        apart(partial(reboot, name, time, boot_timeout))
