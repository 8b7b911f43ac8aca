"""`postroj list-images`, `pull` and `remove`."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from postroj import console
from postroj.cli.completion import complete_cached, complete_image
from postroj.errors import HostError, ImageError, PostrojError, UsageError
from postroj.model import SourceKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.image.catalog import Entry
    from postroj.image.pull import Pulled, Request
    from postroj.image.store import Record

HEADINGS = (
    "NAME", "RELEASE", "END OF LIFE", "SOURCES", "VERIFICATION", "CACHED", "ARCHITECTURES"
)  # fmt: skip


@click.command("list-images")
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, shell_complete=complete_image)
@click.option("--cached", is_flag=True, help="Only those that are cached.")
@click.option("--json", "as_json", is_flag=True, help="As a list of objects, with their records.")
def list_images(patterns: tuple[str, ...], cached: bool, as_json: bool) -> None:
    """Show the catalog of images, or what matches: 'debian-*', trixie."""
    from postroj.image import catalog, pull, store

    with suppress(HostError), store.trouble():  # looking needs no right to write
        store.sweep()
    found = [
        (entry, store.find(entry.name, pull.architecture())) for entry in catalog.matching(patterns)
    ]
    found = [(entry, record) for entry, record in found if record or not cached]
    if as_json:
        click.echo(json.dumps([_as_object(*pair) for pair in found], indent=2))
    elif found:
        click.echo(_table([_row(*pair) for pair in found]))


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_image)
@click.option("--all", "everything", is_flag=True, help="Every image of the catalog.")
@click.option("--force", is_flag=True, help="Make it anew; its guests keep the one they have.")
@click.option(
    "--source",
    "kind",
    type=click.Choice([kind.value for kind in SourceKind]),
    help="From this source and no other.",
)
@click.option(
    "--allow-expired", is_flag=True, help="Accept a mirror whose Release file is out of date."
)
def pull(
    names: tuple[str, ...], everything: bool, force: bool, kind: str | None, allow_expired: bool
) -> None:
    """Fetch, verify and store images."""
    from postroj.image import catalog
    from postroj.image.pull import Request

    if bool(names) == everything:
        message = "either names of images or `--all` must be given"
        raise UsageError(message, hint="`postroj list-images` shows the names")
    entries = catalog.entries() if everything else map(catalog.find, names)
    source = SourceKind(kind) if kind else None
    request = Request(force=force, kind=source, allow_expired=allow_expired)
    _pull_each(list(dict.fromkeys(entries)), request)


def _pull_each(entries: Sequence[Entry], request: Request) -> None:
    """Pull one after the other, also when one fails."""
    from postroj.cli import show
    from postroj.image.pull import pull

    failed = []
    for entry in entries:
        try:
            click.echo(_pulled(pull(entry, request)))
        except PostrojError as error:
            if len(entries) == 1:
                raise
            failed.append(entry.name)
            show(error)
    if failed:
        message = f"{len(failed)} of {len(entries)} images could not be pulled"
        raise ImageError(message, evidence="\n".join(failed))


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_cached)
def remove(names: tuple[str, ...]) -> None:
    """Delete stored images."""
    from postroj.image import catalog, pull, store

    entries = list(dict.fromkeys(map(catalog.find, names)))
    store.prepare()
    for entry in entries:
        store.require(entry.name, pull.architecture())  # all of them, or none
    for entry in entries:
        freed = store.remove(entry.name, pull.architecture()) + store.collect()
        click.echo(f"{entry.name}: removed, {_size(freed)} freed")


def _pulled(done: Pulled) -> str:
    """Return one line on an image that was pulled."""
    record = done.record
    how = f"pulled in {done.seconds:.1f} s" if done.fresh else "cached already"
    origin = f"{record.source} from {record.url}"
    return f"{record.name}: {how}, {_size(record.size)}, {origin}, {_verified(record)}"


def _verified(record: Record) -> str:
    """Say how it was verified, with the short id of a key."""
    said = str(record.verification)
    if record.fingerprints:
        more = len(record.fingerprints) - 1
        said += f" by {record.fingerprints[0][-16:]}" + (f" and {more} more" if more else "")
    return said + (", although expired" if record.allow_expired else "")


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def _as_object(entry: Entry, record: Record | None) -> dict[str, Any]:
    """Return an image as the JSON says it."""
    return {
        "name": entry.name,
        "title": entry.title,
        "distribution": entry.distribution,
        "release": entry.release,
        "version": entry.version or None,
        "aliases": entry.aliases,
        "end_of_life": entry.end_of_life.isoformat() if entry.end_of_life else None,
        "architectures": entry.architectures,
        "manager": entry.manager,
        "systemd": entry.systemd,
        "sources": [
            {"kind": source.kind, "verification": source.verification} for source in entry.sources
        ],
        "cached": asdict(record) | {"path": str(record.path)} if record else None,
    }


def _row(entry: Entry, record: Record | None) -> tuple[str, ...]:
    """Return an image as cells of the table."""
    verifications = dict.fromkeys(source.verification for source in entry.sources)
    return (
        entry.name,
        f"{entry.version} {entry.release}".strip(),
        entry.end_of_life.isoformat() if entry.end_of_life else "-",
        ",".join(source.kind for source in entry.sources),
        ",".join(verifications),
        f"{_size(record.size)}, {record.created[:10]}" if record else "-",
        " ".join(entry.architectures),
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Align cells; with colour on a terminal."""
    from postroj.report.table import table

    if not console.colour_wanted(sys.stdout):
        return table(rows, HEADINGS)
    today = datetime.now(UTC).date().isoformat()
    coloured = []
    for name, release, end_of_life, sources, verification, cached, architectures in rows:
        if "-" < end_of_life < today:
            end_of_life = click.style(end_of_life, fg="yellow")
        if cached != "-":
            cached = click.style(cached, fg="green")
        cells = (name, release, end_of_life, sources, verification, cached, architectures)
        coloured.append(cells)
    return table(coloured, [click.style(heading, bold=True) for heading in HEADINGS])
