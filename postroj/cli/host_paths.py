"""Types of arguments that name files, and so tell what `--host` carries to the other machine.

Every argument with a path has one of these types. On the other machine they convert the user's
paths to those of the copies there (`postroj.away`).
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from postroj import away

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

    ParamType = click.ParamType[Any, Any]
else:
    ParamType = click.ParamType  # older versions of click have no parameters of types


class Way(Enum):
    """Which way a file goes."""

    IN = "read"
    OUT = "written"
    BOTH = "read, and perhaps written"


class Form(Enum):
    """What is carried."""

    FILE = "a file"
    PACKAGES = "packages: files, patterns, folders and .changes files"
    PATTERN = "a file; in a project file also a pattern"
    PROJECT = "a project file, with the files that it names"
    FOLDER = "a folder of files"
    SOURCE = "a file, or a folder with its owners and links"
    COPY = "a file, link or folder with its owners"


BUILT = "dist"
"""The folder in which builds leave packages."""
CONTRACT_NAME = "postroj.toml"
"""The project file that `postroj init` writes."""

Parts = tuple[str, str, str]
"""What stands before a path, the path, and what stands behind it; the path is '' if there is none.
"""


def whole(text: str) -> Parts:
    """Split a value that is nothing but a path; `-` is a standard stream."""
    return (text, "", "") if text == "-" else ("", text, "")


def not_url(text: str) -> Parts:
    """Split a path or a URL."""
    return (text, "", "") if "://" in text else ("", text, "")


def not_repository(text: str) -> Parts:
    """Split a path, a URL or `repo`."""
    from postroj.probe.course import REPOSITORY

    return (text, "", "") if text == REPOSITORY else not_url(text)


def put(text: str) -> Parts:
    """Split the value of `--put`."""
    from postroj.project.keys import LATE

    late = LATE if text.startswith(LATE) else ""
    name, colon, path = text.removeprefix(LATE).rpartition(":/")
    return late, name, colon + path


def report(text: str) -> Parts:
    """Split the value of `--report`."""
    kind, equals, name = text.partition("=")
    if not equals:  # the suffix of a file tells the kind, and `github` is not a file
        return ("", text, "") if "." in text else (text, "", "")
    return (text, "", "") if name == "-" else (f"{kind}=", name, "")


def place(text: str) -> Parts:
    """Split a path in a guest or on this host, as `postroj cp` takes it."""
    from postroj.transfer.copy import place as place_of

    return (text, "", "") if place_of(text).guest else whole(text)


def lock_name() -> str:
    """Return the name of the lock file, whether it exists or not."""
    from postroj import paths

    return os.environ.get("POSTROJ_LOCK") or paths.LOCK_NAME


def built() -> str:
    """Return the folder in which builds leave packages, if there is one."""
    return BUILT if Path(BUILT).is_dir() else ""


class HostPath(ParamType):
    """A value with the path of a file that `--host` carries."""

    name = "path"

    def __init__(
        self,
        way: Way,
        form: Form = Form.FILE,
        split: Callable[[str], Parts] = whole,
        inner: ParamType | None = None,
        usual: Callable[[], str] = str,
    ) -> None:
        self.way, self.form, self.split = way, form, split
        self.inner = inner
        """Converts the value once its path is one of this machine."""
        self.usual = usual
        """Returns what is meant without a value; '' is nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the user's path to one of this machine."""
        if isinstance(value, str):
            before, path, behind = self.split(value)
            value = before + (path and away.here(path)) + behind
        return self.inner.convert(value, param, ctx) if self.inner else value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete a file or folder."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class OtherPath(ParamType):
    """A value with a path that stays what it is: on the machine with the guests, or in a guest."""

    name = "path"


class SharedPath(OtherPath):
    """A folder of the machine with the guests, which is mounted in a guest."""


class Variable(ParamType):
    """A variable of the guest, which can be copied from the user's shell."""

    name = "text"


PACKAGE = HostPath(Way.IN, Form.PATTERN, not_url)
PACKAGES = HostPath(Way.IN, Form.PACKAGES, not_url)
OLDER = HostPath(Way.IN, Form.PATTERN, not_repository)
PUT = HostPath(Way.IN, split=put)
PROJECT = HostPath(Way.IN, Form.PROJECT)
CATALOG = HostPath(Way.IN)
GOSS = HostPath(Way.IN)
LOCK = HostPath(Way.IN)
REPORT = HostPath(Way.OUT, split=report)
REPORTS = HostPath(Way.IN, Form.PATTERN)
PAGE = HostPath(Way.OUT)
ARTIFACTS = HostPath(Way.OUT, Form.FOLDER)
SOURCE = HostPath(Way.IN, Form.SOURCE, not_url)
COPIED = HostPath(Way.IN, Form.COPY, place)
COPY = HostPath(Way.OUT, Form.COPY, place)
EXPORTED = HostPath(Way.OUT, inner=click.Path(path_type=Path))
LOCKED = HostPath(Way.BOTH, inner=click.Path(dir_okay=False, path_type=Path), usual=lock_name)
SURVEYED = HostPath(Way.IN, Form.PACKAGES, not_url, usual=built)
CONTRACT = HostPath(Way.OUT, inner=click.Path(path_type=Path), usual=lambda: CONTRACT_NAME)
IN_GUEST = OtherPath()
SHARED = SharedPath()
VARIABLE = Variable()
