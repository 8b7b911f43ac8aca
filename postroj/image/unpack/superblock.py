"""Check the superblock of a foreign squashfs file before any tool or kernel reads it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from postroj.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"hsqs"
FIELDS = struct.Struct("<4s 24x H H 8x Q 48x")
"""Magic, major and minor version, bytes used (Documentation/filesystems/squashfs.rst of Linux)."""
VERSION = (4, 0)


def check(file: Path) -> None:
    """Check that a file is a complete squashfs 4.0.

    :raises ImageError: if it is not.
    """
    with file.open("rb") as stream:
        head = stream.read(FIELDS.size)
        size = stream.seek(0, 2)
    if len(head) < FIELDS.size or not head.startswith(MAGIC):
        message = "it is not a squashfs file"
        raise ImageError(message)
    _, major, minor, used = FIELDS.unpack(head)
    if (major, minor) != VERSION:
        message = f"it is a squashfs file of version {major}.{minor}, not 4.0"
        raise ImageError(message)
    if not FIELDS.size <= used <= size:
        message = "the squashfs file was cut off"
        raise ImageError(
            message, evidence=f"its superblock states {used} bytes, the file has {size}"
        )
