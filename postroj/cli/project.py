"""Default values of options from the project file; the command line overrides them."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from postroj.cli import host_paths
from postroj.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from postroj.cli.options import F
    from postroj.probe.excuse.expectations import Expectations
    from postroj.project.reader import CheckTable, Project

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The project file, and the options that take their values from it."""

    project: Project | None = None
    taken: tuple[str, ...] = ()
    """Keys whose values are used."""

    @property
    def expectations(self) -> Expectations:
        """Expected failures."""
        return self.project.expectations if self.project else ()

    @property
    def checks(self) -> tuple[CheckTable, ...]:
        """Checks with steps and images."""
        return self.project.checks if self.project else ()

    def package_sets(self) -> tuple[tuple[str, ...], ...]:
        """Return the files of each table `package`.

        :raises UsageError: if a pattern matches nothing.
        """
        return self.project.package_sets() if self.project else ()

    @contextmanager
    def of_check(self, table: CheckTable) -> Iterator[None]:
        """Add file and line to a usage error about a table `check`."""
        try:
            yield
        except UsageError as error:
            from postroj.project.check_keys import CHECK

            assert self.project
            self.project.file.refuse(table.path, CHECK, error.message, error.hint)

    @property
    def file(self) -> str | None:
        """The absolute path of the project file."""
        return str(self.project.file.path.absolute()) if self.project else None

    @contextmanager
    def of(self, *keys: str) -> Iterator[None]:
        """Add file, line and key to a usage error about a value from the project file."""
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
        click.option("--no-project", is_flag=True, help="Ignore project files."),
        click.option(
            "--project",
            "project_file",
            type=host_paths.PROJECT,
            metavar="FILE",
            help="Project file with defaults for these options. [default: the nearest postroj.toml "
            "or pyproject.toml with a table tool.postroj, up to the root of the git checkout]",
        ),
    ):
        function = option(function)
    return function


def settled(
    ctx: click.Context,
    given: dict[str, Any],
    *,
    project_file: str | None,
    no_project: bool,
    tables: bool,
    keys: Collection[str] | None = None,
    needed: bool = True,
) -> Origin:
    """Fill `given` with values of the project file, for options not on the command line.

    `tables` says whether tables `package` of the file may name the packages, `keys` which keys are
    used (None: all), and `needed` whether the command needs a package.

    :raises UsageError: if the file, or a value that is used, is invalid, or no package is given.
    """
    if no_project and project_file is not None:
        message = "`--project` and `--no-project` cannot be combined"
        raise UsageError(message)
    project = None if no_project else _project(project_file)
    taken = []
    for key in project.values if project else ():
        if keys is not None and key not in keys:
            continue
        assert project
        option = project.option_of(key)
        name = next((one.name for one in ctx.command.params if _sets(one, option)), None)
        if name is None:
            project.refuse(key, "not supported by this version of postroj")
        elif not _is_typed(ctx, ("start", "start_units") if key == "start" else (name,)):
            given[name] = project.option(key)
            taken.append(key)
    if project and taken:
        log.info("from '%s': %s", project.file.title, ", ".join(taken))
    if not given["packages"] and project and project.package_tables and not tables:
        why = "its tables are probed each for itself"
        project.refuse("package", why, "`postroj test` does that")
    if needed and not given["packages"] and not (project and project.package_tables):
        named = any("--package" in one.opts for one in ctx.command.params)
        raise _no_package(project, "`--package FILE_OR_URL`" if named else "FILE")
    return Origin(project=project, taken=tuple(taken))


def _sets(param: click.Parameter, option: str) -> bool:
    """Whether a parameter is set by an option, as packages are that `test` takes as arguments."""
    return option in param.opts or (option == "--package" and param.name == "packages")


def _is_typed(ctx: click.Context, names: Sequence[str]) -> bool:
    """Whether one of the parameters is on the command line."""
    return any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)


def _project(file: str | None) -> Project | None:
    from datetime import UTC, datetime

    from postroj.project import project_file

    found = project_file.find(Path.cwd()) if file is None else project_file.named(Path(file))
    if found is None:
        return None
    from postroj.project import reader

    return reader.read(found, datetime.now(UTC).date())


def _no_package(project: Project | None, how: str) -> UsageError:
    message = f"'{project.file.title}' has no `package`" if project else "no package is given"
    where = f"'{project.file.title}'" if project else "a file postroj.toml"
    hint = f'use {how}, or write `package = "dist/*.deb"` in {where}'
    return UsageError(message, hint=hint)


def _print_schema(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import json

        from postroj.project import schema

        click.echo(json.dumps(schema.document(), indent=2))
        ctx.exit()
