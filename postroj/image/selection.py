"""Which images are meant: by names, by patterns such as `debian-*`, or by none at all."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import chain
from typing import TYPE_CHECKING

from postroj.errors import UsageError
from postroj.image.architectures import of_this_host
from postroj.image.catalog import catalog
from postroj.image.store import store
from postroj.model import Manager

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from postroj.image.catalog.entry import Entry
    from postroj.image.store.record import Record

log = logging.getLogger(__name__)

DEFAULT = "debian-stable"
"""What is meant where nothing is given, and nothing is cached."""


def is_pattern(text: str) -> bool:
    """Whether it stands for any number of images, and not for one."""
    return bool(set(text) & set("*?["))


def check(wanted: Iterable[str], machine: str = "") -> None:
    """Make sure that every name and every pattern stands for something.

    :raises UsageError: if one does not.
    """
    machine = machine or of_this_host()
    for text in wanted:
        _names(text, tuple(Manager), machine, _imported(machine))


def choose(wanted: Sequence[str], managers: Collection[Manager], machine: str = "") -> list[str]:
    """Return the names of the images that are wanted, each once, in the order in which they are.

    A pattern stands for those that get updates, are there for the architecture `machine`, or this
    host's, and have one of the package managers. Nothing at all stands for those of them that are
    cached, if any.

    :raises UsageError: if there is no such image.
    """
    machine = machine or of_this_host()
    if not wanted:
        return _cached(managers, machine)
    return _each_once(wanted, managers, machine, _imported(machine))


def choose_from_catalog(
    wanted: Sequence[str], managers: Collection[Manager], architecture: str
) -> list[str]:
    """Return the names of the images that are wanted on other hosts, of some architecture.

    As `choose`, but of the catalog, whatever is cached here: nothing at all stands for all images
    that fit.

    :raises UsageError: if there is no such image.
    """
    return _each_once(wanted or ["*"], managers, architecture, ())


def _each_once(
    wanted: Sequence[str],
    managers: Collection[Manager],
    architecture: str,
    imported: Sequence[Record],
) -> list[str]:
    found = [_names(text, managers, architecture, imported) for text in wanted]
    return list(dict.fromkeys(chain.from_iterable(found)))


def names_matching(text: str) -> list[str]:
    """Return the names of all images that a name or a pattern stands for, supported or not.

    :raises UsageError: if there is none.
    """
    known = catalog.names()
    imported = [r.name for r in _records(of_this_host()) if r.name not in known]
    own = [name for name in imported if fnmatchcase(name, text.lower())]
    try:
        entries = catalog.matching([text]) if is_pattern(text) else [catalog.find(text)]
    except UsageError:
        if not own:
            raise
        entries = []
    return [*own, *(entry.name for entry in entries)]


def _cached(managers: Collection[Manager], machine: str) -> list[str]:
    cached = {record.name for record in _records(machine)}
    fit = _fit(catalog.entries(), managers, machine)
    names = [entry.name for entry in fit if entry.name in cached]
    if not names:
        return [catalog.find(DEFAULT).name]
    log.info("no `--image` is given, these are cached and fit: %s", ", ".join(names))
    return names


def _names(
    text: str, managers: Collection[Manager], architecture: str, imported: Sequence[Record]
) -> list[str]:
    """Return what a name or a pattern stands for."""
    if not is_pattern(text):
        named = [record.name for record in imported if record.name == text]
        return named or [catalog.find(text).name]
    own = [record for record in imported if fnmatchcase(record.name, text.lower())]
    try:
        entries = catalog.matching([text])
    except UsageError:
        if not own:
            raise
        entries = []
    names = [entry.name for entry in _fit(entries, managers, architecture)]
    names += [record.name for record in own if record.manager in managers]
    if not names:
        hint = "a name in full stands for its image, whatever it is"
        message = f"'{text}' matches no image that is supported here and installs such a package"
        raise UsageError(message, hint=hint)
    return names


def _fit(entries: Iterable[Entry], managers: Collection[Manager], architecture: str) -> list[Entry]:
    today = datetime.now(UTC).date()
    return [
        entry
        for entry in entries
        if entry.manager in managers and entry.is_supported(architecture, today)
    ]


def _imported(machine: str) -> list[Record]:
    """Return the records of what is cached under names that are not in the catalog."""
    known = catalog.names()
    return [record for record in _records(machine) if record.name not in known]


def _records(machine: str) -> list[Record]:
    """Return the records of what is cached for an architecture."""
    return [record for record in store.records() if record.architecture == machine]
