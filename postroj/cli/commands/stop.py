"""`postroj stop`: stop guests."""

from __future__ import annotations

from contextlib import suppress

import click

from postroj import locking, paths
from postroj.cli import options
from postroj.cli.completion import complete_guest
from postroj.errors import PostrojError, UsageError


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_guest)
@click.option("--all", "everything", is_flag=True, help="All that were kept.")
@options.seconds("--time", 10, "How long they may shut down; they are killed then.", zero=True)
def stop(names: tuple[str, ...], everything: bool, time: float) -> None:
    """End guests, and wait until nothing is left of them.

    The guest of a command that runs, as of a probe, is killed at once; that command says so and
    fails.
    """
    from postroj.container import roster
    from postroj.container.start import require_root

    if bool(names) is everything:
        message = "`postroj stop` takes names of guests, or `--all`"
        raise UsageError(message, hint="`postroj ps` shows the guests that run")
    require_root()
    named = roster.require(names)
    kept = [guest.name for guest in roster.listing() if guest.kept]
    failed: list[PostrojError] = []
    for name in kept if everything else dict.fromkeys(named):
        try:
            # what shuts down below a probe would be taken for the work of its package
            roster.stop(name, time if name in kept else 0)
        except PostrojError as error:
            failed.append(error)
    with suppress(OSError):  # a cache that is only read has none of that
        locking.sweep(paths.cache_dir() / "downloads")  # packages that the guests were shown
    if failed:
        raise failed[0]
