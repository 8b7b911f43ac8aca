"""The options for goss, and the program that they name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postroj.cli import host_paths
from postroj.errors import UsageError
from postroj.verdict import CheckKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from postroj.cli.options import F
    from postroj.probe.ask.goss import Goss
    from postroj.probe.ask.question import Question


def options(function: F) -> F:
    """Add `--check-goss`, `--goss` and `--goss-vars`."""
    for option in (
        click.option(
            "--goss-vars",
            multiple=True,
            type=host_paths.GOSS,
            metavar="FILE",
            help="File with variables for the templates in files of goss. Repeatable.",
        ),
        click.option(
            "--goss",
            envvar="POSTROJ_GOSS",
            type=host_paths.GOSS,
            metavar="PATH",
            help="The program goss for --check-goss. [default: POSTROJ_GOSS, else in PATH]",
        ),
        click.option(
            "--check-goss",
            "goss_files",
            multiple=True,
            type=host_paths.GOSS,
            metavar="FILE",
            help="Run the tests of this file with goss in the guest. Repeatable.",
        ),
    ):
        function = option(function)
    return function


def read(given: Mapping[str, Any]) -> Goss | None:
    """Return goss and its files; None if no file is given.

    :raises UsageError: if one of them does not exist, or goss is for another architecture.
    """
    from postroj.image import architectures
    from postroj.probe.ask.goss import Goss

    if not given["goss_files"]:
        if given["goss_vars"]:
            message = "`--goss-vars` needs `--check-goss FILE`"
            raise UsageError(message)
        return None
    name = given["goss"] or shutil.which("goss")
    if not name:
        message = "`--check-goss` needs the program goss, which is not in PATH"
        raise UsageError(message, hint="`--goss PATH` or POSTROJ_GOSS names it")
    found = Goss(
        program=_file("--goss", name),
        files=tuple(dict.fromkeys(_file("--check-goss", text) for text in given["goss_files"])),
        variables=tuple(_file("--goss-vars", text) for text in given["goss_vars"]),
    )
    found.require(given["architecture"] or architectures.of_this_host())
    return found


def _file(option: str, text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_file():
        message = f"`{option} {text}`: there is no such file"
        raise UsageError(message)
    return path


def questions(program: Goss | None) -> Iterator[Question]:
    """Yield a question for each file of goss."""
    from postroj.probe.ask.question import Question

    for file in program.files if program else ():
        yield Question(kind=CheckKind.GOSS, subject=str(file))
