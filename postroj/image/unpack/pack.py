"""Pack a tar into a squashfs file as it arrives, without unpacking it on the host."""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING

from postroj import process
from postroj.errors import CommandError, ImageError
from postroj.image.store import os_errors
from postroj.image.unpack.confine import NOBODY, confined
from postroj.image.unpack.decompress import CHUNK, Decompressor, PeekedPipe, widen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroj.image.unpack.decompress import Readable

BLOCK = 512
"""Block size of a tar, tar(5)."""
END = bytes(2 * BLOCK)
"""The end of every tar."""

COMPRESSION = "lz4"
"""Fast to boot from, and fast enough that packing never delays a download."""

MOST_UNPACKED = 64 << 30
"""Most bytes that an archive may unpack to; a decompression bomb has more."""


def tar_argv(folder: str) -> list[str]:
    """Return the command line that writes a folder's file system as tar to stdout."""
    return [
        *("tar", "--create", f"--directory={folder}", "--numeric-owner", "--sort=name"),
        *("--xattrs", "--xattrs-include=*", "--one-file-system"),
        *("--warning=no-file-ignored", "."),  # it cannot archive sockets
    ]


class Meter:
    """Counts the plain bytes of an archive."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, count: int) -> None:
        """Count more bytes.

        :raises ImageError: if the archive is too large.
        """
        self.count += count
        if self.count > MOST_UNPACKED:
            message = f"the archive unpacks to more than {MOST_UNPACKED / 1e9:.0f} GB"
            raise ImageError(message)


class TarWatch(Meter):
    """Watches the bytes of a tar: their number, and how they end."""

    def __init__(self) -> None:
        super().__init__()
        self._last = b""

    def feed(self, source: Readable, inlet: IO[bytes]) -> None:
        """Pass a tar to a tool; splice it if a decompressor checks for its end.

        :raises ImageError: if the tar is too large.
        """
        if isinstance(source, PeekedPipe) and source.whole:
            for count in source.pour(inlet.fileno()):
                self.add(count)
            self._last = END
        else:
            while chunk := source.read(CHUNK):
                self.add(len(chunk))
                self._last = (self._last + chunk[-len(END) :])[-len(END) :]
                inlet.write(chunk)

    def close(self) -> None:
        """Check that the tar was complete.

        :raises ImageError: if it has no end, or nothing before the end.
        """
        if not self.count:
            message = "the archive is empty"
            raise ImageError(message)
        if self.count < len(END):
            message = "it is not a tar archive"
            raise ImageError(message, evidence=f"it has {self.count} bytes")
        if not self._last.endswith(END):
            message = "the archive was cut off"
            raise ImageError(message, evidence="a tar ends with 1024 zero bytes, this one does not")


def squash(source: Readable, target: Path, subtree: str = "") -> None:
    """Pack an uncompressed tar into a squashfs file; `subtree` is the folder that becomes the root.

    :raises ImageError: if it is not a tar, or contains what an image cannot.
    """
    with ExitStack() as stack:
        # The tool owns the file while it writes, because our folders may be closed to it.
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, descriptor)
        if os.geteuid() == 0:
            os.fchown(descriptor, NOBODY, NOBODY)
        argv = ["tar2sqfs", "--quiet", "--force", "--compressor", COMPRESSION]
        argv += [f"--root-becomes={subtree}"] if subtree else []
        argv.append(f"/proc/self/fd/{descriptor}")
        packer = stack.enter_context(
            process.spawn(
                confined(argv, writes=True),
                stdio=(process.PIPE, process.DEVNULL, process.PIPE),
                env=process.environment(),
                pass_fds=[descriptor],
            )
        )
        assert packer.stdin
        widen(packer.stdin)
        watch = TarWatch()
        with process.collecting_stderr(packer) as complaints:
            with suppress(BrokenPipeError), packer.stdin:
                watch.feed(source, packer.stdin)
            status = process.exit_status(packer.wait())
        output = bytes(complaints).decode(errors="replace")
        if status:
            raise _explain(CommandError(argv, status, process.last_lines(output)))
        watch.close()
        _check_skipped(output)
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o644)


def squash_output(argv: Sequence[str], target: Path) -> None:
    """Pack the tar that a command writes into a squashfs file.

    :raises ImageError: if the command fails, or its tar cannot be packed.
    """
    stdio = (process.DEVNULL, process.PIPE, process.PIPE)
    with (
        process.spawn(argv, stdio=stdio, env=process.environment()) as child,
        process.collecting_stderr(child) as complaints,
    ):
        assert child.stdout
        with child.stdout:
            squash(child.stdout, target)
        status = process.exit_status(child.wait())
    if status:
        output = process.last_lines(bytes(complaints).decode(errors="replace"))
        message = "the files of the image could not be read"
        raise ImageError(message, evidence=f"'{argv[0]}' ended with status {status}\n{output}")


def _check_skipped(output: str) -> None:
    """Refuse an archive if tar2sqfs skipped members of it."""
    skipped = deque((line for line in output.splitlines() if "(invalid name)" in line), maxlen=5)
    if skipped:
        message = "the archive has members outside of its root"
        raise ImageError(message, evidence="\n".join(skipped))


def _explain(error: CommandError) -> ImageError:
    """Explain why tar2sqfs failed."""
    if re.search(r"No space left on device|Disk quota exceeded|: I/O error", error.output):
        return os_errors.disk_full(error.output)
    known = {
        r"not a ustar tar archive": "it is not a tar archive",
        r"unexpected end-of-file": "the archive was cut off",
        r"File exists": "the archive has two members of the same name",
        r"Not a directory": "the archive has members below one that is not a directory",
        r"hard link|Invalid argument": "the archive has a hard link that leads nowhere",
    }
    for pattern, message in known.items():
        if re.search(pattern, error.output):
            return ImageError(message, evidence=error.output)
    return ImageError("the archive cannot be packed", evidence=error.reason)


class Packer(Decompressor):
    """Packs the bytes of a tar, compressed or not, into the squashfs file `target`."""

    def __init__(self, target: Path, subtree: str = "") -> None:
        super().__init__(lambda plain: squash(plain, target, subtree))
