"""`postroj pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroj.cli import options
from postroj.cli.completion import complete_image
from postroj.console import megabytes
from postroj.errors import ImageError, PostrojError, UsageError
from postroj.model import SourceKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.image.catalog.entry import Entry
    from postroj.image.pull import Pulled, Request
    from postroj.image.store.record import Record


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_image)
@click.option("--all", "everything", is_flag=True, help="Pull every bootable image of the catalog.")
@click.option(
    "--force", is_flag=True, help="Download and build again; running guests keep the old image."
)
@click.option(
    "--source",
    "kind",
    type=click.Choice([kind.value for kind in SourceKind if kind is not SourceKind.IMPORT]),
    help="Use only this source.",
)
@click.option("--allow-expired", is_flag=True, help="Accept an expired Release file of a mirror.")
@click.option(
    "--allow-expired-keys",
    is_flag=True,
    help="Accept expired signatures, and those of expired keys.",
)
@options.require
@options.architecture
def pull(
    names: tuple[str, ...],
    everything: bool,
    force: bool,
    kind: str | None,
    allow_expired: bool,
    allow_expired_keys: bool,
    architecture: str | None,
) -> None:
    """Download, verify and store images.

    NAME can be a pattern such as 'debian-*', which selects images that still get updates.
    """
    from postroj.image import selection
    from postroj.image.architectures import of_this_host
    from postroj.image.catalog import catalog
    from postroj.image.pull import Request

    architecture = architecture or of_this_host()

    if bool(names) == everything:
        message = "either names of images or `--all` must be given"
        raise UsageError(message, hint="`postroj list-images` lists the names")
    if everything:
        entries = [entry for entry in catalog.entries() if entry.sources_for(architecture)]
    else:
        entries = selection.to_pull(names, architecture)
    request = Request(
        force=force,
        kind=SourceKind(kind) if kind else None,
        allow_expired=allow_expired,
        allow_expired_keys=allow_expired_keys,
        architecture=architecture,
    )
    _pull_each(entries, request)


def _pull_each(entries: Sequence[Entry], request: Request) -> None:
    """Pull images in turn, going on after a failure."""
    from postroj.cli import show
    from postroj.image.pull import pull

    failed = []
    for entry in entries:
        try:
            done = pull(entry, request)
            click.echo(_pulled(done))
            make_bootable(done.record)
        except PostrojError as error:
            if len(entries) == 1:
                raise
            failed.append(entry.name)
            show(error)
    if failed:
        message = f"{len(failed)} of {len(entries)} images could not be pulled"
        raise ImageError(message, evidence="\n".join(failed))


def make_bootable(record: Record) -> None:
    """Prepare an image now rather than at its first use, if we can, and print the changes."""
    from postroj import prepare
    from postroj.image.architectures import of_this_host

    if record.prepared is None and record.architecture == of_this_host() and prepare.possible():
        for line in prepare.prepared(record).prepared or ():
            click.echo(f"{record.name}: {line}")


def _pulled(done: Pulled) -> str:
    """Describe a pulled image in one line."""
    record = done.record
    how = f"pulled in {done.seconds:.1f} s" if done.fresh else "cached already"
    origin = f"{record.source} from {record.url}"
    return f"{record.name}: {how}, {megabytes(record.size)}, {origin}, {_verified(record)}"


def _verified(record: Record) -> str:
    """Describe how an image was verified, with the short id of a key."""
    said = str(record.verification)
    if record.fingerprints:
        more = len(record.fingerprints) - 1
        said += f" by {record.fingerprints[0][-16:]}" + (f" and {more} more" if more else "")
    said += " (expired)" if record.expired_signature else ""
    return said + (", expired Release files accepted" if record.allow_expired else "")
