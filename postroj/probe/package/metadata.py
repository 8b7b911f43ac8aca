"""Read the fields of a package's metadata: its identity, and the packages that it needs.

The metadata is read on the host and not trusted. What it says decides only which packages are
probed where, and which together; the package manager of the guest has the last word.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from postroj.image import architectures
from postroj.probe.package.formats import Format

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postroj.probe.package.formats import Recognised

NAME, VERSION, RELEASE, EPOCH, ARCHITECTURE = "1000", "1001", "1002", "1003", "1022"
PROVIDES = "1047"
NEED_FLAGS, NEED_NAMES, NEED_VERSIONS = "1048", "1049", "1050"
RELATIONS = (
    *(NAME, ARCHITECTURE),
    *(NEED_FLAGS, NEED_NAMES, NEED_VERSIONS),
    *("1112", PROVIDES, "1113"),
    *("1053", "1054", "1055"),  # Conflicts
    *("1114", "1090", "1115"),  # Obsoletes
    *("5048", "5046", "5047"),  # Recommends
    *("5054", "5052", "5053"),  # Supplements
)
"""Tags of rpm's docs/manual/tags.md: those that name packages."""
TAGS = {int(tag) for tag in (*RELATIONS, VERSION, RELEASE, EPOCH)}
"""All that are read."""
STRING, STRINGS = 6, 8
"""Types of the values of a tag: one text, and several; those with translations are not read."""
INTEGERS = {3: ">H", 4: ">I"}
MOST = 1 << 16
"""Limit for the texts of one tag."""

SENSE, EQUAL = 0xE, 0x8
"""Bits of a flag that compare versions, and the one of them for equality; rpmds.h."""

RELATION = re.compile(r"([^\s:(<>=]+)(?::\w+)?\s*(?:\(?\s*([<>=]+)\s*([^\s)]+)\s*\)?)?")
"""A name, perhaps with a version, as in deb-control(5) and PKGBUILD(5)."""

DIST_TAG = re.compile(r"\.(fc|el|amzn|mga)(\d+)")
"""The part of an rpm's release that says for which distribution it was built."""
DISTRIBUTIONS = {
    "fc": ("fedora",),
    "el": ("almalinux", "rockylinux", "centos-stream", "oraclelinux", "rhel"),
    "amzn": ("amazonlinux",),
    "mga": ("mageia",),
}
"""What an image's name begins with, for each tag."""

DEBUG = ("-dbgsym", "-debuginfo", "-debugsource", "-debug")
"""Ends of the names of packages that have only what debuggers read."""

Fields = dict[str, list[str]]
"""Values by name of the field, which is in lower case, or by tag."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A package that another one needs."""

    name: str
    version: str = ""
    """The only version that will do; '' if others do."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a package says about itself."""

    name: str = ""
    """'' if it is not known."""
    version: str = ""
    """With its release, and without its epoch."""
    architecture: str = ""
    """As in `uname -m`; '' if it fits every machine, or is not known."""
    full_version: str = ""
    """With release and epoch, as its package manager writes it."""
    stated_architecture: str = ""
    """As its package manager writes it: `amd64` or `x86_64`, `all`, `noarch` or `any`."""
    needs: tuple[tuple[Need, ...], ...] = ()
    """What has to be installed with it: of each group of alternatives one."""
    provides: frozenset[str] = frozenset()
    """Names under which other packages can need it; its own is one."""

    @property
    def homes(self) -> tuple[str, ...]:
        """Names of the images for which an rpm was built; empty if it does not say so."""
        if not (found := DIST_TAG.search(self.version)):
            return ()
        tag, number = found.groups()
        return tuple(f"{distribution}-{number}" for distribution in DISTRIBUTIONS[tag])

    @property
    def is_debug(self) -> bool:
        """Whether it has only what debuggers read."""
        return self.name.endswith(DEBUG)


UNKNOWN = Metadata()


def read(found: Recognised) -> Metadata:
    """Return what the metadata of a package says."""
    known = fields(found)
    match found.format:
        case Format.DEB:
            return _of_deb(known)
        case Format.PACMAN:
            return _of_pacman(known)
        case Format.RPM:
            return _of_rpm(known)


