"""`postroj --host`: find out which files a command line names, and carry it out elsewhere.

The types of a command's parameters say which of them are files (`postroj.cli.host_paths`).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from glob import glob
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from postroj.cli import usage_error
from postroj.cli.host_paths import Form, HostPath, SharedPath, Variable, Way, lock_name
from postroj.errors import PostrojError, UsageError
from postroj.remote import freight, near
from postroj.remote.freight import Freight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postroj.project.project_file import ProjectFile

LOCAL = ("matrix", "report")
"""Commands that are carried out here all the same, because they need no guest."""

KINDS = {
    Form.FOLDER: freight.Kind.FOLDER,
    Form.COPY: freight.Kind.COPY,
}
"""Kinds of what comes back; all others are files."""


class Sent(click.Command):
    """A command that is carried out on another machine."""

    def __init__(self, command: click.Command, host: str) -> None:
        super().__init__(command.name, help=command.help)
        self.command, self.host = command, host

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the words of a command line, as far as they name files.

        Help texts and the like need no other machine: that context is of the command itself.
        """
        with self._its_status():
            command, ctx, rest = _innermost(self.command, info_name, args, parent)
            typed = read_words(command, ctx, rest)
        if typed is None:
            return self.command.make_context(info_name, args, parent=parent, **extra)
        own = click.Context(self, info_name=info_name, parent=parent)
        own.args = list(args)
        own.meta[f"{__name__}.typed"] = command, typed
        return own

    def invoke(self, ctx: click.Context) -> int:
        """Carry out the command, and return its exit status."""
        command, typed = ctx.meta[f"{__name__}.typed"]
        with self._its_status():
            words = [*_of_group(ctx.parent), str(ctx.info_name), *ctx.args]
            return near.carry_out(self.host, words, freight_of(command, typed))

    @contextmanager
    def _its_status(self) -> Iterator[None]:
        """Give errors the status that the command gives to those of postroj."""
        failed = getattr(self.command, "failed", None)
        try:
            yield
        except PostrojError as error:
            error.exit_status = failed or error.exit_status
            raise
        except click.ClickException as error:
            refused = usage_error(error)
            refused.exit_status = failed or refused.exit_status
            raise refused from error


def _innermost(
    command: click.Command, name: str | None, args: list[str], parent: click.Context | None
) -> tuple[click.Command, click.Context, list[str]]:
    """Return the command that the words mean, below all groups, and the words for it."""
    ctx = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    if isinstance(command, click.Group) and args and not args[0].startswith("-"):
        inner, found, rest = command.resolve_command(ctx, args)
        assert found
        return _innermost(found, inner, rest, ctx)
    return command, ctx, args


def read_words(
    command: click.Command, ctx: click.Context, args: Sequence[str]
) -> dict[str, tuple[str, ...]] | None:
    """Return the values on the command line by parameter; None if it is carried out here.

    :raises ClickException: if there is no such option.
    """
    if command.name in LOCAL or isinstance(command, click.Group):
        return None
    values, _, order = command.make_parser(ctx).parse_args(list(args))
    if any(param.is_eager and not param.expose_value for param in order):
        return None
    found = {str(param.name): tuple(_texts(values[param.name])) for param in order}
    empty = {param.name for param in order if isinstance(param, click.Argument)}
    return {name: texts for name, texts in found.items() if texts or name not in empty}


