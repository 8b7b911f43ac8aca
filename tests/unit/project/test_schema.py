"""The schema for editors says what the reader says, and both say what the command line has."""

from __future__ import annotations

import tomllib
from datetime import date
from typing import TYPE_CHECKING, Any

import click
import pytest
from jsonschema import Draft7Validator

from postroj.cli.commands.pkgprobe import pkgprobe
from postroj.errors import UsageError
from postroj.project import project_file
from postroj.project.keys import KEYS, Form, Key
from postroj.project.reader import read
from postroj.project.schema import document
from tests.unit.project.test_reader import EXPECT, PACKAGES, WHOLE

if TYPE_CHECKING:
    from pathlib import Path

VALUES: tuple[Any, ...] = (
    *("x", "", "all", "none", "install", [], ["x"], ["install", "purge"], [""], ["x", 1], {}),
    *(True, 0, 1, -1, 0.5, -0.5),
)


def as_json(value: Any) -> Any:
    """Convert dates to text, as editors do for a schema."""
    match value:
        case dict():
            return {name: as_json(inner) for name, inner in value.items()}
        case list():
            return [as_json(inner) for inner in value]
        case date():
            return value.isoformat()
        case _:
            return value


def written(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{}"
        case _:
            return repr(value)


def test_schema_is_valid() -> None:
    Draft7Validator.check_schema(document())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_reader_and_schema_agree(key: Key, value: Any, tmp_path: Path) -> None:
    file = tmp_path / "postroj.toml"
    file.write_text(f"{key.name} = {written(value)}\n")
    valid = Draft7Validator(document()).is_valid({key.name: value})
    try:
        read(project_file.named(file), date(2026, 11, 21))
    except UsageError:
        assert not valid
    else:
        assert valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (WHOLE, True),
        (EXPECT, True),
        (EXPECT + "x = 1", False),
        (EXPECT.replace("fail", "pass"), False),
        (EXPECT.replace('reason = "x"', ""), False),
        (EXPECT.replace("until = 2027-01-01", ""), False),
        ("images = 'x'", False),
        (PACKAGES, True),
        (PACKAGES + "x = 1", False),
        (PACKAGES.replace("file", "image"), False),
        ("package = [{file = 'a'}, 'b']", False),
        ("[[check]]\nuser = 'x'\n[[check]]\nfile = '/x'\nowner = 'y'\n", True),
        ("[[check]]\nuser = 'x'\nowner = 'y'\n", False),
        ("[[check]]\nstep = 'install'\n", False),
        ("[[check]]\nnetwork = 'http://x/'\nstatus = 99\n", False),
    ],
)
def test_reader_and_schema_agree_on_whole_files(text: str, valid: bool) -> None:
    found = as_json(tomllib.loads(text))
    assert Draft7Validator(document()).is_valid(found) is valid


def option(key: Key) -> click.Option | None:
    for param in pkgprobe.params:
        if isinstance(param, click.Option) and f"--{key.name}" in param.opts:
            return param
    return None


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_has_an_option_of_its_name(key: Key) -> None:
    found = option(key)
    if found is None:
        assert key.name == "setup"
        return
    if key.form is Form.TEXTS:
        assert found.multiple or key.name == "steps"
        return
    assert not found.multiple
    if key.choices:
        assert isinstance(found.type, click.Choice)
        assert tuple(found.type.choices) == tuple(map(str, key.choices))
    elif isinstance(found.type, click.FloatRange | click.IntRange):
        least = found.type.min if not found.type.min_open else None
        assert key.least == least
    kinds: dict[Form, str | tuple[str, ...]] = {
        Form.TEXT: ("text", "path"),
        Form.NUMBER: "integer",
        Form.FLAG: "boolean",
        Form.FLAG_OR_TEXTS: "boolean",
        Form.SECONDS: "float",
    }
    if not key.choices:
        assert found.type.name.startswith(kinds[key.form])