def fields(found: Recognised) -> Fields:
    """Return the fields of a package's metadata; of an rpm the `TAGS`."""
    if not found.metadata:
        return {}
    match found.format:
        case Format.DEB:
            return _control(found.metadata.decode(errors="replace"))
        case Format.PACMAN:
            return _info(found.metadata.decode(errors="replace"))
        case Format.RPM:
            return _header(found.metadata)


def _of_deb(known: Mapping[str, Sequence[str]]) -> Metadata:
    def text(name: str) -> str:
        return " ".join(known.get(name, ()))

    needs = [
        tuple(_need(one) for one in group.split("|"))
        for field in ("pre-depends", "depends")
        for group in text(field).split(",")
        if group.strip()
    ]
    provided = [_need(one).name for one in text("provides").split(",")]
    return Metadata(
        name=text("package"),
        version=_without_epoch(text("version")),
        architecture=architectures.machine(text("architecture")),
        full_version=text("version"),
        stated_architecture=text("architecture"),
        needs=tuple(needs),
        provides=frozenset({text("package"), *provided} - {""}),
    )


def _of_pacman(known: Mapping[str, Sequence[str]]) -> Metadata:
    name = _first(known, "pkgname")
    return Metadata(
        name=name,
        version=_without_epoch(_first(known, "pkgver")),
        architecture=architectures.machine(_first(known, "arch")),
        full_version=_first(known, "pkgver"),
        stated_architecture=_first(known, "arch"),
        needs=tuple((_need(text),) for text in known.get("depend", ())),
        provides=frozenset({name, *(_need(one).name for one in known.get("provides", ()))} - {""}),
    )


def _of_rpm(known: Mapping[str, Sequence[str]]) -> Metadata:
    name = _first(known, NAME)
    needed = zip_longest(
        *(known.get(tag, ()) for tag in (NEED_NAMES, NEED_FLAGS, NEED_VERSIONS)), fillvalue=""
    )
    needs = [
        (Need(name=one, version=_without_epoch(version) if _is_exact(flags) else ""),)
        for one, flags, version in needed
        if one
    ]
    version = "-".join([*known.get(VERSION, ()), *known.get(RELEASE, ())])
    return Metadata(
        name=name,
        version=version,
        architecture=architectures.machine(_first(known, ARCHITECTURE)),
        full_version=":".join([*known.get(EPOCH, ()), version]),
        stated_architecture=_first(known, ARCHITECTURE),
        needs=tuple(needs),
        provides=frozenset({name, *known.get(PROVIDES, ())} - {""}),
    )


def _need(text: str) -> Need:
    """Read a name, perhaps with a version."""
    found = RELATION.match(text.strip())
    if not found:
        return Need(name="")
    name, sense, version = found.groups()
    return Need(name=name, version=_without_epoch(version) if sense == "=" else "")


def _is_exact(flags: str) -> bool:
    return flags.isdigit() and int(flags) & SENSE == EQUAL


def _without_epoch(version: str) -> str:
    return version.partition(":")[2] or version


def _first(known: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(known.get(name, ())), "")


def _control(text: str) -> Fields:
    """Read the fields of a control file, each with its lines."""
    found: Fields = {}
    name = ""
    for line in text.splitlines():
        if not line[:1].isspace():
            name, _, line = line.partition(":")
        found.setdefault(name.strip().lower(), []).append(line.strip())
    return found


def _info(text: str) -> Fields:
    """Read the fields of a .PKGINFO, each with its values."""
    found: Fields = {}
    for line in text.splitlines():
        name, equals, value = line.partition(" = ")
        if equals:
            found.setdefault(name.strip(), []).append(value.strip())
    return found


def _header(header: bytes) -> Fields:
    """Read the tags of a header: its intro, an index of 16 bytes for each tag, and their values."""
    count, _ = struct.unpack_from(">8xII", header)
    store = header[16 + 16 * count :]
    index = struct.iter_unpack(">IIII", header[16 : 16 + 16 * count])
    return {
        str(tag): list(_values(store, kind, at, number))
        for tag, kind, at, number in index
        if tag in TAGS
    }


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
