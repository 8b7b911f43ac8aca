"""`postroj catalog`: what concerns the catalog itself."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from postroj import console
from postroj.cli import options
from postroj.cli.amounts import count
from postroj.cli.completion import complete_image
from postroj.cli.help import Group
from postroj.errors import ImageError, UsageError
from postroj.report.table import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.image.catalog.entry import Entry
    from postroj.image.catalog_check import Finding

HEADINGS = ("IMAGE", "SOURCE", "VERIFICATION", "ARCHITECTURES", "STATE", "REASON")
COLOURS = {"holds": "green", "broken": "red", "unknown": "yellow"}


@click.group(cls=Group)
def catalog() -> None:
    """Check the catalog of images against its publishers."""


@catalog.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_image)
@click.option(
    "--arch",
    "architecture",
    metavar="ARCH",
    callback=options.as_machine,
    default="",
    help="Check only this architecture.",
)
@options.as_json
def check(names: tuple[str, ...], architecture: str, as_json: bool) -> None:
    """Check that each source of an image is still there; without NAME for all images.

    NAME can be a pattern such as 'debian-*'. Checksums, indexes and manifests are fetched, verified
    and read; images are not downloaded.
    """
    from postroj.image import catalog_check

    with console.progress("check the catalog") as progress:
        findings = list(catalog_check.check(_entries(names), progress, architecture))
    if not findings:
        message = "none of these images has a source to check"
        raise UsageError(message, hint="`postroj list-images` shows images with their sources")
    if as_json:
        click.echo(json.dumps({"sources": [asdict(one) for one in findings]}, indent=2))
    else:
        click.echo(_table(findings))
    _judge(findings)


def _entries(names: Sequence[str]) -> list[Entry]:
    """Return the images with these names or patterns, each once, by default all."""
    from postroj.image.catalog import catalog as known
    from postroj.image.selection import is_pattern

    found = [
        entry
        for name in names or ["*"]
        for entry in (known.matching([name]) if is_pattern(name) else [known.find(name)])
    ]
    return list(dict.fromkeys(found))


def _table(findings: Sequence[Finding]) -> str:
    """Return a table; architectures of a source for which the same is true share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for one in findings:
        source = f"{one.source} (archive)" if one.archived else one.source.value
        key = (one.image, source, one.verification, one.state, one.reason)
        rows.setdefault(key, []).append(one.architecture)
    colour = console.colour_wanted(sys.stdout)
    return table(
        [
            (
                *(image, source, verification, " ".join(architectures)),
                click.style(state, fg=COLOURS.get(state)) if colour else state,
                reason,
            )
            for (image, source, verification, state, reason), architectures in rows.items()
        ],
        HEADINGS,
    )


def _judge(findings: Sequence[Finding]) -> None:
    """Raise an error unless all sources hold."""
    broken = [one for one in findings if one.state == "broken"]
    unknown = [one for one in findings if one.state == "unknown"]
    if broken or unknown:
        total = count(len(findings), "source")
        message = f"not all sources hold: {len(broken)} of {total} broken, {len(unknown)} unknown"
        hint = "`--json` shows the evidence; `postroj pull` tries the other sources of an image"
        raise ImageError(message, hint=hint)
