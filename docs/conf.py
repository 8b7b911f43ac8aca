"""Configure Sphinx for these pages.

Directives read facts from the code while the pages are built, so that they stay true: help texts,
the catalog and its keys, the requirements of a host, masked units, the inputs of the action.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import click
import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from postroj import REPOSITORY, __version__
from postroj.cli import autopkgtest, cli
from postroj.container.boot.masks import MASKED
from postroj.doctor.requirements import REQUIREMENTS
from postroj.image.catalog import catalog
from postroj.image.trust.keyring import KEYS
from postroj.project.check_keys import CHECK, CHECK_KEYS
from postroj.project.keys import EXPECT, EXPECT_KEYS, PACKAGE, PACKAGE_KEYS
from postroj.project.keys import KEYS as KEYS_OF_PROJECT
from postroj.report import github, junit, tap
from postroj.verdict import (
    CheckKind,
    CheckResult,
    Host,
    Outcome,
    Package,
    ProbeResult,
    Report,
    StepName,
    StepResult,
)

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
# Code stands between ``; a word between ` is a mistake.
default_role = "any"
highlight_language = "none"

html_theme = "furo"
html_title = f"postroj {__version__}"
html_copy_source = False
html_show_sphinx = False

ACTION = f"{urlsplit(REPOSITORY).path.strip('/')}@v{__version__}"
"""The action, as other repositories use it."""
rst_epilog = f".. |action| replace:: ``{ACTION}``"

COLUMNS = 78
"""The width of click's output on a terminal of 80 columns."""
PROGRAMS: dict[str, click.Command] = {"postroj": cli, autopkgtest.PROGRAM: autopkgtest.serve}
"""What postroj installs."""
FAMILIES = ("apt", "dnf", "zypper", "pacman")


class Help(SphinxDirective):
    """``.. postroj-help:: [COMMAND]...``: the output of ``postroj COMMAND --help``.

    Or that of another program, by its name.
    """

    optional_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Render the help text with click."""
        program, *names = self.arguments or ["postroj"]
        command = PROGRAMS.get(program, cli)
        if program not in PROGRAMS:
            program, names = "postroj", self.arguments
        settings = command.context_settings
        context = click.Context(command, info_name=program, terminal_width=COLUMNS, **settings)
        for name in names:
            found = command.get_command(context, name) if isinstance(command, click.Group) else None
            if found is None:
                message = f"there is no command '{name}'"
                raise self.error(message)
            command = found
            context = click.Context(command, info_name=name, parent=context, terminal_width=COLUMNS)
        text = command.get_help(context)
        return [nodes.literal_block(text, text, language="none")]


class Table(SphinxDirective):
    """A table of facts from the code."""

    headings: ClassVar[Sequence[str]]

    def rows(self) -> Iterable[Sequence[str]]:
        """Return the rows; each cell is one line of reStructuredText."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Write a list-table and parse it."""
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in (self.headings, *self.rows()):
            first, *rest = row
            lines += [f"   * - {first}", *(f"     - {cell}" for cell in rest)]
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, source=self.name), self.content_offset, parent)
        return parent.children


class Images(Table):
    """``.. postroj-images:: [MANAGER]``: the images of the catalog with a package manager."""

    optional_arguments = 1
    headings = ("Image", "Other names", "End of life", "systemd", "Sources", "Architectures")

    def rows(self) -> Iterable[Sequence[str]]:
        """Read the catalog."""
        manager = self.arguments[0] if self.arguments else None
        for entry in catalog.shipped():
            if entry.manager == manager and not entry.unbootable:
                sources = [f"{source.kind} ({source.verification})" for source in entry.sources]
                yield (
                    f"``{entry.name}``",
                    _literals(entry.aliases) or "\\",
                    entry.end_of_life.isoformat() if entry.end_of_life else "not known",
                    str(entry.systemd or "changes"),
                    ", ".join(dict.fromkeys(sources)),
                    _literals(entry.architectures),
                )


class Unbootable(Table):
    """``.. postroj-unbootable::``: the names without an image, and the reason."""

    headings = ("Name", "Distribution", "Why it cannot be booted")

    def rows(self) -> Iterable[Sequence[str]]:
        """Read the catalog."""
        for entry in catalog.shipped():
            if entry.unbootable:
                yield f"``{entry.name}``", entry.title, entry.unbootable


class Keys(Table):
    """``.. postroj-keys::``: the public keys that postroj ships."""

    headings = ("Key", "Signs", "Fingerprints", "Valid until", "Taken from")

    def rows(self) -> Iterable[Sequence[str]]:
        """Read the file of their origins."""
        written = tomllib.loads((KEYS / "origin.toml").read_text("utf-8"))
        for name, key in written.items():
            yield (
                f"``{name}``",
                key["signs"],
                _literals(key["fingerprints"]),
                str(key.get("expires", "for ever")),
                key["origin"],
            )


