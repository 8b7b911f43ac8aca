"""Manual pages of the commands: built as documents of docutils, which writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from docutils import nodes
from docutils.core import publish_from_doctree
from docutils.utils import new_document
from docutils.writers import manpage

from postroj import DOCUMENTATION, __version__
from postroj.cli import EXAMPLES as FIRST_EXAMPLES
from postroj.cli import SECTIONS
from postroj.cli.help import Sectioned, option_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Rows = Iterable[tuple[str, str]]
"""What is explained, and its explanation."""


def pages(command: click.Command, program: str, seconds: int = 0) -> dict[str, str]:
    """Return the pages of a program and of each of its commands, by the names of the pages.

    `seconds` since 1970 are the date on them; 0 is none.
    """
    date = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}" if seconds else ""
    contexts = [*_walk(click.Context(command, info_name=program, **command.context_settings))]
    names = [_name(context) for context in contexts]
    return {
        name: _page(context, date, [other for other in names if other != name])
        for name, context in zip(names, contexts, strict=True)
    }


def _walk(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            if command := context.command.get_command(context, name):
                yield from _walk(click.Context(command, info_name=name, parent=context))


def _name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _page(context: click.Context, date: str, others: Iterable[str]) -> str:
    command = context.command
    first, *paragraphs = re.split(r"\n\s*\n", (command.help or "").replace("\b", "").strip())
    document = new_document(_name(context))
    document += nodes.title("", _name(context))
    document += nodes.subtitle("", " ".join(first.split()).rstrip("."))
    document += _docinfo(date)
    usage = " ".join(command.collect_usage_pieces(context))
    synopsis = nodes.paragraph("", "", nodes.strong("", context.command_path))
    synopsis += nodes.Text(f" {usage}")
    document += _section("Synopsis", [synopsis])
    if paragraphs:
        document += _section("Description", [_prose(text) for text in paragraphs])
    if isinstance(command, click.Group):
        for title, rows in _commands(command, context).items():
            document += _section(title, [_definitions(rows)])
    for title, rows in option_rows(command, context).items():
        document += _section(title, [_definitions(rows)])
    if examples := _examples(command, context):
        rows = [(f"{context.find_root().info_name} {line}", text) for line, text in examples]
        document += _section("Examples", [_definitions(rows)])
    see = [*(f"{name}(1)" for name in _near(context, others)), DOCUMENTATION]
    document += _section("See also", [nodes.paragraph("", ", ".join(see))])
    written = publish_from_doctree(
        document, writer=manpage.Writer(), settings_overrides={"output_encoding": "unicode"}
    )
    assert isinstance(written, str)
    return written


def _docinfo(date: str) -> nodes.docinfo:
    fields = {"Manual section": "1", "Manual group": "postroj", "Version": __version__}
    info = nodes.docinfo()
    for name, value in fields.items():
        body = nodes.field_body("", nodes.paragraph("", value))
        info += nodes.field("", nodes.field_name("", name), body)
    info += nodes.date("", date)
    return info


def _section(title: str, content: Iterable[nodes.Node]) -> nodes.section:
    return nodes.section("", nodes.title("", title.upper()), *content)


def _prose(text: str) -> nodes.paragraph:
    """Return a paragraph in which what stands between backticks is to be typed."""
    paragraph = nodes.paragraph()
    for number, part in enumerate(re.split("`", " ".join(text.split()))):
        paragraph += nodes.strong("", part) if number % 2 else nodes.Text(part)
    return paragraph


def _definitions(rows: Rows) -> nodes.definition_list:
    return nodes.definition_list(
        "",
        *(
            nodes.definition_list_item(
                "",
                nodes.term("", "", nodes.strong("", term)),
                nodes.definition("", _prose(text)),
            )
            for term, text in rows
        ),
    )


def _commands(group: click.Group, context: click.Context) -> Mapping[str, Rows]:
    if context.parent is None:
        return {title: [*commands.items()] for title, commands in SECTIONS.items()}
    found = [
        (name, command.get_short_help_str(limit=200))
        for name in group.list_commands(context)
        if (command := group.get_command(context, name))
    ]
    return {"Commands": found}


def _examples(command: click.Command, context: click.Context) -> Iterable[tuple[str, str]]:
    if context.parent is None and isinstance(command, click.Group):
        return FIRST_EXAMPLES
    return command.examples if isinstance(command, Sectioned) else ()


def _near(context: click.Context, others: Iterable[str]) -> list[str]:
    """Return the pages to read on: those of all commands, or that of the group."""
    if isinstance(context.command, click.Group):
        return [name for name in others if name.startswith(f"{_name(context)}-")]
    return [_name(context.parent)] if context.parent else []
