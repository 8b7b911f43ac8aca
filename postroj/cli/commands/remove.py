"""`postroj remove`: delete stored images."""

from __future__ import annotations

import click

from postroj.cli import options
from postroj.cli.completion import complete_cached
from postroj.cli.stored_images import resolve, title
from postroj.console import megabytes


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_cached)
@options.architecture
def remove(names: tuple[str, ...], architecture: str | None) -> None:
    """Delete stored images."""
    from postroj.image.store import store, warm_layers
    from postroj.image.store.record import stored_images

    images = resolve(names, architecture)
    store.prepare()
    for image in images:
        if image not in stored_images():
            store.require(*image)  # remove all or none
    for image in images:
        freed = store.remove(*image) + store.collect() + warm_layers.collect()
        click.echo(f"{title(*image)}: removed, {megabytes(freed)} freed")
