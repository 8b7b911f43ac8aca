"""`postroj stop`: stop guests."""

from __future__ import annotations

from contextlib import suppress

import click

from postroj import locking, paths
from postroj.cli import options
from postroj.cli.completion import complete_guest
from postroj.errors import HostError, PostrojError, UsageError


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_guest)
@click.option("--all", "everything", is_flag=True, help="Stop all kept guests.")
@options.seconds("--time", 10, "Time to shut down before a guest is killed.", zero=True)
def stop(names: tuple[str, ...], everything: bool, time: float) -> None:
    """Stop guests, and wait until they are cleaned up.

    A guest in use by another command, such as a probe, is killed at once, and that command fails.
    """
    from postroj import guests
    from postroj.container import leftovers, roster

    if bool(names) is everything:
        message = "either names of guests or `--all` must be given"
        raise UsageError(message, hint="`postroj ps` lists the running guests")
    named = roster.require(names)
    kept = [guest.name for guest in roster.listing() if guest.kept]
    failed: list[PostrojError] = []
    for name in kept if everything else dict.fromkeys(named):
        try:
            # a probe would blame its package for a guest that shuts down
            guests.stop(name, time if name in kept else 0)
        except PostrojError as error:
            failed.append(error)
    with suppress(OSError):  # a read-only cache has no downloads
        locking.sweep(paths.cache_dir() / "downloads")  # packages mounted in the guests
    with suppress(OSError, HostError):
        leftovers.sweep_disk()
    if failed:
        raise failed[0]
