"""`postroj commit`: make an image of a running guest."""

from __future__ import annotations

import click

from postroj.cli.completion import complete_guest
from postroj.console import megabytes


@click.command()
@click.argument("name", shell_complete=complete_guest)
@click.argument("image")
@click.option("--force", is_flag=True, help="Replace an existing image.")
def commit(name: str, image: str, force: bool) -> None:
    """Make the image IMAGE of the files of the running guest NAME.

    The guest is frozen meanwhile. The image has neither the guest's identity (host name,
    machine-id, /etc/hosts, /etc/resolv.conf) nor its journal, /run, /tmp and mounts.
    """
    from postroj.transfer.commit import commit as commit_it

    record = commit_it(name, image, force=force)
    click.echo(f"{record.name}: committed, {megabytes(record.size)}")
