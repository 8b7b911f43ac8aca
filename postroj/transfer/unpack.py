"""A tar of a guest becomes files of the host, all of them below one folder.

The guest may be hostile. Names are walked one folder at a time from a descriptor, and no link is
followed: not one of the archive, not one that lies there, not one that is put there meanwhile.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.errors import GuestError
from postroj.image.unpack.tarstream import (
    DEVICES,
    DIRECTORY,
    FILE,
    LINK,
    SYMLINK,
    Reader,
    decimal,
    number,
    printable,
)
from postroj.streams import write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.image.unpack.decompress import Readable
    from postroj.image.unpack.tarstream import Member

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PERMISSIONS = 0o777
"""What is kept of a file's mode: no program of a guest becomes one that runs as root here."""
STICKY = 0o1000
MOST_TOLD = 20
"""As many names of what is passed over are kept."""
NOBODYS = 2**32 - 1
"""What chown(2) takes for no change."""
LATEST = 2**33
"""Seconds since the epoch that file systems can store: a few hundred years, either way."""


@dataclass(frozen=True)
class Into:
    """Where a tar is unpacked."""

    folder: int
    """A descriptor of it."""
    alone: str = ""
    """The archive is to be one file, which gets this name there."""
    is_fresh: bool = False
    """Whether the folder is new, and gets mode, owner and time of the one in the archive."""


@dataclass(frozen=True)
class Unpacked:
    """What became of a tar."""

    members: int
    passed_over: tuple[str, ...]
    """Names of the first devices and pipes, none of which is made."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a file is, apart from its content."""

    mode: int
    uid: int
    gid: int
    mtime: int
    """Nanoseconds since the epoch."""


def about(member: Member) -> About:
    """Read it from the headers of a member."""
    known, header = dict(member.records), member.header
    uid, gid = (
        decimal(known[key]) if key in known else number(header[start : start + 8])
        for key, start in ((b"uid", 108), (b"gid", 116))
    )
    seconds, _, rest = known.get(b"mtime", b"").partition(b".")
    whole = int(seconds) if re.fullmatch(rb"-?\d{1,20}", seconds) else number(header[136:148])
    nanoseconds = int(rest[:9].ljust(9, b"0")) if re.fullmatch(rb"\d+", rest) else 0
    if max(uid, gid) >= NOBODYS or abs(whole) > LATEST:
        message = "the guest sent a file of an owner or a time that there cannot be"
        raise GuestError(message, evidence=printable(member.name))
    return About(
        mode=number(header[100:108]),
        uid=uid,
        gid=gid,
        mtime=whole * 10**9 + (nanoseconds if whole >= 0 else -nanoseconds),
    )


def unpack(source: Readable, into: Into) -> Unpacked:
    """Unpack a tar.

    Files and links replace what has their names, folders join those that are there, and only those
    that are new get mode, owner and time.

    :raises GuestError: if a name leads out, or what was sent is something else.
    :raises ImageError: if it is no tar.
    :raises OSError: if a file cannot be written.
    """
    passed_over: list[str] = []
    made: list[tuple[list[bytes], About]] = []
    folder = into.folder
    reader = Reader(source)
    count = 0
    for count, member in enumerate(reader, 1):
        parts = _parts(member.name)
        if into.alone:
            if count > 1 or len(parts) != 1 or member.kind not in (FILE, SYMLINK, *DEVICES):
                message = "the guest sent something else than the file that was asked for"
                raise GuestError(message, evidence=printable(member.name))
            parts = [os.fsencode(into.alone)]
        if member.kind in DEVICES:
            if len(passed_over) < MOST_TOLD:
                passed_over.append(printable(member.name))
        elif member.kind == DIRECTORY:
            if _make(folder, parts) if parts else into.is_fresh:
                made.append((parts, about(member)))
        else:
            with _parent(folder, parts[:-1]) as parent:
                _put(reader, member, folder, parent, parts[-1] if parts else b".")
    for parts, of in reversed(made):  # at last, since what is put into a folder changes its time
        with _parent(folder, parts) as descriptor:
            _settle(descriptor, of, of.mode & (PERMISSIONS | STICKY))
    return Unpacked(count, tuple(passed_over))


def _parts(name: bytes) -> list[bytes]:
    """Split a name into folders; a slash before it and dots mean nothing."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in name:
        message = "the guest sent a name that leads out of the archive"
        raise GuestError(message, evidence=printable(name))
    return parts


@contextmanager
def _parent(folder: int, parts: Sequence[bytes]) -> Iterator[int]:
    """Open a folder below, and make those on the way that are not there."""
    here = os.open(".", FOLDER, dir_fd=folder)
    try:
        for part in parts:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=here)
            there = os.open(part, FOLDER, dir_fd=here)
            os.close(here)
            here = there
        yield here
    finally:
        os.close(here)


def _make(folder: int, parts: Sequence[bytes]) -> bool:
    """Make a folder; whether it was not there. It is nobody else's until it has its owner."""
    with _parent(folder, parts[:-1]) as parent:
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        except FileExistsError:
            os.close(os.open(parts[-1], FOLDER, dir_fd=parent))
            return False
    return True


def _put(reader: Reader, member: Member, folder: int, parent: int, name: bytes) -> None:
    """Put a file or a link in the place of what has its name."""
    of = about(member)
    if member.holes or any(key.startswith(b"GNU.sparse") for key, _ in member.records):
        message = "the guest sent a file with holes, which was not asked for"
        raise GuestError(message, evidence=printable(member.name))
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
    if member.kind == LINK:
        *above, last = _parts(member.link) or [b"."]
        with _parent(folder, above) as source:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
    elif member.kind == SYMLINK:
        os.symlink(member.link, name, dir_fd=parent)
        os.chown(name, of.uid, of.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(of.mtime, of.mtime), dir_fd=parent, follow_symlinks=False)
    else:
        descriptor = os.open(name, FRESH, 0o600, dir_fd=parent)
        try:
            left = member.size
            for chunk in reader.data():
                write_all(descriptor, chunk[:left])
                left -= len(chunk[:left])
            _settle(descriptor, of, of.mode & PERMISSIONS)
        finally:
            os.close(descriptor)


def _settle(descriptor: int, of: About, mode: int) -> None:
    os.fchown(descriptor, of.uid, of.gid)
    os.fchmod(descriptor, mode)
    os.utime(descriptor, ns=(of.mtime, of.mtime))
