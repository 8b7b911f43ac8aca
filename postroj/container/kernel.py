"""System calls that Python 3.11 has no functions for.

Only the standard library is imported, since the launch script and doctor also run this file as a
program under `python -IS`: `kernel.py FIRST COUNT MOUNT...` calls `map_owners`.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

BPF = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "ppc64le": 361,
    "ppc64": 361,
    "s390x": 351,
    "mips64": 5315,
}
"""The number of bpf(2) for 64-bit programs, by the machine as `uname -m` names it."""
OPEN_TREE, MOVE_MOUNT, OPENAT2, MOUNT_SETATTR = 428, 429, 437, 442
"""The same on every architecture, as those of all system calls since Linux 5.1."""

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNT_ATTR_IDMAP = 0x00100000
RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x02, 0x10
BPF_ATTRIBUTES = 128
"""Bytes of `union bpf_attr` that are passed; those that a command does not use are 0."""

libc = ctypes.CDLL(None, use_errno=True)


def tiocgptpeer(machine: str) -> int:
    """Return the number of ioctl(2) that opens the other end of a pty, since Linux 4.13.

    `machine` is that of `uname -m`. `_IO('T', 0x41)` of Linux, uapi/asm/ioctl.h: the bits that say
    "no argument" are not 0 everywhere.
    """
    return 0x5441 | (1 << 29 if machine.startswith(("ppc", "mips")) else 0)


def unlock_pty(master: int) -> None:
    """Allow that the other end of a pty is opened, unlockpt(3)."""
    _checked(libc.unlockpt(master))


def enter_network(descriptor: int) -> None:
    """Move the calling thread into a network namespace, setns(2)."""
    _checked(libc.setns(descriptor, CLONE_NEWNET))


def own_users() -> None:
    """Move this process, which must have one thread, into a new user namespace, unshare(2)."""
    _checked(libc.unshare(CLONE_NEWUSER))


def join_users(descriptor: int) -> None:
    """Become root of a user namespace, setns(2); this process must have one thread."""
    _checked(libc.setns(descriptor, CLONE_NEWUSER))
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def open_in_root(root: int, path: str) -> int:
    """Open `path` as a place only (`O_PATH`), with the folder `root` as `/`, openat2(2).

    Links are followed below `root`, and the magic links of `/proc` are refused.
    """
    flags, resolve = os.O_PATH | os.O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    how = struct.pack("=QQQ", flags, 0, resolve)
    try:
        return _call(OPENAT2, root, os.fsencode(path), how, len(how))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def bpf(command: int, attributes: bytes) -> int:
    """Call bpf(2).

    :raises OSError: if the kernel refuses, or this architecture's number is not known.
    """
    number = BPF.get(os.uname().machine)
    if number is None or sys.maxsize < 1 << 32:  # a 32-bit program has other numbers
        message = "bpf(2) has no known number on this architecture"
        raise OSError(message)
    buffer = ctypes.create_string_buffer(attributes, BPF_ATTRIBUTES)
    return _call(number, command, buffer, BPF_ATTRIBUTES)


def map_owners(first: int, count: int, *mounts: str) -> None:
    """Map the owners of the files of each mount: 0 becomes `first`, for `count` numbers.

    Mounts are relative paths. mount(8) has `X-mount.idmap=` for this since util-linux 2.39.

    :raises OSError: if the kernel or the file system cannot: squashfs can since Linux 6.2.
    """
    namespace = _user_namespace(first, count)
    for mount in mounts:
        _map(mount.encode(), namespace)


def _user_namespace(first: int, count: int) -> int:
    """Return a descriptor of a user namespace with this mapping; no process is left in it."""
    is_in, say_in = os.pipe()
    let_go, wait = os.pipe()
    child = os.fork()
    if not child:
        os.close(wait)
        status = libc.unshare(CLONE_NEWUSER)
        os.write(say_in, b"x")
        os.read(let_go, 1)
        os._exit(status and 1)
    os.read(is_in, 1)
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{kind}").write_text(f"0 {first} {count}")
    namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    os.close(wait)
    os.waitpid(child, 0)
    return namespace


def _map(mount: bytes, namespace: int) -> None:
    """Mount a copy of a mount, with mapped owners, over it."""
    tree = _call(OPEN_TREE, AT_FDCWD, mount, OPEN_TREE_CLONE | os.O_CLOEXEC)
    attributes = struct.pack("=QQQQ", MOUNT_ATTR_IDMAP, 0, 0, namespace)
    _call(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, len(attributes))
    _call(MOVE_MOUNT, tree, b"", AT_FDCWD, mount, MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


def _call(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Call the kernel by a number, since older C libraries have no names for these calls."""
    wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in (number, *arguments)]
    return _checked(libc.syscall(*wide))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    map_owners(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
