"""Select images by name, by patterns such as `debian-*`, or by default."""

from __future__ import annotations

import logging
from contextlib import suppress
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
"""The image if none is given, and nothing says which would fit."""
DEFAULTS = {
    DEFAULT: {Manager.APT},
    "fedora": {Manager.DNF, Manager.ZYPPER},
    "archlinux": {Manager.PACMAN},
}
"""Images for packages of some package managers, if none is given and none that fits is cached."""

LISTED = "`postroj list-images` shows what `--image` can name"


def is_pattern(text: str) -> bool:
    """Whether the text is a pattern, not the name of one image."""
    return bool(set(text) & set("*?["))


def is_image(name: str) -> bool:
    """Whether a name or alias is in the catalog, or that of a stored image."""
    return name in catalog.names() or any(record.name == name for record in store.records())


def check(wanted: Iterable[str], machine: str = "") -> None:
    """Check that every name and pattern matches an image.

    :raises UsageError: if one does not.
    """
    machine = machine or of_this_host()
    for text in wanted:
        _names(text, tuple(Manager), machine, _imported(machine))


def choose(
    wanted: Sequence[str],
    managers: Collection[Manager],
    machine: str = "",
    homes: Collection[str] = (),
) -> list[str]:
    """Return the names of the selected images, each once, in the order of `wanted`.

    A pattern selects the supported images for the architecture `machine` (by default this host's)
    with one of the package managers. An empty `wanted` selects those of them that are cached, and
    where none of a kind is, one of `DEFAULTS`; if some of `homes` (images for which the packages
    were built) are in the catalog, only them.

    :raises UsageError: if a name or pattern matches nothing, or no image fits.
    """
    machine = machine or of_this_host()
    if not wanted:
        return _defaults(managers, machine, homes)
    return _each_once(wanted, managers, machine, _imported(machine))


def choose_fitting(
    wanted: Sequence[str],
    managers: Collection[Manager],
    machine: str = "",
    homes: Collection[str] = (),
) -> list[str]:
    """Select images as `choose` does, but only those with one of the package managers.

    Thus a name or pattern may match nothing.
    """
    if not wanted:
        return choose((), managers, machine, homes)
    machine = machine or of_this_host()
    imported = _imported(machine)
    own = {record.name: record.manager for record in imported}
    found: list[str] = []
    for text in wanted:
        with suppress(UsageError):
            found += _names(text, managers, machine, imported)
    return [
        name
        for name in dict.fromkeys(found)
        if (own[name] if name in own else catalog.find(name).manager) in managers
    ]


def to_pull(wanted: Sequence[str], architecture: str) -> list[Entry]:
    """Return the images of the catalog that names and patterns select for a pull.

    A pattern selects the supported images for the architecture, whatever their package manager.

    :raises UsageError: if a name or pattern matches nothing.
    """
    today = datetime.now(UTC).date()
    found: list[Entry] = []
    for text in wanted:
        if is_pattern(text):
            matches = catalog.matching([text])
            entries = [entry for entry in matches if entry.is_supported(architecture, today)]
        else:
            entries = [catalog.find(text)]
        if not entries:
            message = f"'{text}' matches no supported image"
            raise UsageError(message, hint="a full name selects any image")
        found += entries
    return list(dict.fromkeys(found))


def choose_from_catalog(
    wanted: Sequence[str], managers: Collection[Manager], architecture: str
) -> list[str]:
    """Select images from the catalog only, whatever is cached here, for hosts of any architecture.

    Of those that `wanted` selects, the ones with one of the package managers remain. An empty
    `wanted` selects all that fit.

    :raises UsageError: if a name or pattern matches nothing, or no image fits.
    """
    if not wanted:
        return all_from_catalog(managers, architecture)
    selected = _each_once(wanted, tuple(Manager), architecture, ())
    names = [name for name in selected if catalog.find(name).manager in managers]
    if not names:
        message = f"{', '.join(wanted)}: no such image can install these packages"
        raise UsageError(message, hint=LISTED)
    return names


def all_from_catalog(
    managers: Collection[Manager], architecture: str, homes: Collection[str] = ()
) -> list[str]:
    """Return all supported images that fit; if some of `homes` are among them, only them.

    :raises UsageError: if no image fits.
    """
    names = [entry.name for entry in _at_home(managers, architecture, homes)]
    if not names:
        message = f"no image of the catalog for {architecture} can install these packages"
        raise UsageError(message, hint=LISTED)
    return names


def defaults_from_catalog(
    managers: Collection[Manager], architecture: str, homes: Collection[str] = ()
) -> list[str]:
    """Return the image that `choose` takes for each kind of package if none is given or cached.

    :raises UsageError: if no image fits.
    """
    names = all_from_catalog(managers, architecture, homes)
    each = (
        [name for name in names if catalog.find(name).manager in able] for able in DEFAULTS.values()
    )
    return [_usual(default, mine) for default, mine in zip(DEFAULTS, each, strict=True) if mine]


def _each_once(
    wanted: Sequence[str],
    managers: Collection[Manager],
    architecture: str,
    imported: Sequence[Record],
) -> list[str]:
    found = [_names(text, managers, architecture, imported) for text in wanted]
    return list(dict.fromkeys(chain.from_iterable(found)))


def names_matching(text: str) -> list[str]:
    """Return the names of all images that match a name or pattern, supported or not.

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


def _defaults(managers: Collection[Manager], machine: str, homes: Collection[str]) -> list[str]:
    """Return the cached images that fit, and a default where none of a kind is cached.

    :raises UsageError: if there is none.
    """
    records = {record.name for record in _records(machine)}
    fit = _at_home(managers, machine, homes)
    names: list[str] = []
    fresh: list[str] = []
    for default, able in DEFAULTS.items():
        mine = [entry.name for entry in fit if entry.manager in able]
        cached = [name for name in mine if name in records]
        names += cached
        if mine and not cached:
            fresh.append(_usual(default, mine))
    if names:
        log.info("no `--image` given, using the cached images that fit: %s", ", ".join(names))
    if fresh:
        log.info("no `--image` given, using %s as none that fits is cached", ", ".join(fresh))
    if names or fresh:
        return names + fresh
    message = f"no `--image` given, and no image of the catalog fits these packages on {machine}"
    raise UsageError(message, hint=LISTED)


def _usual(default: str, names: Sequence[str]) -> str:
    """Return the default if it is one of the names, else the first of them."""
    usual = catalog.find(default).name
    return usual if usual in names else names[0]


def _at_home(
    managers: Collection[Manager], architecture: str, homes: Collection[str]
) -> list[Entry]:
    """Return the supported images of the catalog; if some of `homes` are among them, only them."""
    fit = _fit(catalog.entries(), managers, architecture)
    return [entry for entry in fit if entry.name in homes] or fit


def _names(
    text: str, managers: Collection[Manager], architecture: str, imported: Sequence[Record]
) -> list[str]:
    """Return the names that match a name or pattern."""
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
        hint = "a full name selects any image"
        message = f"'{text}' matches no supported image for this kind of package"
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
    """Return the records of imported images, whose names are not in the catalog."""
    known = catalog.names()
    return [record for record in _records(machine) if record.name not in known]


def _records(machine: str) -> list[Record]:
    """Return the records of images for an architecture."""
    return [record for record in store.records() if record.architecture == machine]
