"""Draw packages with services from the Contents indices of an archive."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

UNIT = r"(?:usr/)?lib/systemd/system/(?P<unit>[^/]+\.(?:service|socket|timer|path))"
SCRIPT = r"etc/init\.d/(?P<script>[^/]+)"
PATH = re.compile(rf"{UNIT}|{SCRIPT}")
"""A path without its first slash."""
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
"""What Debian's policy allows; nobody has signed the indices."""


def shipped_units(contents: Iterable[str]) -> dict[str, set[str]]:
    """Return the packages that ship something to run, each with the names of its units.

    A SysV script counts as the unit that systemd generates for it.
    """
    found: dict[str, set[str]] = {}
    for line in contents:
        path, _, packages = line.rstrip().rpartition(" ")
        if match := PATH.fullmatch(path.rstrip()):
            unit = match["unit"] or f"{match['script'].removesuffix('.sh')}.service"
            for name in (place.rpartition("/")[2] for place in packages.split(",")):
                if NAME.fullmatch(name):
                    found.setdefault(name, set()).add(unit)
    return found


def draw(
    names: Iterable[str], *, count: int, seed: int, excluded: Collection[str] = ()
) -> list[str]:
    """Return so many names at random, the same for the same seed, sorted.

    A digest of seed and name decides, so a larger count only adds names, and a package that is new
    in the archive takes the place of at most one other.
    """
    left = sorted(set(names) - set(excluded), key=lambda name: (_rank(seed, name), name))
    return sorted(left[:count])


def _rank(seed: int, name: str) -> str:
    return sha256(f"{seed} {name}".encode()).hexdigest()


def version_of(deb: str) -> str:
    """Return the version in the file name of a package, as apt writes it: `x_1%3a2.0_all.deb`."""
    return deb.split("_")[1].replace("%3a", ":")
