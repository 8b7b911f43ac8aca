"""Read from a package's metadata what decides which other packages are installed with it.

A rebuilt package mostly needs what the one before it needed. So its dependencies are found again by
a key that is the same for both: a digest of the fields that name other packages. The metadata is
read on the host and not trusted: a wrong key finds no dependencies, or ones that the package
manager of the guest completes or refuses.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from postroj.probe.package.formats import Format
from postroj.probe.package.metadata import EPOCH, RELATIONS, RELEASE, VERSION, fields

if TYPE_CHECKING:
    from postroj.probe.package.formats import Recognised

SELF = {
    Format.DEB: ("package", "architecture", "multi-arch"),
    Format.PACMAN: ("pkgname", "arch"),
}
"""Fields that name the package itself."""
OTHERS = {
    Format.DEB: (
        *("pre-depends", "depends", "recommends"),
        *("conflicts", "breaks", "replaces", "provides"),
    ),
    Format.PACMAN: ("depend", "conflict", "replaces", "provides"),
}
"""Fields that name other packages: of deb-control(5), and of .PKGINFO, PKGBUILD(5)."""

OWN = "*"
"""Stands for the version of the package itself, which a rebuild may raise."""


def key(found: Recognised) -> str:
    """Return the digest of everything in a package that names other packages.

    Without metadata it is ''.
    """
    if not found.metadata:
        return ""
    return hashlib.sha256(json.dumps(_rows(found)).encode()).hexdigest()


def names_others(found: Recognised) -> bool:
    """Whether a package names other packages, as far as its metadata tells.

    Each package of rpm does: it names features of rpm in the same field.
    """
    if found.format is Format.RPM or not found.metadata:
        return True
    known = fields(found)
    return any(value.strip() for name in OTHERS[found.format] for value in known.get(name, []))


def _rows(found: Recognised) -> list[list[str]]:
    known = fields(found)
    names = (*SELF.get(found.format, ()), *OTHERS.get(found.format, ()))
    match found.format:
        case Format.DEB:
            version = " ".join(known.get("version", []))
            return [[name, _masked(" ".join(known.get(name, [])), version)] for name in names]
        case Format.PACMAN:
            version = next(iter(known.get("pkgver", [])), "")
            return [
                [name, *(_masked(one, version) for one in known.get(name, []))] for name in names
            ]
        case Format.RPM:
            release = "-".join([*known.get(VERSION, []), *known.get(RELEASE, [])])
            versions = {release, *(f"{epoch}:{release}" for epoch in known.get(EPOCH, []))}
            return [
                [tag, *(OWN if value in versions else value for value in known.get(tag, []))]
                for tag in RELATIONS
            ]


def _masked(text: str, version: str) -> str:
    return text.replace(version, OWN) if version else text
