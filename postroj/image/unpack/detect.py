"""A file of a kind that nobody told us becomes a squashfs file: an archive, a squashfs, a disk.

The first bytes tell. Archives and squashfs files take their shape while they arrive; a disk is
kept until all of it has been verified, and mounted only then.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from postroj.errors import ImageError
from postroj.image.unpack import bundle, disk, pack, superblock
from postroj.image.unpack.decompress import CHUNK, Plain
from postroj.image.unpack.flatten import flatten

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.unpack.decompress import Ahead

FOREIGN = {
    b"QFI\xfb": "qcow2",
    b"KDMV": "vmdk",
    b"conectix": "vhd",
    b"vhdxfile": "vhdx",
}
"""First bytes of disks that are not raw."""


class Shape(StrEnum):
    """What a file is, compression aside."""

    ARCHIVE = "archive"
    LAYERS = "layers"
    """An archive of the layers of an image, by docker or as an OCI layout."""
    SQUASHFS = "squashfs"
    DISK = "disk"


def shape_of(head: bytes) -> Shape:
    """Tell what a file is by its first bytes.

    :raises ImageError: if it is a disk that is not raw.
    """
    for magic, name in FOREIGN.items():
        if head.startswith(magic):
            message = f"it is a disk of the format {name}"
            hint = f"`qemu-img convert -O raw FILE.{name} FILE.raw` makes one that can be read"
            raise ImageError(message, hint=hint)
    if head.startswith(superblock.MAGIC):
        return Shape.SQUASHFS
    is_tar = re.match(rb"ustar", head[257:262])
    if head[512:520] == b"EFI PART" or (head[510:512] == b"\x55\xaa" and not is_tar):
        return Shape.DISK
    return Shape.LAYERS if bundle.is_container_archive(head) else Shape.ARCHIVE


class Arrival(Plain):
    """Bytes, compressed or not, become a squashfs file in `directory`; `settle` gives it."""

    def __init__(self, directory: Path, architecture: str, subtree: str = "") -> None:
        super().__init__(self._receive)
        self.architecture = architecture
        self.layers = bundle.Archive(directory)
        self.target = directory / "image.squashfs"
        self.disk = directory / "disk.raw"
        self.subtree = subtree
        self.shape: Shape | None = None

    @property
    def compression(self) -> str:
        """Of the squashfs file; '' if it was taken as it is."""
        return "" if self.shape is Shape.SQUASHFS else pack.COMPRESSION

    def _receive(self, plain: Ahead) -> None:
        self.shape = shape_of(plain.head)
        match self.shape:
            case Shape.ARCHIVE:
                pack.squash(plain, self.target, self.subtree)
            case Shape.LAYERS:
                self.layers.store(plain)
            case Shape.SQUASHFS:
                _keep(plain, self.target)
            case Shape.DISK:
                _keep(plain, self.disk)

    def settle(self) -> Path:
        """Return the squashfs file, once what arrived may be trusted.

        :raises HostError: if it is a disk, and we are not root.
        :raises ImageError: if it is a disk without a root partition, or a broken squashfs, or has
            no image for the architecture.
        """
        match self.shape:
            case Shape.DISK:
                disk.squash(self.disk, self.target)
            case Shape.LAYERS:
                with pack.Packer(self.target) as packer:
                    flatten(self.layers.layers(self.architecture), packer)
            case Shape.SQUASHFS:
                superblock.judge(self.target)
            case Shape.ARCHIVE | None:
                pass  # it has taken its shape while it arrived
        return self.target


def _keep(source: Ahead, target: Path) -> None:
    """Write a stream to a file, leaving holes where there are zeros."""
    empty = bytes(CHUNK)
    meter = pack.Meter()
    with target.open("xb") as stream:
        while chunk := source.read(CHUNK):
            meter.add(len(chunk))
            if chunk == empty[: len(chunk)]:
                stream.seek(len(chunk), os.SEEK_CUR)
            else:
                stream.write(chunk)
        stream.truncate()
