"""Help texts in sections, with examples, and suggestions for commands that do not exist."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import click

from postroj import DOCUMENTATION
from postroj.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Examples = tuple[tuple[str, str], ...]
"""Command lines without `postroj`, each with what it does."""

SYNONYMS = {
    **dict.fromkeys(("list", "ls"), ("list-images", "ps")),
    **dict.fromkeys(("image", "images", "search"), ("list-images",)),
    **dict.fromkeys(("rm", "delete", "destroy", "uninstall"), ("remove", "stop")),
    "rmi": ("remove",),
    **dict.fromkeys(("kill", "halt", "poweroff", "shutdown", "terminate"), ("stop",)),
    **dict.fromkeys(("containers", "guests", "machines", "status", "top"), ("ps",)),
    **dict.fromkeys(("probe", "pkgtest", "install", "try"), ("test", "pkgprobe")),
    **dict.fromkeys(("start", "boot", "create", "up", "launch"), ("run", "shell")),
    **dict.fromkeys(("attach", "enter", "login", "ssh"), ("exec", "shell")),
    **dict.fromkeys(("bash", "sh", "console"), ("shell",)),
    **dict.fromkeys(("download", "fetch", "update", "bootstrap", "build"), ("pull",)),
    "load": ("import",),
    "save": ("export",),
    "copy": ("cp",),
    **dict.fromkeys(("log", "journal", "journalctl"), ("logs",)),
    "reboot": ("restart",),
    **dict.fromkeys(("clean", "cleanup", "gc", "purge"), ("prune",)),
    **dict.fromkeys(("setup", "fix"), ("doctor --fix",)),
    "self-test": ("selftest",),
    "help": ("--help",),
    "version": ("--version",),
}
"""Words of other tools, each with the commands that come nearest here."""


class Group(click.Group):
    """A group that prints its help without a command, and suggests one for a wrong word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of a command line; without any, print the help text and exit."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(ExitStatus.USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names.

        :raises UsageError: if there is none.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            name = args[0]
            if name.startswith("-"):
                raise
            message = f"no such command '{name}'"
            raise UsageError(message, hint=self._hint(ctx, name)) from None

    def _hint(self, ctx: click.Context, name: str) -> str:
        known = self.list_commands(ctx)
        word = name.lower().replace("_", "-")
        near: Sequence[str] = SYNONYMS.get(word, ()) if ctx.parent is None else ()
        near = near or difflib.get_close_matches(word, known, n=2, cutoff=0.7)
        near = near or [one for one in known if one.startswith(word)]
        path = ctx.command_path
        if not near:
            return f"see `{path} --help`"
        commands = " or ".join(f"`{path} {one}`" for one in near)
        return f"did you mean {commands}?"


class Sectioned(click.Command):
    """A command with its options in sections, and with examples."""

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, Sequence[str]] | None = None,
        examples: Examples = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections or {}
        """Names of parameters below the title of their section; all others come last."""
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, one section after the other."""
        for heading, rows in option_rows(self, ctx).items():
            with formatter.section(heading):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and where the documentation is."""
        write_examples(self.examples, formatter)


def option_rows(command: click.Command, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Return the options of a command by the headings of their sections, each with its text."""
    rows = {
        str(param.name): row
        for param in command.get_params(ctx)
        if isinstance(param, click.Option) and (row := param.get_help_record(ctx))
    }
    sections = command.sections if isinstance(command, Sectioned) else {}
    found = {
        heading: [rows.pop(name) for name in names if name in rows]
        for heading, names in sections.items()
    }
    found["Other options" if sections else "Options"] = [*rows.values()]
    return {heading: known for heading, known in found.items() if known}


def write_examples(examples: Examples, formatter: click.HelpFormatter) -> None:
    """Write examples, and where the documentation is."""
    with formatter.section("Examples"):
        formatter.write_dl([(f"postroj {line}", text) for line, text in examples], col_max=48)
    formatter.write_paragraph()
    formatter.write_text(f"Documentation: {DOCUMENTATION}")
