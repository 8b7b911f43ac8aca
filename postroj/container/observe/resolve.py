"""Paths of a guest, opened from the host: every link is followed within the guest, never here."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

SYS_OPENAT2 = 437
"""The same number on every architecture, as all system calls since Linux 5.1."""
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10


class _OpenHow(ctypes.Structure):
    """`struct open_how`, openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_path(pid: int, path: str) -> int:
    """Open a path as process `pid` sees it, as a place only (`O_PATH`); the caller closes it.

    A path that is relative begins at the process's working directory, and stays below it.

    :raises OSError: if there is none, or the process has ended.
    """
    top = "root" if path.startswith("/") else "cwd"
    root = os.open(f"/proc/{pid}/{top}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _openat2(root, path)
    finally:
        with suppress(OSError):
            os.close(root)


def _openat2(root: int, path: str) -> int:
    how = _OpenHow(
        flags=os.O_PATH | os.O_CLOEXEC, mode=0, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    )
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(
        ctypes.c_long(SYS_OPENAT2),
        ctypes.c_int(root),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(descriptor)
