"""`postroj cp`, `logs`, `restart` and `commit`: what is done with guests that stay."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import click

from postroj.cli import options
from postroj.cli.completion import complete_guest, complete_place
from postroj.console import megabytes
from postroj.errors import GuestError, UsageError

if TYPE_CHECKING:
    from postroj.container.guest import Guest

LOOK_AGAIN = 0.2
"""Seconds between two looks at a console that is followed."""
OVER = (0, *(128 + number for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGKILL)))
"""How journalctl ends well: also when its reader has gone, and when its guest shuts down."""


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


@click.command()
@click.argument("name", shell_complete=complete_guest)
@click.option("--console", is_flag=True, help="What the guest printed to its console.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the guest ends.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only so many of the last lines.")
@click.option("-u", "--unit", "units", multiple=True, help="Only of this unit.")
def logs(name: str, console: bool, follow: bool, lines: int | None, units: tuple[str, ...]) -> None:
    """Show the journal of a guest."""
    from postroj.container import roster
    from postroj.container.start import require_root

    if console and units:
        message = "the console does not know units: `--unit` is for the journal"
        raise UsageError(message)
    require_root()
    if console:
        (own,) = roster.require([name])
        _show_console(own, lines, follow=follow)
        return
    guest = roster.enter(name)
    if guest.init() != "systemd":
        message = f"the guest '{name}' has no systemd, and so no journal"
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
        if follow and guest.has_ended():  # that is what was waited for
            return
        raise
    if status not in OVER:
        message = f"journalctl in the guest ended with status {status}"
        raise GuestError(message)


def _show_console(name: str, lines: int | None, *, follow: bool) -> None:
    """Print a console; escape sequences, which are for another terminal, are left out."""
    from postroj import paths
    from postroj.container import roster
    from postroj.report.text import visible_lines

    with (paths.guests_dir() / name / "console").open("rb") as stream:
        shown = stream.read().decode(errors="replace").splitlines()
        for line in shown[max(0, len(shown) - lines) if lines is not None else 0 :]:
            click.echo(visible_lines(line))
        while follow:
            follow = name in roster.names()
            for raw in stream.readlines():
                click.echo(visible_lines(raw.decode(errors="replace")))
            if follow:
                time.sleep(LOOK_AGAIN)


@click.command()
@options.seconds(
    "--time", 10, "How long it may shut down; it is restarted at once then.", zero=True
)
@options.boot_timeout
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_guest)
def restart(names: tuple[str, ...], time: float, boot_timeout: float) -> None:
    """Restart guests with all that was written, and wait until they are ready."""
    from postroj.container import roster
    from postroj.container.restart import restart as restart_it
    from postroj.container.start import require_root

    require_root()
    own = roster.require(names)
    kept = {guest.name for guest in roster.listing() if guest.kept}
    if others := [name for name, its in zip(names, own, strict=True) if its not in kept]:
        message = f"'{others[0]}' is the guest of a command that runs, which would fail"
        raise UsageError(message, hint="`postroj ps` shows which guests were kept")
    for name in own:
        restart_it(name, time, boot_timeout)


@click.command()
@click.argument("name", shell_complete=complete_guest)
@click.argument("image")
@click.option("--force", is_flag=True, help="Replace an image of that name.")
def commit(name: str, image: str, force: bool) -> None:
    """Make the image IMAGE of what the guest NAME sees now.

    The guest stands still meanwhile, and goes on then. Its identity (host name, machine-id,
    /etc/hosts, /etc/resolv.conf), its journal, /run, /tmp and what was bound are left out.
    """
    from postroj.container.start import require_root
    from postroj.transfer.commit import commit as commit_it

    require_root()
    record = commit_it(name, image, force=force)
    click.echo(f"{record.name}: committed, {megabytes(record.size)}")
