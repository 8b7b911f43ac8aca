"""Read the members of a tar as a stream, with the exact bytes of their headers.

`tarfile` interprets headers and discards their bytes. They are kept here, so that a copy preserves
owners, times, extended attributes and sparse files. Formats: tar(5).
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from postroj import process
from postroj.errors import ImageError
from postroj.image.unpack.confine import confined
from postroj.image.unpack.decompress import CHUNK, LONGEST_MAGIC, decompress_argv
from postroj.image.unpack.pack import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.image.unpack.decompress import Readable

FILE, LINK, SYMLINK, DIRECTORY = b"0", b"1", b"2", b"5"
DEVICES = (b"3", b"4", b"6")
SPARSE = b"S"
SAME_AS_FILE = (b"\0", b"7", SPARSE)
LONG_NAME, LONG_LINK, GLOBAL, RECORDS = b"L", b"K", b"g", b"x"
EXTENSIONS = (LONG_NAME, LONG_LINK, GLOBAL, RECORDS)
NOTHING = bytes(BLOCK)

Records = list[tuple[bytes, bytes]]
"""Keys and values of an extended header; a key may occur several times."""

MOST_EXTENSION = 1 << 20
"""Largest extended header in bytes; the longest names and attributes take less."""


@dataclass(slots=True, kw_only=True)
class Member:
    """One member of a tar."""

    name: bytes
    """As the archive spells it."""
    kind: bytes
    """`FILE`, `LINK`, `SYMLINK`, `DIRECTORY` or one of `DEVICES`."""
    link: bytes
    """Target of a link."""
    records: Records
    extensions: bytes
    """Extension headers in front of the header."""
    header: bytes
    holes: bytes
    """Sparse map behind the header."""
    size: int
    """Bytes of data in the archive, without padding."""
    unpacked: int
    """Bytes of the unpacked file; more than `size` if it is sparse."""
    ambiguous: bool
    """Whether tools could interpret the header differently."""

    @property
    def raw(self) -> bytes:
        """All headers."""
        return self.extensions + self.header + self.holes


@contextmanager
def open_plain(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed if necessary.

    Leaving the context without an exception reads the rest.

    :raises ImageError: if the file is damaged.
    :raises HostError: if the tool to decompress it is not installed.
    """
    with path.open("rb", buffering=0) as file:
        argv = decompress_argv(file.read(LONGEST_MAGIC))
        file.seek(0)
        if not argv:
            yield io.BufferedReader(file, CHUNK)
            return
        with TemporaryFile() as complaints:
            stdio = (file, process.PIPE, complaints)
            with process.spawn(confined(argv), stdio=stdio, env=process.environment()) as child:
                assert child.stdout
                with child.stdout as pipe, os.fdopen(os.dup(pipe.fileno()), "rb", CHUNK) as plain:
                    yield plain
                    while plain.read(CHUNK):
                        pass
                status = child.wait()
            if status:
                complaints.seek(0)
                output = complaints.read().decode(errors="replace")
                message = f"a layer is damaged or incomplete: {argv[0]} cannot unpack it"
                raise ImageError(message, evidence=process.last_lines(output))


class Reader:
    """Iterates over the members of an uncompressed tar, and skips data that nobody reads."""

    def __init__(self, stream: Readable) -> None:
        self.stream = stream
        self._left = 0
        """Unread bytes of the current member."""

    def __iter__(self) -> Iterator[Member]:
        while member := self._next():
            self._left = member.size + -member.size % BLOCK
            yield member
            for _ in self.data():
                pass

    def data(self) -> Iterator[bytes]:
        """Yield the data of the current member, with the padding of its last block."""
        while self._left:
            count = min(self._left, CHUNK)
            self._left -= count
            yield self._read_exactly(count)

    def _read_exactly(self, count: int) -> bytes:
        chunk = self.stream.read(count)
        while len(chunk) < count:
            more = self.stream.read(count - len(chunk))
            if not more:
                message = "a tar archive was cut off"
                raise ImageError(message)
            chunk += more
        return chunk

    def _next(self) -> Member | None:
        """Read the headers of the next member; None at the end."""
        extensions, records, long = b"", Records(), dict[bytes, bytes]()
        while header := self._header(first=not extensions):
            kind, size = header[156:157], number(header[124:136])
            if kind not in EXTENSIONS:
                return self._member(header, extensions, records, long)
            if size > MOST_EXTENSION:
                message = f"a tar archive has an extended header of {size} bytes"
                raise ImageError(message)
            body = self._read_exactly(size + -size % BLOCK)
            if kind == GLOBAL:  # as container runtimes do
                continue
            extensions += header + body
            if kind == RECORDS:
                records += parse_records(body[:size])
            else:
                long[kind] = body[:size].partition(b"\0")[0]
        return None

    def _header(self, *, first: bool) -> bytes:
        """Read a header; empty at the end of the archive, with or without an end marker."""
        header = self.stream.read(BLOCK) or NOTHING
        header += self._read_exactly(BLOCK - len(header))
        if header == NOTHING:
            if not first:
                message = "a tar archive was cut off"
                raise ImageError(message)
            return b""
        expected = 256 + sum(header[:148]) + sum(header[156:])
        if number(header[148:156]) != expected:
            message = "a layer is damaged, or not a tar archive"
            raise ImageError(message, evidence="the checksum of a header is wrong")
        return header

    def _member(
        self, header: bytes, extensions: bytes, records: Records, long: dict[bytes, bytes]
    ) -> Member:
        """Combine the headers of a member."""
        kind, size, holes = header[156:157], number(header[124:136]), b""
        known = dict(records)
        if b"size" in known:
            size = decimal(known[b"size"])
        name = _first(
            known.get(b"GNU.sparse.name"),
            known.get(b"path"),
            long.get(LONG_NAME),
            _name(header),
        )
        real = known.get(b"GNU.sparse.realsize") or known.get(b"GNU.sparse.size")
        unpacked = decimal(real) if real else size
        if kind == SPARSE:
            unpacked = number(header[483:495])
            holes = self._holes(more=header[482:483] != b"\0")
        if kind == b"\0" and name.endswith(b"/"):  # tar(5): the format of Unix version 7
            kind = DIRECTORY
        elif kind in SAME_AS_FILE:
            kind = FILE
        if kind not in (FILE, LINK, SYMLINK, DIRECTORY, *DEVICES):
            message = f"a tar archive has a member of the unknown kind {header[156:157]!r}"
            raise ImageError(message, evidence=printable(name))
        # Only files have data, whatever a header says; Go reads archives in the same way.
        stored = size if kind == FILE else 0
        return Member(
            name=name,
            kind=kind,
            link=_first(
                known.get(b"linkpath"), long.get(LONG_LINK), header[157:257].partition(b"\0")[0]
            ),
            records=records,
            extensions=extensions,
            header=header,
            holes=holes,
            size=stored,
            unpacked=max(unpacked, stored),
            ambiguous=stored != size or (kind == DIRECTORY and header[156:157] != DIRECTORY),
        )

    def _holes(self, *, more: bool) -> bytes:
        """Read the blocks of holes behind the header of an old GNU sparse file."""
        blocks = b""
        while more:
            blocks += self._read_exactly(BLOCK)
            if len(blocks) > MOST_EXTENSION:
                message = "a tar archive has a file with too many holes"
                raise ImageError(message)
            more = blocks[-8:-7] != b"\0"
        return blocks


