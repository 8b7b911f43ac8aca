"""`postroj list-images`."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from postroj import console
from postroj.cli import elsewhere, options
from postroj.cli.completion import complete_image
from postroj.errors import HostError
from postroj.model import Manager
from postroj.urls import redacted_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroj.image.catalog.entry import Entry
    from postroj.image.store.record import Record

HEADINGS = ("NAME", "VERSION", "END OF LIFE", "MANAGER", "SOURCE", "VERIFICATION", "CACHED")


class Listed(NamedTuple):
    """An image of the catalog, and its stored record if there is one."""

    entry: Entry
    record: Record | None


def _natural(listed: Listed) -> Any:
    """Order `fedora-9` before `fedora-10`."""
    parts = re.split(r"(\d+)", listed.entry.name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


ORDERS: dict[str, Callable[[Listed], Any]] = {
    "catalog": lambda _: 0,
    "name": _natural,
    "eol": lambda listed: listed.entry.end_of_life or date.max,
    "size": lambda listed: -listed.record.total_size if listed.record else 0,
}
"""Sort keys of `--sort`; equal images stay in the order of the catalog."""


@click.command("list-images")
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, shell_complete=complete_image)
@click.option("--cached", is_flag=True, help="Show only cached images.")
@click.option(
    "--supported", is_flag=True, help="Show only images that boot and get security updates."
)
@click.option(
    "--manager",
    type=click.Choice([manager.value for manager in Manager]),
    help="Show only images with this package manager.",
)
@click.option(
    "--sort",
    type=click.Choice(list(ORDERS)),
    default="catalog",
    show_default=True,
    help="Sort order.",
)
@options.architecture
@options.as_json
def list_images(
    patterns: tuple[str, ...],
    cached: bool,
    supported: bool,
    manager: str | None,
    sort: str,
    architecture: str | None,
    as_json: bool,
) -> None:
    """List the images of the catalog, or those that match, such as 'debian-*' or trixie."""
    from postroj.container import leftovers
    from postroj.image.architectures import of_this_host

    if elsewhere.is_linux():
        leftovers.sweep_in_passing()
    architecture = architecture or of_this_host()
    found = [
        listed
        for listed in sorted(_listed(patterns, architecture), key=ORDERS[sort])
        if (listed.record or not cached)
        and (manager in (None, listed.entry.manager))
        and (not supported or listed.entry.is_supported(architecture, _today()))
    ]
    if as_json:
        click.echo(json.dumps([_as_object(listed) for listed in found], indent=2, default=str))
    elif found:
        click.echo(_tables(found, architecture))


def _listed(patterns: Sequence[str], architecture: str) -> list[Listed]:
    from postroj.image.catalog import catalog
    from postroj.image.store import os_errors, store

    found: Sequence[Record] = ()
    with suppress(HostError), os_errors.explained():  # a listing works without the right to write
        if elsewhere.is_linux():
            store.sweep()
            found = store.records()
    records = {record.name: record for record in found if record.architecture == architecture}
    known = {entry.name for entry in catalog.entries()}
    imported = [_as_entry(record) for record in records.values() if record.name not in known]
    return [
        Listed(entry, records.get(entry.name)) for entry in catalog.matching(patterns, imported)
    ]


def _as_entry(record: Record) -> Entry:
    """Return a catalog entry for an imported image."""
    from postroj.image.catalog.entry import Entry

    return Entry(
        name=record.name,
        distribution="",
        release="",
        version="",
        title=f"imported from {record.url}",
        aliases=(),
        end_of_life=None,
        architectures=(record.architecture,),
        manager=record.manager,
        systemd=None,
        packages=(),
        repositories=(),
        sources=(),
        unbootable="",
    )


def _today() -> date:
    return datetime.now(UTC).date()


def _as_object(listed: Listed) -> dict[str, Any]:
    """Return an image as an object of the JSON output."""
    entry, record = listed
    return asdict(entry) | {
        "version": entry.version or None,
        "unbootable": entry.unbootable or None,
        "sources": [
            {"kind": source.kind, "verification": source.verification, **_shown(asdict(source))}
            for source in entry.sources
        ],
        "cached": asdict(record) | {"path": str(record.path)} if record else None,
    }


def _shown(value: Any) -> Any:
    """Return a value of a source, without the secrets of URLs."""
    match value:
        case str():
            return redacted_text(value)
        case dict():
            return {key: _shown(one) for key, one in value.items()}
        case _:
            return value


def _tables(found: Sequence[Listed], architecture: str) -> str:
    """Return a table of the bootable images, and below it one of the others with reasons."""
    from postroj.report.table import table

    rows = [_row(*listed, architecture) for listed in found if not listed.entry.unbootable]
    reasons = [
        (listed.entry.name, listed.entry.unbootable) for listed in found if listed.entry.unbootable
    ]
    parts = []
    if rows:
        parts.append(table(rows, _bold(HEADINGS)))
    if reasons:
        parts.append(table(reasons, _bold(("NAME", "WHY IT DOES NOT BOOT"))))
    return "\n\n".join(parts)


def _row(entry: Entry, record: Record | None, architecture: str) -> tuple[str, ...]:
    """Return an image as a row of the table."""
    sources = entry.sources_for(architecture)
    if sources:
        source, verification = sources[0].kind.value, sources[0].verification.value
    elif record:
        source, verification = record.source.value, record.verification.value
    else:
        source, verification = f"none for {architecture}", "-"
    ended = entry.has_ended(_today())
    return (
        entry.name,
        entry.version or "-",
        _coloured(str(entry.end_of_life or "-"), "yellow" if ended else ""),
        entry.manager or "-",
        f"{source} +{len(sources) - 1}" if len(sources) > 1 else source,
        verification,
        _coloured(_stored(record), "green") if record else "-",
    )


def _stored(record: Record) -> str:
    return f"{console.megabytes(record.total_size)}, {record.created[:10]}"


def _coloured(text: str, colour: str) -> str:
    return click.style(text, fg=colour) if colour and console.colour_wanted(sys.stdout) else text


def _bold(headings: Sequence[str]) -> list[str]:
    bold = console.colour_wanted(sys.stdout)
    return [click.style(heading, bold=True) if bold else heading for heading in headings]
