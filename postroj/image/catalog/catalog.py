"""The catalog: which images there are, and by which names.

`catalog.toml` beside this module, and the user's own file, whose entries replace those of the same
name.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from postroj import paths
from postroj.errors import ImageError, UsageError
from postroj.image.catalog import schema
from postroj.image.catalog.schema import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from postroj.image.catalog.entry import Entry

SHIPPED = Path(__file__).with_name("catalog.toml")


def entries() -> tuple[Entry, ...]:
    """Return all images: those that are shipped, oldest release first, then those of the user.

    :raises UsageError: if there is not the file that the user named.
    :raises ImageError: if something is wrong with it, naming file, entry and key.
    """
    return _merged(paths.catalog_file())


def shipped() -> tuple[Entry, ...]:
    """Return the images that postroj knows by itself."""
    return _merged(None)


@cache
def _merged(own: Path | None) -> tuple[Entry, ...]:
    origin = Origin(title="the catalog", folder=SHIPPED.parent, shipped=True)
    found = schema.parse(SHIPPED.read_text("utf-8"), origin)
    check_names(found, origin)
    if own:
        origin = Origin(title=f"'{own}'", folder=own.parent)
        found |= schema.parse(_read(own), origin)
        check_names(found, origin)
    return tuple(found.values())


def _read(path: Path) -> str:
    """Return what the user's own catalog says."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the catalog '{path}' cannot be read"
        hint = "POSTROJ_CATALOG and `--catalog` name a catalog of your own"
        raise UsageError(message, evidence=str(error), hint=hint) from None


def check_names(found: Mapping[str, Entry], origin: Origin) -> None:
    """Make sure that every name and alias means one image.

    :raises ImageError: if one does not.
    """
    taken = {name: name for name in found}
    for name, entry in found.items():
        for alias in entry.aliases:
            if alias in taken:
                taken_by = taken[alias]
                message = (
                    f"entry '{name}' of {origin.title}: alias '{alias}' is '{taken_by}' already"
                )
                raise ImageError(message)
            taken[alias] = name


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


def matching(patterns: Sequence[str], brought: Iterable[Entry] = ()) -> list[Entry]:
    """Return the images of which a name matches: `debian-*`, or a part of it like `trixie`.

    Capital letters count as small ones. `brought` are further images to look at.

    :raises UsageError: if a pattern matches none.
    """
    there = [*entries(), *brought]
    found: set[str] = set()
    for pattern in patterns:
        glob = (pattern if set(pattern) & set("*?[") else f"*{pattern}*").lower()
        hits = [
            entry
            for entry in there
            if any(fnmatchcase(name, glob) for name in (entry.name, *entry.aliases))
        ]
        if not hits:
            message = f"no image matches '{pattern}'"
            raise UsageError(message, hint=_nearest(pattern))
        found.update(entry.name for entry in hits)
    return [entry for entry in there if not patterns or entry.name in found]


def _nearest(name: str) -> str:
    """Return a hint with the names that could have been meant."""
    near = [known for known in names() if name in known]
    import difflib

    near = near[:3] or difflib.get_close_matches(name, names(), n=3, cutoff=0.75)
    quoted = " or ".join(f"'{known}'" for known in near)
    meant = f"did you mean {quoted}? " if near else ""
    return f"{meant}`postroj list-images` shows all of them"
