"""The file of the project behind the command line, which wins over it option by option."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from postroj.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.cli.options import F
    from postroj.probe.excuse.expectations import Expectations
    from postroj.project.reader import Project

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the values of options come from that were not typed."""

    project: Project | None = None
    taken: tuple[str, ...] = ()
    """Keys of the project whose values are used."""

    @property
    def expectations(self) -> Expectations:
        """What is known to fail."""
        return self.project.expectations if self.project else ()

    @property
    def file(self) -> str | None:
        """Its path, from every folder."""
        return str(self.project.file.path.absolute()) if self.project else None

    @contextmanager
    def of(self, *keys: str) -> Iterator[None]:
        """Let an error tell the file, the line and the key, if the value comes from there."""
        try:
            yield
        except UsageError as error:
            if self.project:
                for key in self.taken:
                    if key in keys:
                        self.project.refuse(key, error.message, error.hint)
            raise


def options(function: F) -> F:
    """Add `--project`, `--no-project` and `--project-schema`."""
    for option in (
        click.option(
            "--project-schema",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_schema,
            help="Print the JSON schema of postroj.toml, and exit.",
        ),
        click.option("--no-project", is_flag=True, help="Read no file of the project."),
        click.option(
            "--project",
            "project_file",
            metavar="FILE",
            help="The file with what is not given here. [default: the nearest postroj.toml, or "
            "pyproject.toml with a table tool.postroj, up to the root of the git checkout]",
        ),
    ):
        function = option(function)
    return function


def settled(
    ctx: click.Context, given: dict[str, Any], *, project_file: str | None, no_project: bool
) -> Origin:
    """Put the values of the project's file into `given` wherever nothing was typed.

    :raises UsageError: if something is wrong with the file, or with a value that is used.
    """
    if no_project and project_file is not None:
        message = "`--project` and `--no-project` exclude each other"
        raise UsageError(message)
    project = None if no_project else _project(project_file)
    taken = []
    for key in project.values if project else ():
        assert project
        name = next((param.name for param in ctx.command.params if f"--{key}" in param.opts), None)
        if name is None:
            project.refuse(key, "this postroj cannot do that yet")
        elif ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            given[name] = project.option(key)
            taken.append(key)
    if project and taken:
        log.info("as in '%s': %s", project.file.title, ", ".join(taken))
    if not given["packages"]:
        raise _no_package(project)
    return Origin(project=project, taken=tuple(taken))


def _project(file: str | None) -> Project | None:
    from datetime import UTC, datetime

    from postroj.project import project_file

    found = project_file.find(Path.cwd()) if file is None else project_file.named(Path(file))
    if found is None:
        return None
    from postroj.project import reader

    return reader.read(found, datetime.now(UTC).date())


def _no_package(project: Project | None) -> UsageError:
    message = f"'{project.file.title}' names no package" if project else "no package is given"
    where = f"'{project.file.title}'" if project else "a file postroj.toml"
    hint = f'`--package FILE_OR_URL`, or a line `package = "dist/*.deb"` in {where}'
    return UsageError(message, hint=hint)


def _print_schema(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import json

        from postroj.project import schema

        click.echo(json.dumps(schema.document(), indent=2))
        ctx.exit()
