"""`postroj shell`: open a shell in a fresh guest."""

from __future__ import annotations

from typing import Any

import click

from postroj.cli.commands.run import run_in_fresh_guest
from postroj.cli.guest_options import PassingThrough, guest_options


@click.command(cls=PassingThrough)
@guest_options
def shell(**guest: Any) -> int:
    """Open a shell in a fresh guest, and delete the guest afterwards."""
    from postroj.container.enter.nsenter import LOGIN_SHELL

    return run_in_fresh_guest(LOGIN_SHELL, boot=True, **guest)
