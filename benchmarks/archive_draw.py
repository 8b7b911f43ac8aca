"""Draw packages with services from the Contents indices of an archive."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

UNIT = r"(?:usr/)?lib/systemd/system/[^/]+\.(?:service|socket|timer|path)"
SCRIPT = r"etc/init\.d/[^/]+"
LINE = re.compile(rf"(?:{UNIT}|{SCRIPT})\s+(?P<packages>\S+)")
"""A path without its first slash, and `section/name` of each package that ships it."""


def with_services(contents: Iterable[str]) -> list[str]:
    """Return the sorted names of packages that ship a unit or a SysV script that runs something."""
    names: set[str] = set()
    for line in contents:
        if match := LINE.fullmatch(line.rstrip()):
            names.update(place.rpartition("/")[2] for place in match["packages"].split(","))
    return sorted(names)


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