def _texts(value: object) -> Iterator[str]:
    """Yield the texts of a value, as the parser leaves it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _of_group(ctx: click.Context | None) -> Iterator[str]:
    """Yield the options of postroj itself that are no matter of files."""
    params = ctx.params if ctx else {}
    if params.get("debug"):
        yield "--debug"
    if verbosity := params.get("verbosity"):
        yield "--verbose" if verbosity > 0 else "--quiet"


def freight_of(command: click.Command, typed: Mapping[str, Sequence[str]]) -> Freight:
    """Return the files that a command names, by its words, its project file and the environment.

    :raises UsageError: if a pattern matches nothing, or the project file cannot be read.
    """
    load = Freight()
    for param in command.params:
        for text in typed.get(str(param.name), ()):
            _add(load, param.type, text)
        if isinstance(param.type, HostPath):
            _add_usual(load, command, param, typed)
    for name in ("POSTROJ_CATALOG", "POSTROJ_LOCK"):
        if path := os.environ.get(name):
            load.send(path)
    if "POSTROJ_LOCK" not in os.environ:
        load.send(lock_name())
    return load


def _add_usual(
    load: Freight, command: click.Command, param: click.Parameter, typed: Mapping[str, Any]
) -> None:
    """Add the files that a parameter means without being on the command line."""
    kind = param.type
    assert isinstance(kind, HostPath)
    if kind.form is Form.PROJECT and "no_project" not in typed:
        _add_project(load, command, typed, *typed.get(str(param.name), ())[-1:])
    if str(param.name) not in typed and (path := kind.usual()):
        _carry(load, kind, path)
    summary = os.environ.get(near.SUMMARY)
    if str(param.name) == "reports" and summary:
        load.expect(summary, freight.Kind.ADDED)


def _add(load: Freight, kind: object, text: str, base: str = "") -> None:
    """Add the file that a value names; `base` is the folder of the project file that has it."""
    match kind:
        case Variable():
            name, equals, _ = text.partition("=")
            if not equals and name in os.environ:
                load.variables[name] = os.environ[name]
        case SharedPath() if not PurePosixPath(text).is_absolute():
            message = f"'{text}' is mounted from the other machine, so it needs an absolute path"
            raise UsageError(message, hint="`postroj cp` copies files into a running guest")
        case HostPath():
            _, path, _ = kind.split(text)
            if path:
                _carry(load, kind, os.path.join(base, path))  # noqa: PTH118 keeps a slash
        case _:
            pass


def _carry(load: Freight, kind: HostPath, path: str) -> None:
    if kind.way is not Way.IN:
        load.expect(path, KINDS.get(kind.form, freight.Kind.FILE))
    if kind.way is Way.OUT:
        return
    match kind.form:
        case Form.PACKAGES:
            from postroj.probe.package.collect import expand, needed

            for place in expand([path]):
                load.send(str(place))
                for file in needed(place):
                    load.send(str(file))
        case Form.SOURCE:
            load.send_tree(path, follow=True)
        case Form.COPY:
            load.send_tree(path, follow=path.endswith(("/", "/.")))
        case _:
            load.send(path)


def _add_project(
    load: Freight, command: click.Command, typed: Mapping[str, Any], named: str = ""
) -> None:
    """Add the project file, and what its keys name, unless an option has a value instead.

    Mistakes in it are left to the other machine.
    """
    from postroj.project import project_file

    here = Path(load.folder)
    found = project_file.named(Path(named)) if named else project_file.find(here)
    if found is None:
        return
    load.send(str(found.path))
    for above in (here, *here.parents):  # where the other machine stops to look for it
        if (above / ".git").exists() and above in (found.path.parent, *found.path.parents):
            load.has_folder(above / ".git")
            break
    # by its path as it was typed, at which the other machine has the file
    base = os.path.dirname(os.path.join(here, named or found.path))  # noqa: PTH118, PTH120
    for kind, text in _of_project(found, command, typed):
        _, path, _ = kind.split(text)
        is_pattern = kind.form in (Form.PATTERN, Form.PACKAGES) and path
        if not is_pattern or os.path.isfile(os.path.join(base, path)):  # noqa: PTH113, PTH118
            _add(load, kind, text, base)
        else:
            for name in glob(path, root_dir=base, recursive=True):  # noqa: PTH207 absolute, too
                _add(load, kind, name, base)


def _of_project(
    file: ProjectFile, command: click.Command, typed: Mapping[str, Any]
) -> Iterator[tuple[HostPath, str]]:
    """Yield the values of a project file that name files, for options not on the command line."""
    from postroj.project.keys import PACKAGE

    for param in command.params:
        if isinstance(param.type, HostPath) and param.name not in typed:
            keys = {option.removeprefix("--") for option in param.opts}
            keys |= {PACKAGE} if param.name == "packages" else set()
            for key in keys & set(file.table):
                yield from ((param.type, text) for text in _texts(_files(file.table[key])))


def _files(value: object) -> object:
    """Return the value of a key, or the files of tables `package`."""
    if isinstance(value, list):
        return [one.get("file") if isinstance(one, dict) else one for one in value]
    return value
