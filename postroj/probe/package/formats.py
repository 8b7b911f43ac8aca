"""Recognise the format of package files by their bytes, and refuse files that are cut off.

This happens on the host, before a guest starts, so nothing in a file is trusted: whatever sizes it
states, the limits in this module decide how much is read.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, BinaryIO

from postroj.errors import ImageError, PackageError
from postroj.image.unpack.decompress import CHUNK, Decompressor, decompress_argv

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.unpack.decompress import Readable


class Format(StrEnum):
    """The formats of package files."""

    DEB = "deb"
    RPM = "rpm"
    PACMAN = "pacman"


SUFFIX = {Format.DEB: ".deb", Format.RPM: ".rpm", Format.PACMAN: ".pkg.tar"}
"""The suffix that package managers expect in the name of a file."""

SUPPORTED = "postroj probes .deb, .rpm and .pkg.tar.zst packages"

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
"""Bytes of a member's header, ar(5)."""
MEMBERS = 16
"""Members that are inspected; a .deb has three, and .PKGINFO is among the first of a tar."""

RPM_MAGIC = b"\xed\xab\xee\xdb"
RPM_LEAD = 96
"""Bytes; the header repeats its content more exactly, see rpm's docs/manual/format_lead.md."""
RPM_SOURCE = 1
HEADER_MAGIC = b"\x8e\xad\xe8\x01"
MOST_ENTRIES = 1 << 16
MOST_STORE = 1 << 28
"""Limits for entries and bytes of a header; they are rpm's own, in `lib/header.c`."""

SIGNATURE_SIZES = {1000: ">I", 270: ">Q"}
PAYLOAD_SIZES = {5112: ">Q"}
"""Tags with the number of bytes after the signature, and since rpm 6 after the header."""

ALPINE_MAGIC = (b"ADB.", b"ADBd", b"ADBc")
"""Alpine packages since apk 3: plain, deflated or compressed; src/adb.h of apk-tools."""
ALPINE_SIGNATURE = b".SIGN."
ALPINE_FIELD = b"datahash = "
"""A field that only Alpine's .PKGINFO has, signed or not; apk-v2(5)."""

BLOCK = 512
"""Bytes of a block of a tar, tar(5)."""
MOST_PKGINFO = 1 << 20
MOST_UNPACKED = 16 << 30
"""Bytes that a package may unpack to; a decompression bomb has more."""


class Contents(Enum):
    """The kind of a tar, as its first members show it."""

    PACMAN = auto()
    ALPINE = auto()
    OTHER = auto()


@dataclass(frozen=True, kw_only=True)
class Section:
    """The positions in a header of an rpm."""

    end: int
    store: int
    offsets: dict[int, int]
    """The position of each tag's value in the store."""


def format_of(path: Path) -> Format:
    """Return the format of a package, which its bytes show, after a check that it is complete.

    :raises PackageError: if postroj does not know the format, or the file is cut off.
    :raises HostError: if this host cannot unpack it.
    """
    with path.open("rb") as stream:
        head = stream.read(max(len(AR_MAGIC), len(HEADER_MAGIC)))
        if head.startswith(AR_MAGIC):
            _check_deb(path, stream)
            return Format.DEB
        if head.startswith(RPM_MAGIC):
            _check_rpm(path, stream)
            return Format.RPM
        if head.startswith(ALPINE_MAGIC):
            raise _alpine(path)
        if decompress_argv(head):
            _check_pacman(path, stream)
            return Format.PACMAN
    raise _no_package(path, f"{path.stat().st_size} bytes, the first are {head!r}")


def _no_package(path: Path, evidence: str) -> PackageError:
    message = f"'{path.name}' is not a package"
    return PackageError(message, evidence=evidence, hint=SUPPORTED)


def _alpine(path: Path) -> PackageError:
    message = f"'{path.name}' is an Alpine package, which postroj does not probe"
    return PackageError(message, hint=SUPPORTED)


def _cut_off(path: Path, evidence: str) -> PackageError:
    message = f"'{path.name}' is not a complete package"
    return PackageError(message, evidence=evidence, hint="build or download it again")


def _check_deb(path: Path, stream: BinaryIO) -> None:
    """Walk the members of an ar archive, ar(5)."""
    size = stream.seek(0, os.SEEK_END)
    position = len(AR_MAGIC)
    members: list[str] = []
    while position < size and len(members) < MEMBERS:
        stream.seek(position)
        header = stream.read(AR_HEADER)
        length = header[48:58].strip()
        if not header.endswith(b"`\n") or not length.isdigit():
            break
        members.append(header[:16].decode(errors="replace").strip().rstrip("/"))
        position += AR_HEADER + int(length) + int(length) % 2
    # The padding byte of the last member may be missing.
    whole = position - 1 <= size and any(name.startswith("data.tar") for name in members)
    if not whole:
        raise _cut_off(path, f"{size} bytes, members: {', '.join(members) or 'none'}")


