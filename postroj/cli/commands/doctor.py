"""`postroj doctor`: show what this host lacks, and install it."""

from __future__ import annotations

import json
import shlex
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from postroj import console, user
from postroj.cli import options
from postroj.container import leftovers
from postroj.container.apart import apart
from postroj.doctor import REQUIREMENTS, Result, Status, mend, of_architecture, remedy, survey
from postroj.errors import HostError
from postroj.image import architectures
from postroj.report.table import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEADER = ("STATUS", "REQUIREMENT", "FOUND", "REASON", "NEEDED FOR")
COLOURS = {
    Status.OK: "green",
    Status.MISSING: "red",
    Status.TOO_OLD: "red",
    Status.WARNING: "yellow",
}


@click.command()
@options.architecture
@click.option("--fix", is_flag=True, help="Install what is missing, then check again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(architecture: str | None, fix: bool, as_json: bool) -> None:
    """Show what this host lacks to run guests, and why it matters.

    With --arch it also shows what guests of that architecture need.

    Only --fix changes the host: it installs missing packages with the host's package manager.
    Without root it uses sudo, and also allows this user what guests need. Leftovers of killed
    commands are removed in any case.
    """
    leftovers.sweep_in_passing()
    examine: Callable[[], tuple[Result, ...]] = survey
    if architecture and architecture != architectures.of_this_host():
        examine = partial(survey, (*REQUIREMENTS, *of_architecture(architecture)))
    results = apart(examine)  # who has entered a user namespace cannot use sudo
    if fix and mend(results):
        results = apart(examine)
    click.echo(json.dumps(as_dict(results), indent=2) if as_json else as_table(results))
    judge(results)


def as_table(results: Sequence[Result]) -> str:
    """Return a table with one line for each requirement."""
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
    """Return the JSON output as a dictionary."""
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
                "fix": shlex.join(result.fix),
            }
            for result in results
        ],
    }


def judge(results: Sequence[Result]) -> None:
    """Print how to install what is missing.

    :raises HostError: if this host cannot run guests.
    """
    command = remedy(results)
    sudo = "sudo " if user.is_root() else ""
    hint = f"`{sudo}postroj doctor --fix` runs `{command}`" if command else ""
    if fatal := [result.requirement.name for result in results if result.fatal]:
        names = ", ".join(f"'{name}'" for name in fatal)
        message = f"this host cannot run guests, it lacks {names}"
        raise HostError(message, hint=hint or "see the column FOUND of the table")
    if hint:
        click.echo(f"\nhint: {hint}", err=True)
