"""Merge the layers of an image into one tar, without unpacking any on the host.

The first pass over the layers decides which members remain under which names, the second pass
copies these byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from postroj.errors import ImageError
from postroj.image.unpack.decompress import CHUNK
from postroj.image.unpack.pack import END
from postroj.image.unpack.tarstream import Reader, hard_link, open_plain, renamed
from postroj.image.unpack.tree import Tree, split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from postroj.image.unpack.tarstream import Member
    from postroj.image.unpack.tree import CopyPlan


class Sink(Protocol):
    """Receives a tar, as a `Packer` does."""

    def write(self, chunk: bytes, /) -> object:
        """Take bytes of the tar."""


def flatten(layers: Sequence[Path], sink: Sink) -> None:
    """Write the merged content of layers, the lowest first, as one tar; layers may be compressed.

    A single layer that hides nothing is passed on unchanged, compressed or not.

    :raises ImageError: if a layer is damaged or not part of an image.
    :raises HostError: if a tool to decompress a layer is not installed.
    """
    plan = survey(layers)
    if plan.unchanged:
        with layers[0].open("rb") as file:
            while chunk := file.read(CHUNK):
                sink.write(chunk)
    else:
        _write(layers, plan, sink)


def survey(layers: Sequence[Path]) -> CopyPlan:
    """Read the headers of all layers, and plan what to copy."""
    tree = Tree()
    for layer in layers:
        tree.begin_layer()
        with open_plain(layer) as stream:
            for member in Reader(stream):
                tree.add(member)
    plan = tree.plan()
    if not (plan.names or any(plan.copied)):
        message = "the image has no files"
        raise ImageError(message, hint="does it contain an operating system, or only data?")
    return plan


def _write(layers: Sequence[Path], plan: CopyPlan, sink: Sink) -> None:
    out = _Buffered(sink)
    number = 0
    for layer in layers:
        with open_plain(layer) as stream:
            reader = Reader(stream)
            for member in reader:
                for chunk in _copies(reader, member, plan.copied[number], plan.names.get(number)):
                    out.write(chunk)
                number += 1
    out.write(END)
    out.flush()


def _copies(
    reader: Reader, member: Member, copied: int, names: Sequence[bytes] | None
) -> Iterator[bytes]:
    """Yield a member under all of its final names; nothing if it is hidden."""
    if copied:
        yield member.raw
        yield from reader.data()
    if not names:
        return
    if copied:
        first, others = b"/".join(split(member.name)), names
    else:
        first, *others = names
        yield renamed(member, first)
        yield from reader.data()
    for name in others:
        yield hard_link(name, first)


class _Buffered:
    """Joins small chunks to larger ones."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.pending = bytearray()

    def write(self, chunk: bytes) -> None:
        """Take a chunk."""
        self.pending += chunk
        if len(self.pending) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Pass on what is buffered."""
        self.sink.write(bytes(self.pending))
        self.pending.clear()
