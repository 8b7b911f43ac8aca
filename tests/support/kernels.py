"""Kernels and initrds for machines, made by the tests."""

from __future__ import annotations

import struct


def silent_kernel() -> bytes:
    """Return a kernel for x86-64 that prints nothing, and never ends: a jump to itself.

    The header is that of Documentation/arch/x86/boot.rst of Linux, with the fields that qemu reads.
    """
    kernel = bytearray(1 << 16)
    kernel[0x1F1] = 1  # sectors of setup code
    kernel[0x1FE:0x200] = b"\x55\xaa"
    kernel[0x200:0x202] = b"\xeb\xfe"  # where the boot loader begins: `jmp .`
    kernel[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", kernel, 0x206, 0x020C)  # version of the protocol
    kernel[0x211] = 1  # is loaded high
    struct.pack_into("<I", kernel, 0x22C, 0x7FFFFFFF)  # highest address of an initrd
    return bytes(kernel)


def initrd(files: dict[str, bytes], before: bytes = b"") -> bytes:
    """Return an initrd of files after those of the initrd `before`, some of which they replace.

    The format is "newc" of cpio(5). The kernel reads several archives, if each begins at a multiple
    of four bytes.
    """
    members = [*files.items(), ("TRAILER!!!", b"")]
    return _padded(before) + b"".join(_member(name, data) for name, data in members)


def _member(name: str, data: bytes) -> bytes:
    fields = (0, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
