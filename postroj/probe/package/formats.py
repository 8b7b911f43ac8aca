"""Recognise the format of package files by their bytes, and refuse files that are cut off.

This happens on the host, before a guest starts, so nothing in a file is trusted: whatever sizes it
states, the limits in this module decide how much is read.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from postroj.errors import HostError, ImageError, PackageError
from postroj.image.unpack.decompress import CHUNK, Decompressor, decompress_argv

if TYPE_CHECKING:
    from collections.abc import Iterator
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
MOST_METADATA = 1 << 20
"""Limit for a control archive and a member of a tar, in bytes."""
MOST_HEADER = 1 << 24
"""Limit for the header of an rpm; one with 100000 files has 10 MB."""
MOST_UNPACKED = 16 << 30
"""Bytes that a package may unpack to; a decompression bomb has more."""


class NotProbed(PackageError):
    """A whole package, but of a kind that postroj does not probe."""


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What the bytes of a package show."""

    format: Format
    metadata: bytes
    """The `control` file, the header of an rpm without its intro, or `.PKGINFO`.

    Empty if it is too large or cannot be read, which the package manager will report."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """The positions in a header of an rpm."""

    begin: int
    """Of the index."""
    end: int
    store: int
    offsets: dict[int, int]
    """The position of each tag's value in the store."""


def read(path: Path) -> Recognised:
    """Return the format and the metadata of a package, after a check that it is complete.

    :raises PackageError: if postroj does not know the format, or the file is cut off.
    :raises HostError: if this host cannot unpack it.
    """
    with path.open("rb") as stream:
        head = stream.read(max(len(AR_MAGIC), len(HEADER_MAGIC)))
        if head.startswith(AR_MAGIC):
            return Recognised(format=Format.DEB, metadata=_read_deb(path, stream))
        if head.startswith(RPM_MAGIC):
            return Recognised(format=Format.RPM, metadata=_read_rpm(path, stream))
        if head.startswith(ALPINE_MAGIC):
            raise _alpine(path)
        if decompress_argv(head):
            return Recognised(format=Format.PACMAN, metadata=_read_pacman(path, stream))
    raise _no_package(path, f"{path.stat().st_size} bytes, the first are {head!r}")


def _no_package(path: Path, evidence: str) -> PackageError:
    message = f"'{path.name}' is not a package"
    return PackageError(message, evidence=evidence, hint=SUPPORTED)


def _alpine(path: Path) -> PackageError:
    message = f"'{path.name}' is an Alpine package, which postroj does not probe"
    return NotProbed(message, hint=SUPPORTED)


def _cut_off(path: Path, evidence: str) -> PackageError:
    message = f"'{path.name}' is not a complete package"
    return PackageError(message, evidence=evidence, hint="build or download it again")


def _read_deb(path: Path, stream: BinaryIO) -> bytes:
    """Walk the members of an ar archive, ar(5), and return the control file."""
    size = stream.seek(0, os.SEEK_END)
    position = len(AR_MAGIC)
    members: list[str] = []
    control = (0, 0)
    while position < size and len(members) < MEMBERS:
        stream.seek(position)
        header = stream.read(AR_HEADER)
        length = header[48:58].strip()
        if not header.endswith(b"`\n") or not length.isdigit():
            break
        members.append(header[:16].decode(errors="replace").strip().rstrip("/"))
        if members[-1].startswith("control.tar"):
            control = (position + AR_HEADER, int(length))
        position += AR_HEADER + int(length) + int(length) % 2
    # The padding byte of the last member may be missing.
    whole = position - 1 <= size and any(name.startswith("data.tar") for name in members)
    if not whole:
        raise _cut_off(path, f"{size} bytes, members: {', '.join(members) or 'none'}")
    stream.seek(control[0])
    return _control(stream.read(control[1])) if control[1] <= MOST_METADATA else b""


def _control(archive: bytes) -> bytes:
    """Return the control file in a control.tar; nothing if there is none."""
    found: list[bytes] = []

    def consume(plain: Readable) -> None:
        found.extend(body for name, body in _members(plain) if name == b"control")

    with suppress(ImageError, HostError), Decompressor(consume) as inlet:
        inlet.write(archive)
    return next(iter(found), b"")


def _read_rpm(path: Path, stream: BinaryIO) -> bytes:
    """Walk lead, signature, header and payload, and return the header.

    rpm's docs/manual/format_v4.md describes them.
    """
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
        raise NotProbed(message, hint="build it, and probe the packages that result")
    behind = _size(stream, signature, SIGNATURE_SIZES)
    end = begin + behind if behind else header.end + _size(stream, header, PAYLOAD_SIZES)
    if size < end or size <= header.end:
        raise _cut_off(path, f"{size} bytes, of {max(end, header.end + 1)}")
    stream.seek(header.begin)
    length = header.end - header.begin
    return stream.read(length) if length <= MOST_HEADER else b""


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
    return Section(begin=position, end=store + length, store=store, offsets=offsets)


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


def _read_pacman(path: Path, stream: BinaryIO) -> bytes:
    """Decompress a package completely, without storing it, and return pacman's .PKGINFO.

    PKGBUILD(5) describes it.

    :raises PackageError: if it is cut off, not a package, or Alpine's, whose .PKGINFO differs.
    :raises HostError: if this host cannot unpack it.
    """
    infos: list[bytes] = []
    signed: list[bytes] = []

    def consume(plain: Readable) -> None:
        for name, body in _members(plain):
            if name.startswith(ALPINE_SIGNATURE):
                signed.append(name)
            if name == b".PKGINFO":
                infos.append(body)
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
    fields = infos[0].splitlines() if infos else []
    if signed or any(line.startswith(ALPINE_FIELD) for line in fields):
        raise _alpine(path)
    if not infos:
        evidence = f"{path.stat().st_size} bytes, an archive without .PKGINFO"
        raise _no_package(path, evidence)
    return infos[0]


def _members(plain: Readable) -> Iterator[tuple[bytes, bytes]]:
    """Yield names and bodies of the first members of a tar, up to one that is no metadata."""
    for _ in range(MEMBERS):
        header = _read(plain, BLOCK)
        digits = header[124:136].strip(b" \0")
        if len(header) < BLOCK or not digits.isdigit():
            return
        try:
            length = int(digits, 8)
        except ValueError:
            return
        name = header[:100].rstrip(b"\0").removeprefix(b"./")
        if length > MOST_METADATA:  # a payload has begun
            yield name, b""
            return
        yield name, _read(plain, length + -length % BLOCK)[:length]


def _read(plain: Readable, size: int) -> bytes:
    """Read `size` bytes from a pipe, fewer at its end."""
    parts = bytearray()
    while len(parts) < size and (chunk := plain.read(size - len(parts))):
        parts += chunk
    return bytes(parts)
