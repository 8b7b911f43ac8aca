"""Find and read the project file, and report its mistakes."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from postroj import paths
from postroj.errors import UsageError
from postroj.project import lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN = "postroj.toml"
SHARED = "pyproject.toml"
TABLE = ("tool", "postroj")
"""Path of the table in a file shared with other tools."""


@dataclass(frozen=True, kw_only=True)
class ProjectFile:
    """A project file and its content."""

    path: Path
    text: str
    table: dict[str, Any]
    """The table with the keys."""
    prefix: lines.KeyPath
    """The path of that table in the file."""

    @property
    def title(self) -> str:
        """Path relative to the working directory."""
        return os.path.relpath(self.path)

    def place(self, path: lines.KeyPath) -> str:
        """Return `FILE:LINE` of a key or table."""
        return f"{self.title}:{lines.line_of(self.text, (*self.prefix, *path))}"

    def refuse(self, path: lines.KeyPath, key: str, why: str, hint: str = "") -> NoReturn:
        """Raise a usage error about the key at `path`."""
        message = f"{self.place(path)}: `{key}`: {why}"
        raise UsageError(message, hint=hint)


def find(folder: Path) -> ProjectFile | None:
    """Return the nearest project file: in a folder, or above it within the same git checkout.

    :raises UsageError: if it cannot be read, is not TOML, or is not trusted.
    """
    for place in _upward(folder):
        for name in (OWN, SHARED):
            file = place / name
            if os.path.isfile(file) and (found := _read_keys(file)):  # noqa: PTH113 as below
                _trust(found)
                return found
    return None


def named(file: Path) -> ProjectFile:
    """Return the project file of a given path.

    :raises UsageError: if it cannot be read, is not TOML, or has no table `tool.postroj`.
    """
    if found := _read_keys(file.parent.resolve() / file.name):
        return found
    message = f"'{file}' has no table `{'.'.join(TABLE)}`"
    raise UsageError(message)


def _upward(folder: Path) -> Iterator[Path]:
    """Yield a folder and its parents up to the root of the checkout; outside one, only itself."""
    above = [folder, *folder.parents]
    for count, place in enumerate(above, start=1):
        if os.path.exists(place / ".git"):  # noqa: PTH110 False without access
            yield from above[:count]
            return
    yield folder


def _read_keys(file: Path) -> ProjectFile | None:
    """Read a file; return None for a pyproject.toml without our table."""
    text = _read(file)
    shared = file.name == SHARED
    if shared and TABLE[-1] not in text:
        return None
    table = _parse(text, os.path.relpath(file))
    for name in TABLE if shared else ():
        table = table.get(name, {})
        if not isinstance(table, dict):
            return None
    if shared and not table:
        return None
    return ProjectFile(path=file, text=text, table=table, prefix=TABLE if shared else ())


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"'{os.path.relpath(file)}' cannot be read"
        raise UsageError(message, evidence=str(error)) from None


def _parse(text: str, title: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = str(error)
        found = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", why, re.DOTALL)
        line = found[2] if found else len(text.split("\n"))
        message = f"{title}:{line}: invalid TOML: {found[1] if found else why}"
        raise UsageError(message) from None


def _trust(file: ProjectFile) -> None:
    """Refuse the file of another user, since it controls what root does.

    :raises UsageError: if the file is refused.
    """
    if not paths.is_ours(file.path):
        message = f"'{file.title}' belongs to another user"
        hint = f"`--project {file.title}` uses it anyway, `--no-project` ignores it"
        raise UsageError(message, hint=hint)
