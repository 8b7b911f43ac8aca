"""The catalog: which images there are, by which names, and from which sources.

The data is `catalog.toml`. It is checked as a whole when it is read, so that a mistake in one
entry is met by the first command and not by the one user of that entry.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from postroj.errors import ImageError, UsageError
from postroj.model import Manager, SourceKind, Verification

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One suite of an archive."""

    archive: str
    """Which archive of the distribution: `debian`, `debian-security`."""
    name: str


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """A source: built from the packages of a mirror."""

    kind: ClassVar[SourceKind] = SourceKind.BOOTSTRAP
    verification: ClassVar[Verification] = Verification.SIGNATURE
    suites: tuple[Suite, ...]
    keyring: Path
    keyring_package: str
    packages: tuple[str, ...]


Source = Bootstrap
"""All kinds of sources."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An image that could be had."""

    name: str
    distribution: str
    release: str
    version: str
    """'' where the release has none."""
    title: str
    aliases: tuple[str, ...]
    end_of_life: date | None
    architectures: tuple[str, ...]
    manager: Manager
    systemd: int | None
    sources: tuple[Source, ...]


class _Table:
    """A table of the catalog which is read key by key; what is left over is a mistake."""

    def __init__(self, entry: str, table: dict[str, Any], path: str = "") -> None:
        self.entry = entry
        self.left = dict(table)
        self.path = path

    def refuse(self, key: str, why: str) -> NoReturn:
        """Name the entry and the key that is wrong."""
        message = f"entry '{self.entry}' of the catalog: '{self.path}{key}' {why}"
        raise ImageError(message)

    def take(self, key: str, kind: type[T]) -> T:
        """Return the value of a key, which must be of exactly this type."""
        value = self.maybe(key, kind)
        if value is None:
            self.refuse(key, "is missing")
        return value

    def maybe(self, key: str, kind: type[T]) -> T | None:
        """Return the value of a key that may be left out."""
        value = self.left.pop(key, None)
        # not isinstance: a bool is an int, and a time is a date
        if value is not None and type(value) is not kind:
            self.refuse(key, f"is of type {type(value).__name__}, not {kind.__name__}")
        return value

    def texts(self, key: str, *, empty: bool = False) -> tuple[str, ...]:
        """Return a list of strings."""
        values = self.take(key, list)
        if not all(isinstance(value, str) for value in values):
            self.refuse(key, "holds something else than strings")
        if not (values or empty):
            self.refuse(key, "is empty")
        return tuple(values)

    def tables(self, key: str) -> list[_Table]:
        """Return a list of tables, each of them to be closed."""
        values = self.take(key, list)
        if not values or not all(isinstance(value, dict) for value in values):
            self.refuse(key, "is no list of tables")
        return [
            _Table(self.entry, value, f"{self.path}{key}[{number}].")
            for number, value in enumerate(values)
        ]

    def close(self) -> None:
        """Refuse what nobody asked for."""
        for key in self.left:
            self.refuse(key, "is no key that is known")


def _bootstrap(table: _Table) -> Bootstrap:
    suites = []
    for suite in table.tables("suites"):
        suites.append(Suite(archive=suite.take("archive", str), name=suite.take("name", str)))
        suite.close()
    return Bootstrap(
        suites=tuple(suites),
        keyring=Path(table.take("keyring", str)),
        keyring_package=table.take("keyring_package", str),
        packages=table.texts("packages"),
    )


KINDS = {SourceKind.BOOTSTRAP: _bootstrap}


def _source(table: _Table) -> Source:
    kind = table.take("kind", str)
    if kind not in KINDS:
        table.refuse("kind", f"is '{kind}', not one of {_quoted(KINDS)}")
    source = KINDS[SourceKind(kind)](table)
    table.close()
    return source


def _entry(name: str, table: _Table) -> Entry:
    manager = table.take("manager", str)
    if manager not in list(Manager):
        table.refuse("manager", f"is '{manager}', not one of {_quoted(Manager)}")
    entry = Entry(
        name=name,
        distribution=table.take("distribution", str),
        release=table.take("release", str),
        version=table.maybe("version", str) or "",
        title=table.take("title", str),
        aliases=table.texts("aliases", empty=True),
        end_of_life=table.maybe("end_of_life", date),
        architectures=table.texts("architectures"),
        manager=Manager(manager),
        systemd=table.maybe("systemd", int),
        sources=tuple(_source(source) for source in table.tables("sources")),
    )
    table.close()
    return entry


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def parse(text: str) -> tuple[Entry, ...]:
    """Read a catalog.

    :raises ImageError: if something is wrong with it, naming the entry and the key.
    """
    entries: list[Entry] = []
    taken: dict[str, str] = {}
    for name, table in tomllib.loads(text).items():
        if not isinstance(table, dict):
            message = f"entry '{name}' of the catalog is no table"
            raise ImageError(message)
        entry = _entry(name, _Table(name, table))
        for alias in (name, *entry.aliases):
            if alias in taken:
                taken_by = taken[alias]
                message = f"entry '{name}' of the catalog: alias '{alias}' is '{taken_by}' already"
                raise ImageError(message)
            taken[alias] = name
        entries.append(entry)
    return tuple(entries)


@cache
def entries() -> tuple[Entry, ...]:
    """Return all images of the catalog, oldest release first."""
    return parse(Path(__file__).with_name("catalog.toml").read_text("utf-8"))


def names() -> list[str]:
    """Return all names, aliases included."""
    return [name for entry in entries() for name in (entry.name, *entry.aliases)]


def find(name: str) -> Entry:
    """Return the image of that name or alias.

    :raises UsageError: if there is none, with the nearest names.
    """
    for entry in entries():
        if name in (entry.name, *entry.aliases):
            return entry
    message = f"no image is named '{name}'"
    raise UsageError(message, hint=_nearest(name))


def matching(patterns: Sequence[str]) -> list[Entry]:
    """Return the images of which a name matches: `debian-*`, or a part of it like `trixie`.

    :raises UsageError: if a pattern matches none.
    """
    found: set[str] = set()
    for pattern in patterns:
        glob = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
        hits = [
            entry
            for entry in entries()
            if any(fnmatchcase(name, glob) for name in (entry.name, *entry.aliases))
        ]
        if not hits:
            message = f"no image matches '{pattern}'"
            raise UsageError(message, hint=_nearest(pattern))
        found.update(entry.name for entry in hits)
    return [entry for entry in entries() if not patterns or entry.name in found]


def _nearest(name: str) -> str:
    """Return a hint with the names that could have been meant."""
    near = [known for known in names() if name in known]
    import difflib

    near = near[:3] or difflib.get_close_matches(name, names(), n=3, cutoff=0.75)
    quoted = " or ".join(f"'{known}'" for known in near)
    meant = f"did you mean {quoted}? " if near else ""
    return f"{meant}`postroj list-images` shows all of them"
