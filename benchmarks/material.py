"""What the benchmarks work on, as large as asked."""

from __future__ import annotations

import os
import subprocess
import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

from postroj.image import catalog, pull, store

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "debian-bookworm"


def archive(folder: Path, megabytes: int) -> Path:
    """A rootfs.tar.xz that boots: an image of Debian, and so much that cannot be compressed."""
    pull.pull(catalog.find(IMAGE))
    record = store.require(IMAGE, pull.architecture())
    path = folder / "rootfs.tar"
    with path.open("wb") as stream:
        subprocess.run(["sqfs2tar", record.path], stdout=stream, check=True)
    with tarfile.open(path, "a") as tar:
        for number in range(megabytes):
            member = tarfile.TarInfo(f"usr/share/bench/{number}")
            member.size = 1_000_000
            tar.addfile(member, BytesIO(os.urandom(member.size)))
    subprocess.run(["xz", "--threads=0", path], check=True)
    return path.with_suffix(".tar.xz")