def renamed(member: Member, path: bytes) -> bytes:
    """Return the headers of a member with another name."""
    new = {b"path": path}
    if any(key == b"GNU.sparse.name" for key, _ in member.records):
        new[b"GNU.sparse.name"] = path
    if member.kind == SYMLINK:
        new[b"linkpath"] = member.link
    if member.kind == FILE:
        new[b"size"] = b"%d" % member.size
    old = [record for record in member.records if record[0] not in (*new, b"size")]
    body = b"".join(_record(key, value) for key, value in [*old, *new.items()])
    about = tarfile.TarInfo("././@PaxHeader")
    about.type, about.size = RECORDS, len(body)
    header = bytearray(member.header)
    header[:100] = path[:100].ljust(100, b"\0")
    if header[257:263] == b"ustar\0":
        header[345:500] = bytes(155)
    if member.kind != FILE:
        header[124:136] = b"00000000000\0"
        header[156:157] = member.kind
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    padding = bytes(-len(body) % BLOCK)
    return about.tobuf(tarfile.USTAR_FORMAT) + body + padding + bytes(header) + member.holes


def hard_link(path: bytes, target: bytes) -> bytes:
    """Return the headers of a hard link."""
    info = tarfile.TarInfo(path.decode(errors="surrogateescape"))
    info.type, info.linkname = LINK, target.decode(errors="surrogateescape")
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def parse_records(body: bytes) -> Records:
    """Parse the `LENGTH KEY=VALUE` lines of an extended header.

    :raises ImageError: if they are malformed.
    """
    found = Records()
    position = 0
    while position < len(body):
        match = re.compile(rb"(\d{1,7}) ").match(body, position)
        end = position + int(match[1]) if match else 0
        key, equals, value = body[match.end() : end - 1].partition(b"=") if match else (b"",) * 3
        if not equals or end > len(body) or body[end - 1 : end] != b"\n":
            message = "a tar archive has an extended header that cannot be read"
            raise ImageError(message, evidence=printable(body[position : position + 80]))
        found.append((key, value))
        position = end
    return found


def number(field: bytes) -> int:
    """Parse a number of a header: octal, or binary for large values.

    :raises ImageError: if it is malformed.
    """
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    digits = field.strip(b" \0").partition(b"\0")[0].strip()
    if not re.fullmatch(rb"[0-7]*", digits):
        message = "a layer is damaged, or not a tar archive"
        raise ImageError(message, evidence=f"{printable(field)} is not a number")
    return int(digits or b"0", 8)


def decimal(text: bytes) -> int:
    """Parse a number of an extended header.

    :raises ImageError: if it is malformed.
    """
    if not re.fullmatch(rb"[0-9]{1,19}", text):
        message = "a tar archive has an extended header that cannot be read"
        raise ImageError(message, evidence=f"{printable(text)} is not a number")
    return int(text)


def printable(name: bytes) -> str:
    """Format a name from an archive for messages."""
    text = ascii(name.decode(errors="surrogateescape"))
    return text if len(text) < 200 else text[:200] + "..."


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _first(*names: bytes | None) -> bytes:
    return next((name for name in names if name), b"")


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest
