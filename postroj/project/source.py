"""The file itself: where it is looked for, and how its mistakes are told."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from postroj.errors import UsageError
from postroj.project import lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN = "postroj.toml"
SHARED = "pyproject.toml"
TABLE = ("tool", "postroj")
"""Where the keys are in a file that is shared with other tools."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that was read."""

    file: Path
    text: str
    table: dict[str, Any]
    """Of the keys."""
    path: lines.Path
    """Of that table."""

    @property
    def title(self) -> str:
        """The file as seen from the working directory."""
        return os.path.relpath(self.file)

    def place(self, path: lines.Path) -> str:
        """Return `FILE:LINE` of a key, or of a table."""
        return f"{self.title}:{lines.line_of(self.text, (*self.path, *path))}"

    def refuse(self, path: lines.Path, key: str, why: str, hint: str = "") -> NoReturn:
        """Say what is wrong with a key, which is at `path`.

        :raises UsageError: always.
        """
        message = f"{self.place(path)}: `{key}`: {why}"
        raise UsageError(message, hint=hint)


def find(folder: Path) -> Source | None:
    """Return the nearest file: in a folder, or in those above it in the same git checkout.

    :raises UsageError: if it cannot be read, is not TOML, or is not to be trusted.
    """
    for place in _upward(folder):
        for name in (OWN, SHARED):
            file = place / name
            if os.path.isfile(file) and (source := _source(file)):  # noqa: PTH113 as below
                _trust(source)
                return source
    return None


def named(file: Path) -> Source:
    """Return the file that the user named.

    :raises UsageError: if it cannot be read, is not TOML, or has no table of ours.
    """
    if source := _source(file.parent.resolve() / file.name):
        return source
    message = f"'{file}' has no table `{'.'.join(TABLE)}`"
    raise UsageError(message)


def _upward(folder: Path) -> Iterator[Path]:
    """Yield folders up to the root of the checkout; without one, what lies above is not ours."""
    above = [folder, *folder.parents]
    for count, place in enumerate(above, start=1):
        if os.path.exists(place / ".git"):  # noqa: PTH110 a folder that is closed to us has none
            yield from above[:count]
            return
    yield folder


def _source(file: Path) -> Source | None:
    """Read a file; None if it is one that is shared, and has nothing for us."""
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
    return Source(file=file, text=text, table=table, path=TABLE if shared else ())


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
        message = f"{title}:{line}: this is not TOML: {found[1] if found else why}"
        raise UsageError(message) from None


def _trust(source: Source) -> None:
    """Refuse what anybody may have put into a folder such as /tmp: it says what root does.

    :raises UsageError: if another user has.
    """
    ours = {0, os.geteuid(), int(os.environ.get("SUDO_UID") or 0)}
    everybody = source.file.parent.stat().st_mode & stat.S_IWOTH
    if everybody and source.file.lstat().st_uid not in ours:
        message = f"'{source.title}' is another user's, in a folder that everybody may write to"
        hint = f"`--project {source.title}` uses it all the same, `--no-project` does not"
        raise UsageError(message, hint=hint)
