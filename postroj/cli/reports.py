"""Parse `--report` and `--artifacts`, and write the reports. No other module writes them."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroj import away
from postroj.cli.files import is_special, writable, write_file
from postroj.errors import PostrojError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

    from postroj.verdict import Report

log = logging.getLogger(__name__)

FILES = ("json", "junit", "tap", "html")
GITHUB = "github"
KINDS = {".json": "json", ".xml": "junit", ".tap": "tap", ".html": "html", ".htm": "html"}
"""Kinds by the suffix of a file."""
METAVAR = "[KIND=]FILE|github"
HINT = f"use `--report KIND=FILE` with {', '.join(FILES)}, or `--report {GITHUB}`"
STDOUT = "-"


@dataclass(frozen=True, kw_only=True)
class Outlets:
    """Destinations of reports."""

    files: tuple[tuple[str, Path | None], ...]
    """Kinds and paths; None is stdout."""
    github: bool
    artifacts: Path | None
    """A folder."""
    stream: TextIO
    """Takes the lines for people and the commands for GitHub, apart from JSON on stdout."""

    def prepare(self) -> None:
        """Create the folder for artifacts.

        :raises UsageError: if it is not writable.
        """
        from postroj.cli import artifacts

        if self.artifacts:
            artifacts.prepare(self.artifacts)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Stop GitHub from running commands in the output of a package."""
        from postroj.report import github

        token = secrets.token_hex(16)
        if self.github:
            click.echo(github.pause(token), file=self.stream)
        try:
            yield
        finally:
            if self.github:
                click.echo(github.resume(token), file=self.stream)

    def write(self, report: Report) -> None:
        """Write a report to every destination, even if some of them fail.

        Each file is replaced as a whole or stays unchanged.

        :raises UsageError: if a destination is not writable; for the first one.
        :raises ImageError: if a disk is full.
        """
        errors = []
        for kind, path in self.files:
            try:
                if path is None:
                    click.echo(_render(kind, report))
                else:
                    write_file(path, _render(kind, report) + "\n")
            except PostrojError as error:
                errors.append(error)
        if self.artifacts:
            try:
                self._write_artifacts(report, self.artifacts)
            except PostrojError as error:
                errors.append(error)
        if self.github:
            self._write_github(report)
        if errors:
            raise errors[0]

    def _write_artifacts(self, report: Report, folder: Path) -> None:
        from postroj.cli import artifacts

        artifacts.write(report, folder)
        log.info("wrote artifacts to '%s'", folder)

    def _write_github(self, report: Report) -> None:
        from postroj.report import github

        if lines := github.commands(report):
            click.echo(lines, file=self.stream)
        if name := os.environ.get("GITHUB_STEP_SUMMARY"):
            _append_summary(Path(away.here(name)), report)
        else:
            log.info("no job summary: 'GITHUB_STEP_SUMMARY' is not set")


def outlets(asked: Sequence[str], stream: TextIO, artifacts: str | None = None) -> Outlets:
    """Parse the values of `--report` and `--artifacts`; `stream` must not be stdout if one is.

    :raises UsageError: if a kind is unknown, a folder is missing, or two reports share a file.
    """
    files = [_file(text) for text in asked if text != GITHUB]
    places = [path.absolute() if path else None for _, path in files]
    for path in places:
        if places.count(path) > 1 and not (path and is_special(path)):
            message = f"two reports would be written to '{path or 'stdout'}'"
            raise UsageError(message)
    folder = Path(artifacts) if artifacts is not None else None
    return Outlets(files=tuple(files), github=GITHUB in asked, artifacts=folder, stream=stream)


def go_to_stdout(asked: Sequence[str]) -> bool:
    """Whether one of the values of `--report` names stdout."""
    return any(text.endswith(f"={STDOUT}") for text in asked)


def _file(text: str) -> tuple[str, Path | None]:
    kind, equals, name = text.partition("=")
    if not equals and (found := KINDS.get(Path(text).suffix)):
        kind, name = found, text
    if kind not in FILES or not name:
        message = f"'{text}' is not a report"
        raise UsageError(message, hint=HINT)
    if name == STDOUT:
        return kind, None
    path = Path(name)
    if not path.parent.is_dir() or path.is_dir():
        message = f"'{path}' is a folder, or its folder does not exist"
        raise UsageError(message)
    return kind, path


def _render(kind: str, report: Report) -> str:
    from importlib import import_module

    text: str = import_module(f"postroj.report.{kind}").render(report)
    return text


def _append_summary(path: Path, report: Report) -> None:
    from postroj.report import github

    with writable(path), path.open("a", encoding="utf-8") as file:
        file.write(github.summary(report, room=github.LIMIT - file.tell()))
