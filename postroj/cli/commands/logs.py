"""`postroj logs`: show the journal or the console of a guest."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import click

from postroj.cli.completion import complete_guest
from postroj.errors import GuestError, UsageError

if TYPE_CHECKING:
    from postroj.container.guest import Guest

POLL = 0.2
"""Seconds between two reads of a console with `--follow`."""
OVER = (0, *(128 + number for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGKILL)))
"""Statuses of journalctl that are no error: its reader has gone, or the guest shuts down."""


@click.command()
@click.argument("name", shell_complete=complete_guest)
@click.option("--console", is_flag=True, help="Show the console instead of the journal.")
@click.option("-f", "--follow", is_flag=True, help="Show new lines until the guest ends.")
@click.option(
    "-n", "--lines", metavar="N", type=click.IntRange(min=0), help="Show only the last N lines."
)
@click.option("-u", "--unit", "units", multiple=True, help="Show only this unit. Repeatable.")
def logs(name: str, console: bool, follow: bool, lines: int | None, units: tuple[str, ...]) -> None:
    """Show the journal of a guest, or its console."""
    from postroj import guests
    from postroj.container import roster

    if console and units:
        message = "`--unit` selects from the journal, not with `--console`"
        raise UsageError(message)
    if console:
        (own,) = roster.require([name])
        _show_console(own, lines, follow=follow)
        return
    guest = guests.enter(name)
    if guest.init() != "systemd":
        message = f"the guest '{name}' runs no systemd, so it has no journal"
        raise UsageError(message, hint=f"`postroj logs --console {name}` shows its console")
    _show_journal(guest, lines, units, follow=follow)


def _show_journal(guest: Guest, lines: int | None, units: tuple[str, ...], *, follow: bool) -> None:
    from postroj.container.guest import Command

    argv = ["journalctl", "--no-pager", f"--lines={'all' if lines is None else lines}"]
    argv += ["--follow"] if follow else []
    argv += [f"--unit={unit}" for unit in units]
    try:
        status = guest.attach(Command(argv=tuple(argv)), with_terminal=False)
    except GuestError:
        if follow and guest.has_ended():  # --follow ends with the guest
            return
        raise
    if status not in OVER:
        message = f"journalctl in the guest ended with status {status}"
        raise GuestError(message)


def _show_console(name: str, lines: int | None, *, follow: bool) -> None:
    """Print a console without its escape sequences."""
    from postroj import paths
    from postroj.container import roster
    from postroj.report.visible import visible_lines

    with (paths.state_dir() / name / "console").open("rb") as stream:
        shown = stream.read().decode(errors="replace").splitlines()
        for line in shown[max(0, len(shown) - lines) if lines is not None else 0 :]:
            click.echo(visible_lines(line))
        while follow:
            follow = name in roster.names()
            for raw in stream.readlines():
                click.echo(visible_lines(raw.decode(errors="replace")))
            if follow:
                time.sleep(POLL)
