"""From a tar to a squashfs file, as it arrives: watched and packed, never unpacked on the host."""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import ExitStack, suppress
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from postroj import process
from postroj.errors import CommandError, ImageError
from postroj.image.store import store
from postroj.image.unpack.decompress import CHUNK, NOBODY, Ahead, Plain, confined, widen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroj.image.unpack.decompress import Readable

BLOCK = 512
"""Of a tar, tar(5)."""
END = bytes(2 * BLOCK)
"""What every tar ends with."""

COMPRESSION = "lz4"
"""Quick to boot from, and packing keeps up with what brings the archive."""

MOST_UNPACKED = 64 << 30
"""Bytes that an archive may unpack to; a bomb has more."""


def tar_argv(folder: str) -> list[str]:
    """Return what writes the tar of a folder, of that file system alone, to stdout."""
    return [
        *("tar", "--create", f"--directory={folder}", "--numeric-owner", "--sort=name"),
        *("--xattrs", "--xattrs-include=*", "--one-file-system"),
        *("--warning=no-file-ignored", "."),  # sockets
    ]


class Meter:
    """Counts the plain bytes of an archive."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, count: int) -> None:
        """Count some more.

        :raises ImageError: if there are too many.
        """
        self.count += count
        if self.count > MOST_UNPACKED:
            message = f"the archive unpacks to more than {MOST_UNPACKED / 1e9:.0f} GB"
            raise ImageError(message)


class TarWatch(Meter):
    """Sees the bytes of a tar pass by: how many, and how they end."""

    def __init__(self) -> None:
        super().__init__()
        self._last = b""

    def feed(self, source: Readable, inlet: IO[bytes]) -> None:
        """Give a tar to a tool; what somebody else judges to be whole is moved without copying it.

        :raises ImageError: if it is too large.
        """
        if isinstance(source, Ahead) and source.whole:
            for count in source.pour(inlet.fileno()):
                self.add(count)
            self._last = END
        else:
            while chunk := source.read(CHUNK):
                self.add(len(chunk))
                self._last = (self._last + chunk[-len(END) :])[-len(END) :]
                inlet.write(chunk)

    def close(self) -> None:
        """Judge how it ended.

        :raises ImageError: if there is no end, or nothing before it.
        """
        if not self.count:
            message = "the archive is empty"
            raise ImageError(message)
        if self.count < len(END):
            message = "it is no tar archive"
            raise ImageError(message, evidence=f"it has {self.count} bytes")
        if not self._last.endswith(END):
            message = "the archive was cut off"
            raise ImageError(message, evidence="a tar ends with 1024 zero bytes, this one does not")


def squash(source: Readable, target: Path, subtree: str = "") -> None:
    """Make a squashfs file of a plain tar; `subtree` is the folder in it that is the root.

    :raises ImageError: if it is no tar, or holds what cannot be in an image.
    """
    with ExitStack() as stack:
        complaints = stack.enter_context(TemporaryFile())
        # of the tool while it writes: it may have no way to our folders
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, descriptor)
        if os.geteuid() == 0:
            os.fchown(descriptor, NOBODY, NOBODY)
        argv = ["tar2sqfs", "--quiet", "--force", "--compressor", COMPRESSION]
        argv += [f"--root-becomes={subtree}"] if subtree else []
        argv.append(f"/proc/self/fd/{descriptor}")
        packer = stack.enter_context(
            process.spawn(
                confined(argv),
                stdio=(process.PIPE, process.DEVNULL, complaints),
                env=process.environment(),
                pass_fds=[descriptor],
            )
        )
        assert packer.stdin
        widen(packer.stdin)
        watch = TarWatch()
        with suppress(BrokenPipeError), packer.stdin:
            watch.feed(source, packer.stdin)
        status = process.exit_status(packer.wait())
        complaints.seek(0)
        said = complaints.read().decode(errors="replace")
        if status:
            raise _refusal(CommandError(argv, status, process.last_lines(said)))
        watch.close()
        _judge(said)
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o644)


def squash_output(argv: Sequence[str], target: Path) -> None:
    """Make a squashfs file of the tar that a command of ours writes.

    :raises ImageError: if it failed, or its tar cannot be packed.
    """
    with TemporaryFile() as complaints:
        stdio = (process.DEVNULL, process.PIPE, complaints)
        with process.spawn(argv, stdio=stdio, env=process.environment()) as child:
            assert child.stdout
            with child.stdout:
                squash(child.stdout, target)
            status = process.exit_status(child.wait())
        if status:
            complaints.seek(0)
            said = process.last_lines(complaints.read().decode(errors="replace"))
            message = "the files of the image could not be read"
            raise ImageError(message, evidence=f"'{argv[0]}' ended with status {status}\n{said}")


def _judge(said: str) -> None:
    """Refuse what tar2sqfs skipped although it belongs to the archive."""
    skipped = deque((line for line in said.splitlines() if "(invalid name)" in line), maxlen=5)
    if skipped:
        message = "the archive has members whose names lead out of it"
        raise ImageError(message, evidence="\n".join(skipped))


def _refusal(error: CommandError) -> ImageError:
    """Say in a sentence why tar2sqfs gave up."""
    if re.search(r"No space left on device|Disk quota exceeded|: I/O error", error.output):
        return store.disk_full(error.output)
    known = {
        r"not a ustar tar archive": "it is no tar archive",
        r"unexpected end-of-file": "the archive was cut off",
        r"File exists": "the archive has two members of the same name",
        r"Not a directory": "the archive has members below one that is no directory",
        r"hard link|Invalid argument": "the archive has a hard link that leads nowhere",
    }
    for pattern, message in known.items():
        if re.search(pattern, error.output):
            return ImageError(message, evidence=error.output)
    return ImageError("the archive cannot be packed", evidence=error.reason)


class Packer(Plain):
    """The bytes of a tar, compressed or not, become the squashfs file `target`."""

    def __init__(self, target: Path, subtree: str = "") -> None:
        super().__init__(lambda plain: squash(plain, target, subtree))
