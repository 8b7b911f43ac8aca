"""Commands about this host: what it lacks, and what works on it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from postroj import console
from postroj.doctor import Result, Status, mend, remedy, survey
from postroj.errors import HostError
from postroj.report.table import table

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = ("STATUS", "WHAT", "FOUND", "WHY", "NEEDED FOR")
COLOURS = {
    Status.OK: "green",
    Status.MISSING: "red",
    Status.TOO_OLD: "red",
    Status.WARNING: "yellow",
}


@click.command()
@click.option("--fix", is_flag=True, help="Install what is missing, then look again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(fix: bool, as_json: bool) -> None:
    """Show what this host lacks to run guests, and why it matters.

    Kernel features are tried in a mount namespace of their own. Nothing is changed without --fix,
    which installs what is missing with the package manager of this host.
    """
    results = survey()
    if fix and mend(results):
        results = survey()
    click.echo(json.dumps(as_dict(results), indent=2) if as_json else as_table(results))
    judge(results)


def as_table(results: Sequence[Result]) -> str:
    """Return one line for each requirement."""
    colour = console.colour_wanted(sys.stdout)
    rows = [
        (
            click.style(result.status, fg=COLOURS[result.status]) if colour else result.status,
            result.requirement.name,
            result.found or "-",
            result.requirement.why,
            result.requirement.only_for or "everything",
        )
        for result in results
    ]
    return table(rows, HEADER)


def as_dict(results: Sequence[Result]) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "schema": 1,
        "ok": not any(result.fatal for result in results),
        "remedy": remedy(results),
        "requirements": [
            {
                "name": result.requirement.name,
                "status": result.status,
                "found": result.found,
                "why": result.requirement.why,
                "needed_for": result.requirement.only_for,
                "packages": dict(result.requirement.packages),
            }
            for result in results
        ],
    }


def judge(results: Sequence[Result]) -> None:
    """Say what is lacking, and how to get it.

    :raises HostError: if no guest can run on this host.
    """
    command = remedy(results)
    hint = f"`sudo postroj doctor --fix` runs `{command}`" if command else ""
    if fatal := [result.requirement.name for result in results if result.fatal]:
        if "root" in fatal:
            hint = hint or "`sudo postroj doctor` looks as root"
        names = ", ".join(f"'{name}'" for name in fatal)
        message = f"no guest can run here for lack of {names}"
        raise HostError(message, hint=hint or "the table says what was found instead")
    if hint:
        click.echo(f"\nhint: {hint}", err=True)
