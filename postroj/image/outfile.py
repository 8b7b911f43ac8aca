"""Write a file for the user atomically: complete under its name, or absent, even after a kill."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroj.errors import ImageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
"""Errors of file systems that do not support O_TMPFILE, open(2)."""


@contextmanager
def atomic_file(path: Path, *, replace: bool) -> Iterator[int]:
    """Yield a read-write descriptor; the file gets its name when the context ends without an error.

    :raises UsageError: if the file exists and `replace` is not set, or cannot be created.
    :raises ImageError: if the disk is full.
    """
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    if not replace and path.exists():
        raise _exists(path)
    try:
        descriptor, nameless = _open(path, draft)
        try:
            yield descriptor
            os.fsync(descriptor)
            # Linked directly, there is no draft that a kill could leave behind.
            first = draft if replace else path
            if nameless:
                _link(descriptor, first)
            if replace or not nameless:
                draft.replace(path)
        finally:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"no space is left for '{path}'"
            raise ImageError(message, evidence=str(error)) from None
        if str(error.filename) not in map(str, (path, path.parent, draft)):
            raise
        message = f"'{path}' cannot be written"
        raise UsageError(message, evidence=str(error)) from None


def _exists(path: Path) -> UsageError:
    return UsageError(f"'{path}' exists", hint="`--force` replaces it")


def _open(path: Path, draft: Path) -> tuple[int, bool]:
    """Open an unnamed file if the file system supports it, else the draft; return whether unnamed.

    The umask decides who may read it.
    """
    try:
        return os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666), True
    except OSError as error:
        if error.errno not in NO_NAMELESS_FILES:
            raise
    return os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), False


def _link(descriptor: int, path: Path) -> None:
    """Give an unnamed file its name, open(2)."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Python calls linkat(2), which follows the link in /proc, only with a directory descriptor.
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
