"""`postroj ps`, `exec` and `stop`: guests that run, whichever postroj booted them."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from postroj import locking, paths
from postroj.cli import options
from postroj.cli.completion import complete_guest
from postroj.cli.guests import PassingThrough, in_guest
from postroj.console import megabytes
from postroj.errors import PostrojError, UsageError

if TYPE_CHECKING:
    from postroj.container.roster import Listing

HEADINGS = ("NAME", "IMAGE", "AGE", "MEMORY", "KEPT", "FOR")
SHOWN = 60
"""Letters of what a guest is for."""
UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
"""Seconds of what an age is given in."""


@click.command()
@options.as_json
def ps(as_json: bool) -> None:
    """Show the guests that run: those that were kept, and those of other commands."""
    from postroj.container import roster
    from postroj.container.start import require_root
    from postroj.report.table import table

    require_root()
    guests = roster.listing()
    if as_json:
        click.echo(json.dumps([_as_object(guest) for guest in guests], indent=2))
    elif guests:
        click.echo(table([_row(guest) for guest in guests], HEADINGS))


@click.command("exec", cls=PassingThrough, context_settings={"allow_interspersed_args": False})
@options.variables
@options.directory
@click.argument("name", shell_complete=complete_guest)
@click.argument("argv", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def execute(name: str, argv: tuple[str, ...], variables: tuple[str, ...], chdir: str | None) -> int:
    """Run a command in a guest that runs; without a command open a shell.

    stdin, stdout, stderr and the exit status are the command's, as with `postroj run`.
    """
    from postroj.container import roster
    from postroj.container.enter.nsenter import LOGIN_SHELL
    from postroj.container.start import require_root

    argv = argv[1:] if argv[:1] == ("--",) else argv
    command = in_guest(argv or LOGIN_SHELL, variables, chdir)
    require_root()
    return roster.enter(name).attach(command)


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


def _as_object(guest: Listing) -> dict[str, Any]:
    """Return a guest as the JSON says it."""
    began = datetime.fromtimestamp(guest.began, UTC).isoformat(timespec="seconds")
    return asdict(guest) | {
        "began": began if guest.began else None,
        "age": round(time.time() - guest.began, 1) if guest.began else None,
        "leader": guest.leader or None,
    }


def _row(guest: Listing) -> tuple[str, ...]:
    """Return a guest as cells of the table."""
    from postroj.report.text import visible

    purpose = visible(guest.purpose)
    return (
        guest.given or guest.name,
        guest.image or "-",
        _age(time.time() - guest.began) if guest.began else "-",
        megabytes(guest.memory),
        "yes" if guest.kept else "no",
        purpose if len(purpose) <= SHOWN else f"{purpose[: SHOWN - 1]}…",
    )


def _age(seconds: float) -> str:
    """Return a time span in its largest unit."""
    for length, unit in UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0, seconds) // 1:.0f} s"
