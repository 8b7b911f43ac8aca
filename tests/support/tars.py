"""Archives for tests: small, and as hostile as asked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Member = tuple[str, dict[str, Any]]

ROOT: tuple[Member, ...] = (
    ("usr", {"type": tarfile.DIRTYPE}),
    ("usr/bin", {"type": tarfile.DIRTYPE}),
    ("usr/bin/apt-get", {"data": b"#!/bin/sh\n", "mode": 0o755}),
    ("usr/lib/os-release", {"data": b'ID=some\nVERSION_ID="1"\nPRETTY_NAME="Some 1"\n'}),
)
"""What looks like a root file system."""

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: (
        subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout
    ),
}
"""By the suffix of a file's name."""


def tar(*members: Member, root: bool = True) -> bytes:
    """A tar of members, each its name and what is special; `data` makes it a file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, special in (*(ROOT if root else ()), *members):
            info = tarfile.TarInfo(name)
            data = special.get("data", b"")
            info.size = len(data)
            for key, value in special.items():
                if key != "data":
                    setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return buffer.getvalue()


def squashfs(path: Path, *members: Member) -> Path:
    """A layer of these members alone."""
    argv = ["tar2sqfs", "--quiet", "--compressor", "lz4", str(path)]
    subprocess.run(argv, input=tar(*members, root=False), check=True, capture_output=True)
    return path
