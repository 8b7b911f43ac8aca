"""Parse a catalog from TOML and report every mistake by file, entry and key.

The head of `catalog.toml` explains the keys. The whole catalog is checked whenever it is read, so
that any command reports a mistake, not only the first use of the wrong entry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urljoin

from postroj.errors import ImageError
from postroj.image import architectures
from postroj.image.catalog.entry import (
    Bootstrap,
    Entry,
    Oci,
    Simplestreams,
    Suite,
    Tarball,
)
from postroj.image.trust.keyring import KEYS
from postroj.model import SHA256, Manager, SourceKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from postroj.image.catalog.entry import Source

LINUXCONTAINERS = "https://images.linuxcontainers.org"
LINUXCONTAINERS_KEY = "linuxcontainers.asc"
"""The simplestreams server of most distributions, and the key of its index."""

NAME = r"[a-z0-9][a-z0-9.-]*"
NAME_FORM = "made of lower-case letters, digits, '-' and '.'"
"""Form of names and aliases, which become parts of file names."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The catalog that is being read."""

    title: str
    """As in "entry ... of TITLE"."""
    folder: Path
    """Base of relative paths."""
    shipped: bool = False


T = TypeVar("T")


class _Table:
    """A TOML table that is read key by key; keys that remain are mistakes."""

    def __init__(self, origin: Origin, entry: str, table: dict[str, Any], path: str = "") -> None:
        self.origin = origin
        self.entry = entry
        self.left = dict(table)
        self.path = path

    def refuse(self, key: str, why: str) -> NoReturn:
        """Raise an error that names entry and key."""
        message = f"entry '{self.entry}' of {self.origin.title}: '{self.path}{key}' {why}"
        raise ImageError(message)

    def take(self, key: str, kind: type[T]) -> T:
        """Return the value of a required key of exactly this type."""
        value = self.maybe(key, kind)
        if value is None:
            self.refuse(key, "is missing")
        return value

    def maybe(self, key: str, kind: type[T]) -> T | None:
        """Return the value of an optional key; None if it is missing."""
        value = self.left.pop(key, None)
        # Not isinstance, since a bool is an int, and a datetime is a date.
        if value is not None and type(value) is not kind:
            self.refuse(key, f"is of type {type(value).__name__}, not {kind.__name__}")
        return value

    def texts(self, key: str, *, empty: bool = False) -> tuple[str, ...]:
        """Return a list of strings; optional if it may be empty."""
        values = (self.maybe(key, list) or []) if empty else self.take(key, list)
        if not all(isinstance(value, str) for value in values):
            self.refuse(key, "contains values that are not strings")
        if not (values or empty):
            self.refuse(key, "is empty")
        return tuple(values)

    def tables(self, key: str) -> list[_Table]:
        """Return a list of tables; the caller closes each of them."""
        values = self.take(key, list)
        if not values or not all(isinstance(value, dict) for value in values):
            self.refuse(key, "is not a list of tables")
        return [
            _Table(self.origin, self.entry, value, f"{self.path}{key}[{number}].")
            for number, value in enumerate(values)
        ]

    def close(self) -> None:
        """Refuse unknown keys."""
        for key in self.left:
            self.refuse(key, "is not a known key")


def _bootstrap(table: _Table) -> Bootstrap:
    suites = []
    for text in table.texts("suites"):
        archive, _, name = text.partition(" ")
        if not re.fullmatch(r"[a-z-]+ [a-z][a-z0-9.-]*", text):
            table.refuse("suites", f"has '{text}', which is not 'ARCHIVE SUITE'")
        suites.append(Suite(archive=archive, name=name))
    keyring = table.origin.folder / table.take("keyring", str)
    return Bootstrap(
        suites=tuple(suites),
        components=table.texts("components", empty=True) or ("main",),
        keyring=keyring,
        keyring_package=table.maybe("keyring_package", str) or keyring.stem,
        architectures=_architectures(table),
    )


def _archived_mirrors(table: _Table, source: Bootstrap) -> dict[str, str]:
    """Return the URI of each archive of a release that has ended; empty if none is given.

    `{distribution}` stands for the name of the entry up to its release.
    """
    family = table.entry.partition("-")[0]
    given = table.maybe("archived", dict) or {}
    named = {key: str(uri).replace("{distribution}", family) for key, uri in given.items()}
    uris = _Table(table.origin, table.entry, named, table.path)
    uris.path += "archived."
    mirrors = {archive: _url(uris, archive).rstrip("/") for archive in tuple(uris.left)}
    for suite in source.suites if mirrors else ():
        if suite.archive not in mirrors:
            table.refuse("archived", f"lacks '{suite.archive}'")
    return mirrors


def _simplestreams(table: _Table) -> Simplestreams:
    server = _url(table, "server", needed=False)
    key = _key(table)
    if not server:
        server, key = LINUXCONTAINERS, key or LINUXCONTAINERS_KEY
    return Simplestreams(
        server=server.rstrip("/"),
        product=table.take("product", str),
        key=key,
        architectures=_architectures(table),
    )


