"""Unpack a tar from a guest below one folder of the host.

The guest may be hostile. Names are resolved one folder at a time from a descriptor, and no symbolic
link is followed, whether it is in the archive, in the folder, or created meanwhile.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
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
"""Bits of a mode that are kept; never set-user-ID, so that no file runs as root here."""
STICKY = 0o1000
MAX_SKIPPED = 20
"""Maximum number of skipped names to report."""
NOBODYS = 2**32 - 1
"""The ID that means no change to chown(2)."""
UNCHANGED = -1
"""The same ID, as Python takes it."""
LATEST = 2**33
"""Maximum distance from the epoch that file systems can store, in seconds."""


@dataclass(frozen=True)
class Into:
    """The destination of a tar."""

    folder: int
    """Descriptor of the folder."""
    alone: str = ""
    """If set, the archive must be one file, which gets this name."""
    is_fresh: bool = False
    """Whether the folder is new, and gets mode, owner and time from the archive."""
    keeps_owners: bool = True
    """Whether files get their owners from the archive; otherwise all are ours."""


@dataclass(frozen=True)
class Unpacked:
    """The result of unpacking a tar."""

    members: int
    skipped: tuple[str, ...]
    """Names of the first devices and pipes, which are not unpacked."""


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
        message = "the guest sent a file with an impossible owner or time"
        raise GuestError(message, evidence=printable(member.name))
    return About(
        mode=number(header[100:108]),
        uid=uid,
        gid=gid,
        mtime=whole * 10**9 + (nanoseconds if whole >= 0 else -nanoseconds),
    )


def unpack(source: Readable, into: Into) -> Unpacked:
    """Unpack a tar.

    Files and links replace existing ones, folders are merged, and only new folders get mode, owner
    and time.

    :raises GuestError: if a name leads out of the folder, or the archive has unexpected members.
    :raises ImageError: if the data is not a tar.
    :raises OSError: if a file cannot be written.
    """
    skipped: list[str] = []
    made: list[tuple[list[bytes], About]] = []
    folder = into.folder
    reader = Reader(source)
    count = 0
    for count, member in enumerate(reader, 1):
        parts = _parts(member.name)
        if into.alone:
            if count > 1 or len(parts) != 1 or member.kind not in (FILE, SYMLINK, *DEVICES):
                message = "the guest sent something other than the requested file"
                raise GuestError(message, evidence=printable(member.name))
            parts = [os.fsencode(into.alone)]
        if member.kind in DEVICES:
            if len(skipped) < MAX_SKIPPED:
                skipped.append(printable(member.name))
        elif member.kind == DIRECTORY:
            if _make(folder, parts) if parts else into.is_fresh:
                made.append((parts, _wanted(member, into)))
        else:
            with _parent(folder, parts[:-1]) as parent:
                of, name = _wanted(member, into), parts[-1] if parts else b"."
                _put(reader, member, of, folder, parent, name)
    for parts, of in reversed(made):  # last, as new files change the time of a folder
        with _parent(folder, parts) as descriptor:
            _settle(descriptor, of, of.mode & (PERMISSIONS | STICKY))
    return Unpacked(count, tuple(skipped))


def _wanted(member: Member, into: Into) -> About:
    """Return what a file on the host gets from a member."""
    of = about(member)
    return of if into.keeps_owners else replace(of, uid=UNCHANGED, gid=UNCHANGED)


def _parts(name: bytes) -> list[bytes]:
    """Split a name at slashes, ignoring a leading slash and `.`."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in name:
        message = "the guest sent a name that leads out of the target folder"
        raise GuestError(message, evidence=printable(name))
    return parts


@contextmanager
def _parent(folder: int, parts: Sequence[bytes]) -> Iterator[int]:
    """Open a folder below another, creating missing ones."""
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
    """Create a folder, private until it gets its owner; return whether it is new."""
    with _parent(folder, parts[:-1]) as parent:
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        except FileExistsError:
            os.close(os.open(parts[-1], FOLDER, dir_fd=parent))
            return False
    return True


def _put(reader: Reader, member: Member, of: About, folder: int, parent: int, name: bytes) -> None:
    """Write a file or link, replacing an existing one."""
    if member.holes or any(key.startswith(b"GNU.sparse") for key, _ in member.records):
        message = "the guest sent a sparse file, which tar was not asked for"
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
