"""Mounts again, with other owners: what a guest's user namespace needs of its image.

A program of its own, since the launch script runs it in the guest's mount namespace. mount(8) knows
`X-mount.idmap=` since util-linux 2.39 only. Nothing but the standard library is imported.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_IDMAP = 0x00100000
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
"""The same on every architecture, as all system calls since Linux 5.1."""

IDS = 65536
"""Users and groups of a guest."""

FIRST, LAST = 0x00080000, 0x6FFF0000
"""Where systemd has users of containers begin. systemd, docs/UIDS-GIDS.md"""

libc = ctypes.CDLL(None, use_errno=True)


def base(name: str) -> int:
    """Return what root of a guest is on the host; its name ends in random digits."""
    return FIRST + int(name.rpartition("-")[2], 16) % ((LAST - FIRST) // IDS) * IDS


def main(first: str, *mounts: str) -> None:
    """Map the owners of each of these mounts, which are relative paths, from 0 to `first`.

    :raises OSError: if the kernel or the file system cannot: squashfs can since Linux 6.2.
    """
    namespace = _user_namespace(int(first))
    for mount in mounts:
        _map(mount.encode(), namespace)


def _user_namespace(first: int) -> int:
    """Return a descriptor of a user namespace with this mapping; its process is gone."""
    is_in, say_in = os.pipe()
    let_go, keep = os.pipe()
    child = os.fork()
    if not child:
        os.close(keep)
        status = libc.unshare(CLONE_NEWUSER)
        os.write(say_in, b"x")
        os.read(let_go, 1)
        os._exit(status and 1)
    os.read(is_in, 1)
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{kind}").write_text(f"0 {first} {IDS}")
    namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    os.close(keep)
    os.waitpid(child, 0)
    return namespace


def _map(mount: bytes, namespace: int) -> None:
    tree = _call(SYS_OPEN_TREE, AT_FDCWD, mount, OPEN_TREE_CLONE | os.O_CLOEXEC)
    attributes = struct.pack("=QQQQ", MOUNT_ATTR_IDMAP, 0, 0, namespace)
    _call(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, len(attributes))
    _call(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, mount, MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


def _call(*arguments: int | bytes) -> int:
    """Call the kernel, which libraries of the time of Linux 5.12 have no names for."""
    wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result: int = libc.syscall(*wide)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
