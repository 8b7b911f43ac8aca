"""`--shell-on-failure`: open a shell in a guest in which something went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroj import console
from postroj.errors import GuestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from postroj.container.guest import Guest


def visitor(stream: TextIO, jobs: int | None) -> Callable[[Guest, str], None]:
    """Return a function that opens a shell in a guest.

    :raises UsageError: without a terminal, or if several guests may run at once.
    """
    from postroj.container.enter import terminal
    from postroj.container.enter.nsenter import LOGIN_SHELL
    from postroj.container.guest import Command
    from postroj.report.visible import visible

    if not terminal.is_interactive():
        message = "`--shell-on-failure` needs a terminal on stdin and stdout"
        raise UsageError(message)
    if jobs is not None and jobs > 1:
        message = "`--shell-on-failure` does not work with `--jobs` above 1"
        raise UsageError(message)

    def visit(guest: Guest, sentence: str) -> None:
        console.busy()
        line = f"{visible(sentence)}; opening a shell in this guest, `exit` resumes the probe"
        click.echo(line, file=stream)
        try:
            guest.attach(Command(argv=LOGIN_SHELL))
        except GuestError:  # the next step reports it
            click.echo(file=stream)

    return visit
