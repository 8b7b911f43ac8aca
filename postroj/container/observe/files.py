"""Read files of a guest from the host, without following links outside of it.

A guest owns these files and may change them at any moment. So a folder is opened by its name
relative to the open folder above it, never by a path, and the type of a file is read from its
descriptor.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj.container.guest import File, FileKind
from postroj.container.observe import resolve

if TYPE_CHECKING:
    from collections.abc import Collection

    from postroj.container.held import Held

CHUNK = 1 << 20
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
KINDS = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.FOLDER, stat.S_IFLNK: FileKind.LINK}


def walk(leader: Held, *, skip: Collection[str], deepest: int, digests: bool) -> list[File]:
    """Return the files of a guest, see `Guest.walk`; files that vanish meanwhile are left out.

    :raises OSError: if the guest has ended.
    """
    found: list[File] = []
    root = leader.open("root", os.O_RDONLY | os.O_DIRECTORY)
    _gather(root, "", frozenset(skip), deepest, digests, found)
    leader.require()
    return found


def _gather(
    folder: int, path: str, skip: Collection[str], deeper: int, digests: bool, found: list[File]
) -> None:
    """Add the content of an open folder, and close the folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                inner = f"{path}/{entry.name}"
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                kind = KINDS.get(stat.S_IFMT(status.st_mode), FileKind.OTHER)
                is_hashed = digests and kind is FileKind.FILE
                found.append(
                    File(
                        path=inner,
                        kind=kind,
                        mode=stat.S_IMODE(status.st_mode),
                        uid=status.st_uid,
                        gid=status.st_gid,
                        size=status.st_size,
                        changed=status.st_ctime_ns,
                        digest=_digest(entry.name, folder) if is_hashed else "",
                    )
                )
                if kind is FileKind.FOLDER and deeper > 0 and inner not in skip:
                    with suppress(OSError):  # it has been replaced or removed
                        below = os.open(entry.name, FOLDER_FLAGS, dir_fd=folder)
                        _gather(below, inner, skip, deeper - 1, digests, found)
    finally:
        os.close(folder)


def _digest(name: str, folder: int) -> str:
    """Return the SHA-256 of a regular file; '' if it cannot be read or was replaced."""
    try:
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        digest = hashlib.sha256()
        left = os.fstat(descriptor).st_size  # a file that grows must not keep us reading
        while left > 0 and (chunk := stream.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        return digest.hexdigest()


def read_file(leader: Held, path: str, limit: int) -> bytes:
    """Return the beginning of a regular file, see `Guest.read_file`.

    :raises OSError: if it is not a regular file, does not exist, or the guest has ended.
    """
    place = resolve.open_path(leader, path)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            message = f"'{path}' is not a regular file"
            raise OSError(message)
        # an `O_PATH` descriptor cannot be read; /proc opens the very file that was checked above
        with open(f"/proc/self/fd/{place}", "rb") as stream:  # noqa: PTH123
            return stream.read(limit)
    finally:
        os.close(place)


def exists(leader: Held, path: str) -> bool:
    """Whether a path exists, see `Guest.exists`."""
    try:
        os.close(resolve.open_path(leader, path))
    except FileNotFoundError:
        leader.require()
        return False
    except ProcessLookupError:
        raise
    except OSError:  # it exists, but is a circular link or may not be entered
        return True
    return True
