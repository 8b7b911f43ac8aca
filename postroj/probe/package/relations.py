"""Read from a package's metadata what decides which other packages are installed with it.

A rebuilt package mostly needs what the one before it needed. So its dependencies are found again by
a key that is the same for both: a digest of the fields that name other packages. The metadata is
read on the host and not trusted: a wrong key finds no dependencies, or ones that the package
manager of the guest completes or refuses.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING

from postroj.probe.package.formats import Format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroj.probe.package.formats import Recognised

DEB = (
    *("package", "architecture", "multi-arch", "pre-depends", "depends", "recommends"),
    *("conflicts", "breaks", "replaces", "provides"),
)
"""Fields of deb-control(5)."""
PACMAN = ("pkgname", "arch", "depend", "conflict", "replaces", "provides")
"""Fields of .PKGINFO, PKGBUILD(5)."""

NAME, VERSION, RELEASE, EPOCH, ARCHITECTURE = 1000, 1001, 1002, 1003, 1022
RPM = (
    *(NAME, ARCHITECTURE),
    *(1048, 1049, 1050),  # Requires: flags, names, versions
    *(1112, 1047, 1113),  # Provides
    *(1053, 1054, 1055),  # Conflicts
    *(1114, 1090, 1115),  # Obsoletes
    *(5048, 5046, 5047),  # Recommends
    *(5054, 5052, 5053),  # Supplements
)
"""Tags of rpm's docs/manual/tags.md."""
STRING, STRINGS = 6, 8
"""Types of the values of a tag: one text, and several; I18N texts are not among `RPM`."""
INTEGERS = {3: ">H", 4: ">I"}

MOST = 1 << 16
"""Limit for the texts of one tag."""

OWN = "*"
"""Stands for the version of the package itself, which a rebuild may raise."""


def key(found: Recognised) -> str:
    """Return the digest of everything in a package that names other packages.

    Without metadata it is ''.
    """
    if not found.metadata:
        return ""
    rows = _rows(found)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _rows(found: Recognised) -> list[list[str]]:
    match found.format:
        case Format.DEB:
            return _of_control(found.metadata.decode(errors="replace"))
        case Format.PACMAN:
            return _of_info(found.metadata.decode(errors="replace"))
        case Format.RPM:
            return _of_header(found.metadata)


def _of_control(text: str) -> list[list[str]]:
    fields: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if not line[:1].isspace():
            name, _, line = line.partition(":")
        fields.setdefault(name.strip().lower(), []).append(line.strip())
    version = " ".join(fields.get("version", []))
    return [[name, _masked(" ".join(fields.get(name, [])), version)] for name in DEB]


def _of_info(text: str) -> list[list[str]]:
    rows = [[word.strip() for word in line.split(" = ", 1)] for line in text.splitlines()]
    pairs = [row for row in rows if len(row) == 2]
    version = next((value for name, value in pairs if name == "pkgver"), "")
    return [[name, _masked(value, version)] for name, value in pairs if name in PACMAN]


def _of_header(header: bytes) -> list[list[str]]:
    """Read the tags of a header: its intro, an index of 16 bytes for each tag, and their values."""
    count, _ = struct.unpack_from(">8xII", header)
    index = {row[0]: row for row in struct.iter_unpack(">IIII", header[16 : 16 + 16 * count])}
    store = header[16 + 16 * count :]
    wanted = (index[tag] for tag in (*RPM, VERSION, RELEASE, EPOCH) if tag in index)
    values = {tag: list(_values(store, kind, at, number)) for tag, kind, at, number in wanted}
    release = "-".join([*values.get(VERSION, []), *values.get(RELEASE, [])])
    versions = {release, *(f"{epoch}:{release}" for epoch in values.get(EPOCH, []))}
    return [
        [str(tag), *(OWN if value in versions else value for value in values.get(tag, []))]
        for tag in RPM
    ]


def _values(store: bytes, kind: int, at: int, number: int) -> Iterator[str]:
    """Yield the values of a tag; those that lie outside of the store are left out."""
    if size := INTEGERS.get(kind):
        length = struct.calcsize(size)
        part = store[at : at + number * length]
        for (value,) in struct.iter_unpack(size, part[: len(part) // length * length]):
            yield str(value)
    if kind not in (STRING, STRINGS):
        return
    for _ in range(min(number, MOST)):
        end = store.find(b"\0", at)
        if end < 0:
            return
        yield store[at:end].decode(errors="replace")
        at = end + 1


def _masked(text: str, version: str) -> str:
    return text.replace(version, OWN) if version else text
