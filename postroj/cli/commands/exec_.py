"""`postroj exec`: run a command in a running guest."""

from __future__ import annotations

import click

from postroj.cli import options
from postroj.cli.completion import complete_guest
from postroj.cli.guest_options import PassingThrough, docker_options, in_guest


@click.command("exec", cls=PassingThrough, context_settings={"allow_interspersed_args": False})
@click.option("-i", "interactive", is_flag=True, hidden=True, expose_value=False)
@docker_options
@options.variables
@options.directory
@click.argument("name", shell_complete=complete_guest)
@click.argument("argv", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def exec_(name: str, argv: tuple[str, ...], variables: tuple[str, ...], chdir: str | None) -> int:
    """Run a command in a running guest; without COMMAND open a shell.

    Standard streams and exit status are those of the command, as with `postroj run`.
    """
    from postroj import guests
    from postroj.container.enter.nsenter import LOGIN_SHELL

    argv = argv[1:] if argv[:1] == ("--",) else argv
    command = in_guest(argv or LOGIN_SHELL, variables, chdir)
    return guests.enter(name).attach(command)
