"""How Sphinx builds these pages.

What the code can say itself is asked of the code while the pages are built, so that it cannot rot:
the help texts, the catalog, the requirements of a host, the units that are masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from postroj import __version__
from postroj.cli import cli
from postroj.container.nspawn import MASKED
from postroj.doctor.requirements import REQUIREMENTS
from postroj.image import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sphinx.application import Sphinx

project = "postroj"
author = "The postroj developers"
project_copyright = "The postroj developers"
version = release = __version__

extensions: list[str] = []
exclude_patterns = ["_build"]
nitpicky = True
# What stands between `` is code; a word between ` is a mistake.
default_role = "any"
highlight_language = "none"

html_theme = "furo"
html_title = f"postroj {__version__}"
html_copy_source = False
html_show_sphinx = False

COLUMNS = 78
"""As wide as click writes on a terminal of 80 columns."""
FAMILIES = ("apt", "dnf", "zypper", "pacman")


class Help(SphinxDirective):
    """``.. postroj-help:: [COMMAND]``: what ``postroj COMMAND --help`` prints."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Ask click."""
        settings = cli.context_settings
        top = click.Context(cli, info_name="postroj", terminal_width=COLUMNS, **settings)
        context, command = top, cli
        if self.arguments:
            found = cli.get_command(top, self.arguments[0])
            if found is None:
                message = f"there is no command '{self.arguments[0]}'"
                raise self.error(message)
            command = found
            context = click.Context(
                command, info_name=self.arguments[0], parent=top, terminal_width=COLUMNS
            )
        text = command.get_help(context)
        return [nodes.literal_block(text, text, language="none")]


class Table(SphinxDirective):
    """A table of facts which the code knows."""

    headings: ClassVar[Sequence[str]]

    def rows(self) -> Iterable[Sequence[str]]:
        """Return the cells, as reStructuredText of one line each."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Write a list-table, and parse it."""
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in (self.headings, *self.rows()):
            first, *rest = row
            lines += [f"   * - {first}", *(f"     - {cell}" for cell in rest)]
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, source=self.name), self.content_offset, parent)
        return parent.children


class Images(Table):
    """``.. postroj-images::``: the catalog."""

    headings = ("Image", "Other names", "End of life", "systemd", "Architectures")

    def rows(self) -> Iterable[Sequence[str]]:
        """Ask the catalog."""
        for entry in catalog.entries():
            yield (
                f"``{entry.name}``",
                _literals(entry.aliases),
                entry.end_of_life.isoformat() if entry.end_of_life else "not known",
                str(entry.systemd or "changes"),
                _literals(entry.architectures),
            )


class Requirements(Table):
    """``.. postroj-requirements::``: what `postroj doctor` asks for, and what brings it."""

    headings = ("What", "Why", "Needed for", "Package")

    def rows(self) -> Iterable[Sequence[str]]:
        """Ask doctor."""
        for requirement in REQUIREMENTS:
            brings = requirement.packages
            if len(set(brings.values())) == 1 and set(brings) == set(FAMILIES):
                packages = f"``{brings['apt']}``"
            else:
                packages = ", ".join(f"{manager} ``{brings[manager]}``" for manager in brings)
            yield (
                requirement.name,
                requirement.why,
                f"``{only}``" if (only := requirement.only_for).startswith("-") else only or "all",
                packages or "\\",
            )


class Masked(SphinxDirective):
    """``.. postroj-masked::``: the units that do not start in a guest."""

    def run(self) -> list[nodes.Node]:
        """Ask the module that passes them on."""
        text = "\n".join(MASKED)
        return [nodes.literal_block(text, text, language="none")]


def _literals(words: Iterable[str]) -> str:
    return ", ".join(f"``{word}``" for word in words)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known."""
    app.add_directive("postroj-help", Help)
    app.add_directive("postroj-images", Images)
    app.add_directive("postroj-requirements", Requirements)
    app.add_directive("postroj-masked", Masked)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