def _check_rpm(path: Path, stream: BinaryIO) -> None:
    """Walk lead, signature, header and payload: rpm's docs/manual/format_v4.md."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    lead = stream.read(RPM_LEAD)
    signature = _section(stream, RPM_LEAD)
    begin = signature and signature.end + -signature.end % 8
    header = begin and _section(stream, begin)
    if len(lead) < RPM_LEAD or not signature or not begin or not header:
        raise _cut_off(path, f"{size} bytes, without a whole header")
    if int.from_bytes(lead[6:8]) == RPM_SOURCE:
        message = f"'{path.name}' is a source package"
        raise PackageError(message, hint="build it, and probe the packages that result")
    behind = _size(stream, signature, SIGNATURE_SIZES)
    end = begin + behind if behind else header.end + _size(stream, header, PAYLOAD_SIZES)
    if size < end or size <= header.end:
        raise _cut_off(path, f"{size} bytes, of {max(end, header.end + 1)}")


def _section(stream: BinaryIO, position: int) -> Section | None:
    """Read the index of a header; None if there is no header, or only a part of one."""
    stream.seek(position)
    intro = stream.read(16)
    if len(intro) < 16 or not intro.startswith(HEADER_MAGIC):
        return None
    count, length = struct.unpack(">8xII", intro)
    if not 0 < count <= MOST_ENTRIES or length > MOST_STORE:
        return None
    index = stream.read(16 * count)
    if len(index) < 16 * count:
        return None
    entries = struct.iter_unpack(">IIII", index)
    store = position + 16 + 16 * count
    offsets = {tag: offset for tag, _, offset, _ in entries}
    return Section(end=store + length, store=store, offsets=offsets)


def _size(stream: BinaryIO, section: Section, tags: dict[int, str]) -> int:
    """Read the number of the first of these tags that the header has; 0 if it has none."""
    for tag, kind in tags.items():
        offset = section.offsets.get(tag)
        length = struct.calcsize(kind)
        if offset is not None and section.store + offset + length <= section.end:
            stream.seek(section.store + offset)
            value = stream.read(length)
            if len(value) == length:
                return int.from_bytes(value)
    return 0


def _check_pacman(path: Path, stream: BinaryIO) -> None:
    """Decompress a package completely, without storing it, and require pacman's .PKGINFO.

    PKGBUILD(5) describes it.

    :raises PackageError: if it is cut off, not a package, or Alpine's, whose .PKGINFO differs.
    :raises HostError: if this host cannot unpack it.
    """
    seen: list[Contents] = []

    def consume(plain: Readable) -> None:
        seen.append(_contents(plain))
        count = 0
        while chunk := plain.read(CHUNK):
            count += len(chunk)
            if count > MOST_UNPACKED:
                message = f"it unpacks to more than {MOST_UNPACKED / 1e9:.0f} GB"
                raise ImageError(message)

    stream.seek(0)
    try:
        with Decompressor(consume) as inlet:
            while chunk := stream.read(CHUNK):
                inlet.write(chunk)
    except ImageError as error:
        raise _cut_off(path, error.reason) from None
    if seen == [Contents.ALPINE]:
        raise _alpine(path)
    if seen != [Contents.PACMAN]:
        evidence = f"{path.stat().st_size} bytes, an archive without .PKGINFO"
        raise _no_package(path, evidence)


def _contents(plain: Readable) -> Contents:
    """Return the kind of a tar, as its first members show it."""
    for _ in range(MEMBERS):
        header = _read(plain, BLOCK)
        digits = header[124:136].strip(b" \0")
        if len(header) < BLOCK or not digits.isdigit():
            break
        try:
            length = int(digits, 8)
        except ValueError:
            break
        name = header[:100].rstrip(b"\0").removeprefix(b"./")
        if name.startswith(ALPINE_SIGNATURE):
            return Contents.ALPINE
        is_info = name == b".PKGINFO"
        if length > MOST_PKGINFO:  # a payload has begun
            return Contents.PACMAN if is_info else Contents.OTHER
        body = _read(plain, length + -length % BLOCK)
        if is_info:
            lines = body.splitlines()
            is_alpine = any(line.startswith(ALPINE_FIELD) for line in lines)
            return Contents.ALPINE if is_alpine else Contents.PACMAN
    return Contents.OTHER


def _read(plain: Readable, size: int) -> bytes:
    """Read `size` bytes from a pipe, fewer at its end."""
    parts = bytearray()
    while len(parts) < size and (chunk := plain.read(size - len(parts))):
        parts += chunk
    return bytes(parts)
