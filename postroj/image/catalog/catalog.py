"""Look up images in the catalog by name, alias or pattern.

It consists of `catalog.toml` beside this module and of the user's own file, whose entries replace
those of the same name.
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
    """Return all images: the shipped ones, oldest release first, then the user's own.

    :raises UsageError: if the file that the user named cannot be read.
    :raises ImageError: if a catalog is invalid; names file, entry and key.
    """
    return _merged(paths.catalog_file())


def shipped() -> tuple[Entry, ...]:
    """Return the images that postroj ships."""
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
    """Return the text of the user's own catalog."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the catalog '{path}' cannot be read"
        hint = "POSTROJ_CATALOG and `--catalog` name your own catalog"
        raise UsageError(message, evidence=str(error), hint=hint) from None


def check_names(found: Mapping[str, Entry], origin: Origin) -> None:
    """Check that no name or alias is used twice.

    :raises ImageError: if one is.
    """
    taken = {name: name for name in found}
    for name, entry in found.items():
        for alias in entry.aliases:
            if alias in taken:
                taken_by = taken[alias]
                message = (
                    f"entry '{name}' of {origin.title}: alias '{alias}' is taken by '{taken_by}'"
                )
                raise ImageError(message)
            taken[alias] = name


def names() -> list[str]:
    """Return all names and aliases."""
    return [name for entry in entries() for name in (entry.name, *entry.aliases)]


def find(name: str) -> Entry:
    """Return the image with this name or alias.

    :raises UsageError: if there is none; suggests similar names.
    """
    for entry in entries():
        if name in (entry.name, *entry.aliases):
            return entry
    message = f"there is no image '{name}'"
    raise UsageError(message, hint=_suggest(name))


def matching(patterns: Sequence[str], imported: Iterable[Entry] = ()) -> list[Entry]:
    """Return the images that match any of the patterns, such as `debian-*`, or `trixie` as a part.

    Case is ignored. `imported` are images to search beside the catalog's.

    :raises UsageError: if a pattern matches no image.
    """
    known = [*entries(), *imported]
    found: set[str] = set()
    for pattern in patterns:
        glob = (pattern if set(pattern) & set("*?[") else f"*{pattern}*").lower()
        hits = [
            entry
            for entry in known
            if any(fnmatchcase(name, glob) for name in (entry.name, *entry.aliases))
        ]
        if not hits:
            message = f"no image matches '{pattern}'"
            raise UsageError(message, hint=_suggest(pattern))
        found.update(entry.name for entry in hits)
    return [entry for entry in known if not patterns or entry.name in found]


def _suggest(name: str) -> str:
    """Return a hint with similar names."""
    name = name.replace(":", "-")  # as registries have it
    near = [known for known in names() if name in known]
    import difflib

    near = near[:3] or difflib.get_close_matches(name, names(), n=3, cutoff=0.75)
    near = near or [known for known in names() if name.startswith(f"{known}-")]
    quoted = " or ".join(f"'{known}'" for known in near)
    suggestion = f"did you mean {quoted}? " if near else ""
    return f"{suggestion}`postroj list-images` shows all of them"
