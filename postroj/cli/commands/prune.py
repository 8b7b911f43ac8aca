"""`postroj prune`: delete what nothing uses."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict

import click

from postroj.cli import options
from postroj.cli.stored_images import title
from postroj.console import megabytes
from postroj.errors import HostError


@click.command()
@click.option(
    "--all", "everything", is_flag=True, help="Delete all images that no guest uses, too."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@options.as_json
def prune(everything: bool, dry_run: bool, as_json: bool) -> None:
    """Delete unused files: those of no image, and leftovers of killed commands."""
    from postroj.container import leftovers
    from postroj.container.start import become_root
    from postroj.image import upkeep

    with suppress(HostError):  # guests of a user leave files of other numbers
        become_root()
    guests = leftovers.sweep(dry_run=dry_run)
    done = upkeep.prune(everything=everything, dry_run=dry_run)
    if as_json:
        found = asdict(done) | {"guests": guests, "dry_run": dry_run}
        found["images"] = [{"name": name, "architecture": arch} for name, arch in done.images]
        click.echo(json.dumps(found, indent=2))
        return
    for image in done.images:
        click.echo(f"{title(*image)}: {'would be ' if dry_run else ''}removed")
    for name in (*done.files, *done.layers, *done.leftovers, *guests):
        click.echo(f"{name}: {'would be ' if dry_run else ''}deleted")
    for name in done.held:
        click.echo(f"{name}: in use by a guest or another command")
    click.echo(f"{megabytes(done.freed)} {'would be ' if dry_run else ''}freed")