class KeysOfProject(Table):
    """``.. postroj-keys-of-project:: project|package|check|expect``: keys of a project file."""

    required_arguments = 1
    headings = ("Key", "Takes", "Meaning")

    def rows(self) -> Iterable[Sequence[str]]:
        """Read the keys from the reader of the file."""
        tables = {
            "project": KEYS_OF_PROJECT,
            PACKAGE: PACKAGE_KEYS,
            CHECK: CHECK_KEYS,
            EXPECT: EXPECT_KEYS,
        }
        for key in tables[self.arguments[0]]:
            form = f"{key.form}: {_literals(key.choices)}" if key.choices else key.form
            yield f"``{key.name}``", form, key.text.replace("`", "``")


class Requirements(Table):
    """``.. postroj-requirements::``: the requirements of `postroj doctor` and their packages."""

    headings = ("What", "Why", "Needed for", "Package")

    def rows(self) -> Iterable[Sequence[str]]:
        """Read the table of doctor."""
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


class Action(Table):
    """``.. postroj-action::``: the inputs of the GitHub action."""

    headings = ("Input", "What", "Without it")

    def rows(self) -> Iterable[Sequence[str]]:
        """Read action.yml."""
        file = Path(__file__).parents[1] / "action.yml"
        self.env.note_dependency(str(file))
        for name, given in yaml.safe_load(file.read_text("utf-8"))["inputs"].items():
            text = given["description"].replace("`", "``")
            yield f"``{name}``", text, f"``{given['default']}``" if given["default"] else "\\"


class Workflow(SphinxDirective):
    """``.. postroj-workflow:: FILE``: a workflow of GitHub, in which the action has its address.

    The file itself has ``./``, as in the repository of the action.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read the file."""
        relative, file = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        text = Path(file).read_text("utf-8").replace("uses: ./\n", f"uses: {ACTION}\n")
        return [nodes.literal_block(text, text, language="yaml")]


class RenderedReport(SphinxDirective):
    """``.. postroj-report:: KIND``: the JSON report of the reference, in another format.

    Discoveries are left out.
    """

    required_arguments = 1
    renderers: ClassVar = {
        "junit": (junit.render, "xml"),
        "tap": (tap.render, "none"),
        "commands": (github.commands, "none"),
        "summary": (github.summary, "none"),
    }

    def run(self) -> list[nodes.Node]:
        """Read the JSON and render it."""
        file = Path(__file__).parent / "reference" / "report.json"
        self.env.note_dependency(str(file))
        read = json.loads(file.read_text("utf-8"))
        host = Host(**{HOST_KEYS.get(key, key): value for key, value in read["host"].items()})
        report = Report(
            probes=tuple(map(_probe, read["probes"])),
            date=read["date"],
            version=read["version"],
            host=host,
        )
        render, language = self.renderers[self.arguments[0]]
        text = render(report)
        return [nodes.literal_block(text, text, language=language)]


HOST_KEYS = {"root": "is_root"}
PROBE_KEYS = (
    *("image", "package", "reason", "hint", "timings"),
    *("date", "architecture", "image_digest"),
)


def _probe(read: dict[str, Any]) -> ProbeResult:
    steps = tuple(map(_step, read["steps"]))
    packages = tuple(Package(**package) for package in read["packages"])
    return ProbeResult(**{key: read[key] for key in PROBE_KEYS}, packages=packages, steps=steps)


def _step(read: dict[str, Any]) -> StepResult:
    return StepResult(
        name=StepName(read["name"]),
        done=Outcome(read["done"]),
        reason=read["reason"],
        hint=read["hint"],
        seconds=read["seconds"],
        checks=tuple(map(_check, read["checks"])),
    )


def _check(read: dict[str, Any]) -> CheckResult:
    return CheckResult(
        kind=CheckKind(read["kind"]),
        subject=read["subject"],
        outcome=Outcome(read["outcome"]),
        reason=read["reason"],
        seconds=read["seconds"],
        discovered=read["discovered"],
    )


class Masked(SphinxDirective):
    """``.. postroj-masked::``: the units that are masked in a guest."""

    def run(self) -> list[nodes.Node]:
        """Read the list of masked units."""
        text = "\n".join(MASKED)
        return [nodes.literal_block(text, text, language="none")]


def _literals(words: Iterable[str]) -> str:
    return ", ".join(f"``{word}``" for word in words)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("postroj-help", Help)
    app.add_directive("postroj-images", Images)
    app.add_directive("postroj-unbootable", Unbootable)
    app.add_directive("postroj-keys", Keys)
    app.add_directive("postroj-action", Action)
    app.add_directive("postroj-workflow", Workflow)
    app.add_directive("postroj-keys-of-project", KeysOfProject)
    app.add_directive("postroj-report", RenderedReport)
    app.add_directive("postroj-requirements", Requirements)
    app.add_directive("postroj-masked", Masked)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
