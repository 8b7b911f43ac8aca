"""`postroj report`: the history of packages on images, from many JSON reports."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroj import console
from postroj.cli import host_paths
from postroj.cli.files import write_file
from postroj.cli.help import Sectioned
from postroj.errors import UsageError
from postroj.verdict import Outcome, worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.report.history import History, Run

log = logging.getLogger(__name__)

STDOUT = "-"
BAD, BROKEN = "bad", "broken"
EXAMPLES = (
    ("report reports/", "what broke since when"),
    ("report 'nightly/*/report.json' --html history.html", "a page of many runs"),
    ("report reports/ --fail-on broken", "fail if something broke that has passed"),
)


@click.command(cls=Sectioned, examples=EXAMPLES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=host_paths.REPORTS)
@click.option(
    "--html", metavar="FILE", type=host_paths.PAGE, help="Write an HTML page; - is stdout."
)
@click.option(
    "--json", "json_", metavar="FILE", type=host_paths.PAGE, help="Write JSON; - is stdout."
)
@click.option(
    "--fail-on",
    type=click.Choice([BAD, BROKEN]),
    help="Exit like pkgprobe if the newest run of a package on an image is bad, or only if that is "
    "broken: an earlier one passed.",
)
def report(files: tuple[str, ...], html: str | None, json_: str | None, fail_on: str | None) -> int:
    """Show the history of packages on images, from JSON reports of many runs.

    FILE is a JSON report, a pattern, or a folder with reports. For each package and image the
    newest run counts; if it is bad, since when, and what has changed between that and the last run
    that passed. The table goes to stdout unless --html or --json does. No Linux is needed.

    Exit status: 0 if everything was written, unless --fail-on is given.
    """
    from postroj.cli.probing import STATUS
    from postroj.report import history_html, history_text
    from postroj.report.history import histories

    if html == json_ == STDOUT:
        message = "`--html` and `--json` cannot both go to stdout"
        raise UsageError(message)
    found = histories(run for file in files for run in _read(file))
    if not found:
        message = "there is no run in these reports"
        raise UsageError(message, hint="`--report json=FILE` of `postroj test` writes reports")
    for target, render in ((html, history_html.render), (json_, history_text.render_json)):
        if target is not None:
            _write(target, render(found))
    if STDOUT not in (html, json_):
        click.echo(_table(found), color=True)
    counted = {BAD: found, BROKEN: [one for one in found if one.is_broken], None: []}[fail_on]
    outcome = worst(one.outcome for one in counted)
    return STATUS[outcome] if outcome.is_bad else 0


def _read(text: str) -> Iterator[Run]:
    """Yield the runs in a file, in the files of a pattern, or in the reports of a folder.

    :raises UsageError: if there is no such file, or it is not a report.
    """
    from postroj.probe.package.collect import expand

    for path in expand([text], hint="`--report json=FILE` of `postroj test` writes reports"):
        if not path.is_dir():
            yield from _read_file(path)
            continue
        for file in _in_folder(path):
            try:
                yield from _read_file(file)
            except UsageError as error:
                log.info("left out: %s", error.message)


def _in_folder(folder: Path) -> Iterator[Path]:
    """Yield the JSON files in a folder and below it, but not in hidden folders."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(".json"))


def _read_file(path: Path) -> Sequence[Run]:
    from postroj.report import reader

    try:
        with path.open("rb") as file:
            content = file.read(reader.LARGEST + 1)
            modified = os.fstat(file.fileno()).st_mtime
    except OSError as error:
        message = f"'{path}' cannot be read"
        raise UsageError(message, evidence=str(error)) from None
    return reader.read(content, str(path), modified)


def _write(target: str, text: str) -> None:
    if target == STDOUT:
        click.echo(text)
    else:
        write_file(Path(target), f"{text}\n")
        log.info("wrote '%s'", target)


def _table(found: Sequence[History]) -> str:
    from postroj.report.history_text import render
    from postroj.report.terminal import COLOURS

    colour = console.colour_wanted(sys.stdout)

    def paint(outcome: Outcome, text: str) -> str:
        return f"\x1b[{COLOURS[outcome]}m{text}\x1b[0m" if colour else text

    return render(found, paint)
