"""Files of a guest, read from the host: nothing there is followed, and nothing is opened for long.

A guest owns these files and may change them at any moment. So a folder is opened by its name in the
folder above it, never by a path, and a file's type is asked of what was opened.
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

    from postroj.container.leader import Leader

CHUNK = 1 << 20
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
KINDS = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.FOLDER, stat.S_IFLNK: FileKind.LINK}


def walk(leader: Leader, *, skip: Collection[str], deepest: int, digests: bool) -> list[File]:
    """Return the files of a guest, see `Guest.walk`; what vanishes meanwhile is passed over.

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
    """Add what is in an open folder, which is closed at the end."""
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
                        digest=_digest(entry.name, folder) if is_hashed else "",
                    )
                )
                if kind is FileKind.FOLDER and deeper > 0 and inner not in skip:
                    with suppress(OSError):  # it has become something else
                        below = os.open(entry.name, FOLDER_FLAGS, dir_fd=folder)
                        _gather(below, inner, skip, deeper - 1, digests, found)
    finally:
        os.close(folder)


def _digest(name: str, folder: int) -> str:
    """Return the SHA-256 of a regular file; '' if it cannot be read, or is one no more."""
    try:
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        digest = hashlib.sha256()
        left = os.fstat(descriptor).st_size  # one that grows has no end
        while left > 0 and (chunk := stream.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        return digest.hexdigest()


def read_file(leader: Leader, path: str, limit: int) -> bytes:
    """Return the beginning of a regular file, see `Guest.read_file`.

    :raises OSError: if there is none, or the guest has ended.
    """
    place = _place(leader, path)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            message = f"'{path}' is not a regular file"
            raise OSError(message)
        # by way of /proc, as a place cannot be read; it is the file that was judged above
        with open(f"/proc/self/fd/{place}", "rb") as stream:  # noqa: PTH123
            return stream.read(limit)
    finally:
        os.close(place)


def exists(leader: Leader, path: str) -> bool:
    """Whether a path leads to something, see `Guest.exists`."""
    try:
        os.close(_place(leader, path))
    except FileNotFoundError:
        leader.require()
        return False
    except ProcessLookupError:
        raise
    except OSError:  # there is something, which leads in a circle or may not be entered
        return True
    return True


def _place(leader: Leader, path: str) -> int:
    place = resolve.open_path(leader.pid, path)
    try:
        leader.require()
    except OSError:
        os.close(place)
        raise
    return place
