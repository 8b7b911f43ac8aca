"""Detect whether a file is an archive, layers, a squashfs or a disk, and convert it to a squashfs.

The first bytes decide. Archives and squashfs files are converted as they arrive; a disk is stored
until all of it is verified, because it must be mounted.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from postroj.errors import ImageError
from postroj.image.unpack import bundle, disk, pack, superblock
from postroj.image.unpack.decompress import CHUNK, Decompressor
from postroj.image.unpack.flatten import flatten

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.unpack.decompress import PeekedPipe

FOREIGN = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"conectix", "vhd"),
    (0, b"vhdxfile", "vhdx"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
)
"""Disk formats other than raw: their names after the place and the value of their magic bytes."""


class FileKind(StrEnum):
    """What a file is, apart from its compression."""

    ARCHIVE = "archive"
    LAYERS = "layers"
    """An archive of an image's layers, written by docker or as an OCI layout."""
    SQUASHFS = "squashfs"
    DISK = "disk"


def detect(head: bytes) -> FileKind:
    """Detect what a file is from its first bytes.

    :raises ImageError: if it is a disk that is not raw.
    """
    for place, magic, name in FOREIGN:
        if head.startswith(magic, place):
            message = f"it is a disk in the format {name}"
            hint = f"`qemu-img convert -O raw FILE.{name} FILE.raw` converts it"
            raise ImageError(message, hint=hint)
    if head.startswith(superblock.MAGIC):
        return FileKind.SQUASHFS
    is_tar = re.match(rb"ustar", head[257:262])
    if head[512:520] == b"EFI PART" or (head[510:512] == b"\x55\xaa" and not is_tar):
        return FileKind.DISK
    return FileKind.LAYERS if bundle.is_container_archive(head) else FileKind.ARCHIVE


class Converter(Decompressor):
    """Converts the bytes of a file to a squashfs file in `directory`; `finish` returns it."""

    def __init__(self, directory: Path, architecture: str, subtree: str = "") -> None:
        super().__init__(self._receive)
        self.architecture = architecture
        self.layers = bundle.Archive(directory)
        self.target = directory / "image.squashfs"
        self.disk = directory / "disk.raw"
        self.subtree = subtree
        self.kind: FileKind | None = None

    @property
    def compression(self) -> str:
        """Compression of the squashfs; '' if it was stored as it arrived."""
        return "" if self.kind is FileKind.SQUASHFS else pack.COMPRESSION

    def _receive(self, plain: PeekedPipe) -> None:
        self.kind = detect(plain.head)
        match self.kind:
            case FileKind.ARCHIVE:
                pack.squash(plain, self.target, self.subtree)
            case FileKind.LAYERS:
                self.layers.store(plain)
            case FileKind.SQUASHFS:
                _write_sparse(plain, self.target)
            case FileKind.DISK:
                _write_sparse(plain, self.disk)

    def finish(self) -> Path:
        """Return the squashfs file; call this once the bytes are verified.

        :raises HostError: if it is a disk and we are not root.
        :raises ImageError: if a disk has no root partition, a squashfs is damaged, or an archive
            has no image for the architecture.
        """
        match self.kind:
            case FileKind.DISK:
                disk.squash(self.disk, self.target)
            case FileKind.LAYERS:
                with pack.Packer(self.target) as packer:
                    flatten(self.layers.layers(self.architecture), packer)
            case FileKind.SQUASHFS:
                superblock.check(self.target)
            case FileKind.ARCHIVE | None:
                pass  # packed while it arrived
        return self.target


def _write_sparse(source: PeekedPipe, target: Path) -> None:
    """Write a stream to a file, with holes instead of zeros."""
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
