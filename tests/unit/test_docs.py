"""Command lines of the documentation parse, and the files that it includes are valid."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from datetime import date
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import click
import pytest
from yaml import safe_load

from postroj import console
from postroj.cli import cli
from postroj.image.catalog import catalog
from postroj.project import project_file, reader
from postroj.project.check_keys import CHECK
from postroj.project.keys import EXPECT, KEYS, PACKAGE
from tests.support.runner import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCS = ROOT / "docs"
EXAMPLES = DOCS / "howto/examples"
PAGES = [ROOT / "README.rst", *sorted(DOCS.glob("*.rst")), *sorted(DOCS.glob("*/*.rst"))]
FILES = sorted(path for path in EXAMPLES.rglob("*") if path.is_file())
SCRIPTS = ("run", "script", "before_script")
"""Keys of workflows and pipelines whose values are shell."""
OWN = re.compile(r"(my|company)-[\w.-]+|.*[$}].*")
"""Images that nobody but the reader has, and variables."""


def of_page(path: Path) -> Iterator[str]:
    """Yield the shell commands of the examples on a page, each as long as the shell reads on."""
    lines = iter(path.read_text("utf-8").splitlines())
    for line in lines:
        begin, prompt, command = line.partition("$ ")
        if not prompt or begin.strip():
            continue
        while not is_complete(command) and (line := next(lines)).strip():
            command = f"{command.removesuffix(chr(92))} {line.strip()}"
        yield command


def is_complete(command: str) -> bool:
    """Whether a shell would not ask for another line."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def of_file(path: Path) -> Iterator[str]:
    """Yield the shell commands of a workflow or pipeline."""
    if path.suffix in (".yaml", ".yml"):
        yield from _scripts(safe_load(path.read_text("utf-8")))
    elif path.name == "Jenkinsfile":
        yield from re.findall(r"sh '(.*)'", path.read_text("utf-8"))


def _scripts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in SCRIPTS and isinstance(inner, (str, list)):
                lines = [inner] if isinstance(inner, str) else inner
                yield from (one for text in lines for one in text.replace("\\\n", " ").split("\n"))
            else:
                yield from _scripts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _scripts(inner)


def calls(shell: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of postroj in a line of shell."""
    lexer = shlex.shlex(shell.replace("$(", " ; "), posix=True, punctuation_chars=";|&<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";|&<>()"):
            yield from _call(words)
            words = []
        else:
            words.append(word)


def _call(words: list[str]) -> Iterator[list[str]]:
    """Yield the arguments if the command is postroj, perhaps behind sudo, env or a variable."""
    while words and (words[0] in ("sudo", "env") or re.match(r"\w+=|-E$|--preserve", words[0])):
        words = words[1:]
    if words and words[0].rpartition("/")[2] == "postroj":
        yield words[1:]


def parse(argv: list[str]) -> click.Context | None:
    """Parse a command line without running it; None if it only prints help or a version.

    :raises click.UsageError: if it is wrong.
    """
    try:
        context = cli.make_context("postroj", list(argv))
        name, command, rest = cli.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert command and name
        return command.make_context(name, rest, parent=context)
    except click.exceptions.Exit:
        return None


ALL = {
    f"{path.relative_to(ROOT)}: {' '.join(argv)}": argv
    for paths, read in ((PAGES, of_page), (FILES, of_file))
    for path in paths
    for shell in read(path)
    if "postroj" in shell
    for argv in calls(shell)
}


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep options that act while they are parsed from doing so."""
    monkeypatch.setattr(console, "set_up_logging", lambda value: None)
    monkeypatch.setattr("os.environ", {})


@pytest.mark.usefixtures("harmless")
def test_every_command_line_of_the_documentation_parses() -> None:
    wrong = {}
    for place, argv in ALL.items():
        try:
            parse(argv)
        except click.UsageError as error:
            wrong[place] = error.format_message()
    assert len(ALL) > 100
    assert wrong == {}


@pytest.mark.usefixtures("harmless")
def test_every_image_in_a_command_line_of_the_documentation_is_in_the_catalog() -> None:
    unknown = []
    for place, argv in ALL.items():
        context = parse(argv)
        for name in context.params.get("image_names", ()) if context else ():
            known = name in catalog.names() or bool(set(name) & set("*?["))
            if not known and not OWN.fullmatch(name):
                unknown.append(f"{place}: {name}")
    assert unknown == []


def test_every_example_is_on_a_page() -> None:
    text = "".join(path.read_text("utf-8") for path in PAGES)
    included = re.findall(r"(?:literalinclude|postroj-workflow):: examples/(\S+)", text)
    assert sorted(set(included)) == [str(path.relative_to(EXAMPLES)) for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_examples_are_well_formed(path: Path) -> None:
    text = path.read_text("utf-8")
    match path.suffix:
        case ".yaml" | ".yml":
            assert safe_load(text)
        case ".json":
            assert json.loads(text)
        case ".toml":
            assert tomllib.loads(text)
            assert reader.read(project_file.named(path), date(2026, 1, 1)).values
        case ".sh":
            assert text.startswith("#!/bin/sh\n")
        case _:
            assert text.strip()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_project_files_on_a_page_are_valid(path: Path) -> None:
    keys = {key.name for key in KEYS} | {PACKAGE, CHECK, EXPECT}
    blocks = re.findall(r"code-block:: toml\n\n((?: {3,}.*\n|\n)+)", path.read_text("utf-8"))
    for text in map(dedent, blocks):
        table = tomllib.loads(text)
        if table.keys() & keys:
            file = project_file.ProjectFile(path=path, text=text, table=table, prefix=())
            reader.read(file, date(2026, 1, 1))


def test_nothing_has_a_placeholder_for_the_repository() -> None:
    """Its address is `postroj.REPOSITORY`."""
    places = [*PAGES, *FILES, ROOT / "action.yml", DOCS / "conf.py"]
    assert [path for path in places if "OWNER" in path.read_text("utf-8")] == []