def _tarball(table: _Table) -> Tarball:
    sha256 = table.maybe("sha256", str) or ""
    if sha256 and not SHA256.fullmatch(sha256):
        table.refuse("sha256", "is not a SHA-256 of 64 lower-case hex digits")
    url = _url(table, "url")
    tarball = Tarball(
        url=url,
        sha256=sha256,
        checksums=_url(table, "checksums", url, needed=False),
        signature=_url(table, "signature", url, needed=False),
        key=_key(table),
        subtree=table.maybe("subtree", str) or "",
        architectures=_architectures(table),
    )
    if bool(tarball.key) != bool(tarball.signature or (tarball.key and tarball.checksums)):
        table.refuse("key", "and a signature require each other")
    if "*" in tarball.url and not ("*" in tarball.url.rpartition("/")[2] and tarball.checksums):
        table.refuse("url", "has a '*' but no checksum file to resolve it")
    return tarball


def _oci(table: _Table) -> Oci:
    reference = table.take("reference", str)
    if not re.fullmatch(r"[^/\s]+\.[^/\s]+/\S+[:@]\S+", reference):
        table.refuse("reference", "is not 'REGISTRY/REPOSITORY:TAG'")
    return Oci(reference=reference, architectures=_architectures(table))


def _architectures(table: _Table, *, empty: bool = True) -> tuple[str, ...]:
    names = table.texts("architectures", empty=empty)
    for name in names:
        if name not in architectures.DEBIAN:
            table.refuse(
                "architectures", f"has '{name}', not one of {_quoted(architectures.DEBIAN)}"
            )
    return names


def _key(table: _Table) -> str:
    """Return the key of a source: the name of a shipped one, or a path."""
    key = table.maybe("key", str) or ""
    if not key:
        return ""
    own = table.origin.folder / key
    if not table.origin.shipped and own.exists():
        return str(own)
    if not (KEYS / key).exists():
        table.refuse("key", f"names '{own}', which does not exist")
    return key


def _url(table: _Table, key: str, base: str = "", *, needed: bool = True) -> str:
    """Return a URL, which may be relative to `base`."""
    text = table.take(key, str) if needed else table.maybe(key, str) or ""
    url = urljoin(base, text) if text else ""
    if (needed or url) and not re.match(r"https?://[^/\s@]+/?\S*$", url):
        table.refuse(key, "is not an http or https URL")
    return url


KINDS: dict[str, Callable[[_Table], Source]] = {
    SourceKind.BOOTSTRAP: _bootstrap,
    SourceKind.SIMPLESTREAMS: _simplestreams,
    SourceKind.TARBALL: _tarball,
    SourceKind.OCI: _oci,
}


def _sources(table: _Table) -> Iterator[Source]:
    """Yield the source in a table, and that of the archive if it names one."""
    given = dict(table.left)
    kind = table.take("kind", str)
    if kind not in KINDS:
        table.refuse("kind", f"is '{kind}', not one of {_quoted(KINDS)}")
    source = KINDS[kind](table)
    yield source
    if isinstance(source, Bootstrap) and (mirrors := _archived_mirrors(table, source)):
        yield replace(source, mirrors=mirrors)
    if isinstance(source, Tarball) and (url := _url(table, "archived", needed=False)):
        moved = _Table(table.origin, table.entry, {**given, "url": url}, table.path)
        yield replace(_tarball(moved), archived=True)
    table.close()


def _entry(name: str, table: _Table) -> Entry:
    if not re.fullmatch(NAME, name):
        message = f"entry '{name}' of {table.origin.title}: the name is not {NAME_FORM}"
        raise ImageError(message)
    manager = table.maybe("manager", str)
    if manager is not None and manager not in list(Manager):
        table.refuse("manager", f"is '{manager}', not one of {_quoted(Manager)}")
    unbootable = table.maybe("unbootable", str) or ""
    sources = [] if unbootable else table.tables("sources")
    entry = Entry(
        name=name,
        distribution=table.take("distribution", str),
        release=(table.maybe("release", str) or "") if unbootable else table.take("release", str),
        version=table.maybe("version", str) or "",
        title=table.take("title", str),
        aliases=_aliases(table),
        end_of_life=table.maybe("end_of_life", date),
        architectures=_architectures(table, empty=bool(unbootable)),
        manager=Manager(manager) if manager else None,
        systemd=table.maybe("systemd", int),
        packages=table.texts("packages", empty=True),
        repositories=table.texts("repositories", empty=True),
        sources=tuple(source for table in sources for source in _sources(table)),
        unbootable=unbootable,
    )
    table.close()
    return entry


def _aliases(table: _Table) -> tuple[str, ...]:
    aliases = table.texts("aliases", empty=True)
    for alias in aliases:
        if not re.fullmatch(NAME, alias):
            table.refuse("aliases", f"has '{alias}', which is not {NAME_FORM}")
    return aliases


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def parse(text: str, origin: Origin) -> dict[str, Entry]:
    """Parse a catalog into entries by name, in the order of the file.

    :raises ImageError: if the catalog is invalid; names file, entry and key.
    """
    import tomllib  # imported late, because most commands read no catalog

    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{origin.title} is not TOML"
        raise ImageError(message, evidence=str(error)) from None
    found = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            message = f"entry '{name}' of {origin.title} is not a table"
            raise ImageError(message)
        found[name] = _entry(name, _Table(origin, name, table))
    return found
