"""`postroj ps`: list the running guests."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from postroj.cli import options
from postroj.console import megabytes

if TYPE_CHECKING:
    from postroj.container.roster import Listing

HEADINGS = ("NAME", "IMAGE", "AGE", "MEMORY", "KEPT", "PURPOSE")
SHOWN = 60
"""Maximum length of a purpose."""
UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
"""Units of an age, and their seconds."""


@click.command()
@options.as_json
def ps(as_json: bool) -> None:
    """List the running guests: kept ones, and those of other commands."""
    from postroj.container import leftovers, roster
    from postroj.report.table import table

    leftovers.sweep_in_passing()
    guests = roster.listing()
    if as_json:
        click.echo(json.dumps([_as_object(guest) for guest in guests], indent=2))
    elif guests:
        click.echo(table([_row(guest) for guest in guests], HEADINGS))


def _as_object(guest: Listing) -> dict[str, Any]:
    """Return a guest as an object of the JSON output."""
    began = datetime.fromtimestamp(guest.began, UTC).isoformat(timespec="seconds")
    return asdict(guest) | {
        "began": began if guest.began else None,
        "age": round(time.time() - guest.began, 1) if guest.began else None,
        "leader": guest.leader or None,
    }


def _row(guest: Listing) -> tuple[str, ...]:
    """Return a guest as a row of the table."""
    from postroj.report.visible import visible

    purpose = visible(guest.purpose)
    return (
        guest.given or guest.name,
        guest.image or "-",
        _age(time.time() - guest.began) if guest.began else "-",
        megabytes(guest.memory),
        "yes" if guest.kept else "no",
        purpose if len(purpose) <= SHOWN else f"{purpose[: SHOWN - 1]}…",
    )


def _age(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down."""
    for length, unit in UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0, seconds) // 1:.0f} s"
