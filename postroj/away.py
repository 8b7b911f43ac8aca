"""The machine on which a command was typed, while postroj carries it out on another (`--host`).

That machine's files lie here below one folder, each at its own path, and the working directory is
the copy of the user's. So relative paths mean the same on both; absolute ones are converted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Home:
    """The user's own machine."""

    root: str
    """The folder with its files."""
    host: str
    """The name of this machine there, as `--host` takes it."""
    windows: bool = False
    """Whether its paths are those of Windows."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Its environment variables that the command copies into a guest."""


_homes: list[Home] = []
"""The home of this process, if it has one."""


def set_home(home: Home) -> None:
    """Carry out a command for another machine, from now on."""
    _homes[:] = [home]


def home() -> Home | None:
    """Return the user's own machine; None if it is this one."""
    return _homes[0] if _homes else None


def mirrored(path: str, *, windows: bool) -> str:
    r"""Return an absolute path as one of POSIX: `C:\dist` of Windows is `/C/dist`."""
    if not windows:
        return path
    parts = PureWindowsPath(path)
    drive = parts.drive.replace(":", "").strip("\\").replace("\\", "/")
    return "/".join(["", *filter(None, [drive]), *parts.parts[1 if parts.anchor else 0 :]])


def here(text: str) -> str:
    """Return the path on this machine for a path that the user gave."""
    if not (away := home()):
        return text
    if away.windows:
        path = PureWindowsPath(text)
        if not path.is_absolute():
            return path.as_posix()
    elif not os.path.isabs(text):  # noqa: PTH117 keeps a trailing slash
        return text
    return away.root + mirrored(text, windows=away.windows)


def there(path: str | Path) -> str:
    """Return the user's path for a path on this machine."""
    text = str(path)
    away = home()
    is_theirs = away and text.startswith(f"{away.root}/")
    return text.removeprefix(away.root) if away and is_theirs else text


def as_seen(text: str) -> str:
    """Return a text in which all paths are the user's."""
    away = home()
    return text.replace(away.root, "") if away else text


def variable(name: str) -> str | None:
    """Return an environment variable of the user's shell; None if it is not set."""
    away = home()
    return away.variables.get(name) if away else os.environ.get(name)
