"""Confine a guest's devices by a BPF program on its control group, as systemd and docker do.

Root in a guest may make a device file for a disk of the host, but cannot open it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from postroj.container import kernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PROG_LOAD, PROG_ATTACH = 5, 8
PROG_TYPE_CGROUP_DEVICE, ATTACH_CGROUP_DEVICE = 15, 6
ALLOW_MULTI = 2
"""Programs of the guest's systemd may forbid more devices, but allow no others."""

BLOCK, CHARACTER = 1, 2
KINDS = {stat.S_IFBLK: BLOCK, stat.S_IFCHR: CHARACTER}
MKNOD = 1
"""Values in `struct bpf_cgroup_dev_ctx`: types of devices, and the access that makes a file."""

Device = tuple[int, int, int | None]
"""`BLOCK` or `CHARACTER`, major number, minor number; None is every minor number."""

USUAL: tuple[Device, ...] = (
    *((CHARACTER, 1, minor) for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
    *((CHARACTER, 5, minor) for minor in (0, 1, 2)),  # tty, console, ptmx
    *((CHARACTER, major, None) for major in range(136, 144)),  # pts
    (CHARACTER, 10, 200),  # tun
    (CHARACTER, 10, 229),  # fuse
)
"""Devices that nspawn makes in `/dev`, and others that give no access to the host.

Linux, Documentation/admin-guide/devices.txt
"""


def devices_of(sources: Iterable[Path]) -> Iterator[Device]:
    """Yield the devices among files of the host, and inside those that are folders below `/dev`."""
    for source in sources:
        inside = source.rglob("*") if source.is_relative_to("/dev") else ()
        for path in (source, *inside):
            with suppress(OSError):  # a link that leads nowhere, or a device that was unplugged
                status = path.stat()
                kind = KINDS.get(stat.S_IFMT(status.st_mode))
                if kind:
                    yield kind, os.major(status.st_rdev), os.minor(status.st_rdev)


def program(allowed: Iterable[Device], byteorder: str = sys.byteorder) -> bytes:
    """Return the BPF program that allows opening these devices, and making files for any device.

    `byteorder` is that of the processor, as in `sys`.
    Linux, Documentation/bpf/standardization/instruction-set.rst
    """
    load, copy, shift, mask, set_to, unless, leave = 0x61, 0xBF, 0x77, 0x57, 0xB7, 0x55, 0x95
    yes = [(set_to, 0, 0, 0, 1), (leave, 0, 0, 0, 0)]
    code = [  # operation, target and source registers, offset, value
        (load, 2, 1, 0, 0),  # r2: the access and, in its lower half, the type of the device
        (load, 4, 1, 4, 0),  # r4: major
        (load, 5, 1, 8, 0),  # r5: minor
        (copy, 3, 2, 0, 0),
        (shift, 3, 0, 0, 16),  # r3: access
        (mask, 2, 0, 0, 0xFFFF),  # r2: type
        (unless, 3, 0, len(yes), MKNOD),
        *yes,
    ]
    for kind, major, minor in dict.fromkeys(allowed):
        wanted = [(2, kind), (4, major), *([(5, minor)] if minor is not None else [])]
        for number, (register, value) in enumerate(wanted, 1):
            code.append((unless, register, 0, len(wanted) - number + len(yes), value))
        code += yes
    code += [(set_to, 0, 0, 0, 0), (leave, 0, 0, 0, 0)]
    return b"".join(_packed(*instruction, byteorder) for instruction in code)


def _packed(
    operation: int, target: int, source: int, offset: int, value: int, byteorder: str
) -> bytes:
    """Pack an instruction; both registers share a byte, the first in it is the target's."""
    if byteorder == "little":
        return struct.pack("<BBhi", operation, source << 4 | target, offset, value)
    return struct.pack(">BBhi", operation, target << 4 | source, offset, value)


def confine(group: int, allowed: Iterable[Device]) -> None:
    """Confine a group of cgroup v2 to these devices; `group` is a descriptor of its folder.

    The program stays as long as the group.

    :raises OSError: if the kernel has no such programs, or refuses.
    """
    code = ctypes.create_string_buffer(program(allowed))
    terms = ctypes.create_string_buffer(b"GPL")
    loaded = kernel.bpf(
        PROG_LOAD,
        struct.pack(
            "=IIQQ",
            PROG_TYPE_CGROUP_DEVICE,
            len(code.raw) // 8,
            ctypes.addressof(code),
            ctypes.addressof(terms),
        ),
    )
    try:
        kernel.bpf(
            PROG_ATTACH, struct.pack("=IIII", group, loaded, ATTACH_CGROUP_DEVICE, ALLOW_MULTI)
        )
    finally:
        os.close(loaded)
