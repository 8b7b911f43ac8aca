"""Decompress bytes as they arrive, through a confined tool and without temporary files."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, suppress
from fcntl import F_SETPIPE_SZ, fcntl
from io import FileIO
from tempfile import TemporaryFile
from threading import Thread
from typing import IO, TYPE_CHECKING, Protocol

from postroj import process
from postroj.errors import HostError, ImageError
from postroj.image.unpack.confine import confined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

CHUNK = 1 << 18
HEAD = 4096
"""Bytes that suffice to detect the kind of a file."""
WIDTH = 1 << 20
"""Bytes that a pipe buffers, the largest size for users without root, pipe(7)."""

DECOMPRESSORS = {
    b"\xfd7zXZ\x00": ("xz", "-dc"),
    b"\x1f\x8b": ("gzip", "-dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dcq"),
    b"BZh": ("bzip2", "-dc"),
}
"""Tool by the first bytes of a compressed file."""
LONGEST_MAGIC = max(map(len, DECOMPRESSORS))


def decompress_argv(head: bytes) -> tuple[str, ...]:
    """Return the tool that decompresses a file with this beginning; empty if it is plain."""
    for magic, argv in DECOMPRESSORS.items():
        if head.startswith(magic):
            return argv
    return ()


class Readable(Protocol):
    """Anything with a `read` method for bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


class PeekedPipe:
    """A pipe of plain bytes whose first `HEAD` bytes can be inspected before they are read."""

    def __init__(self, pipe: FileIO, *, whole: bool) -> None:
        self.pipe = pipe
        self.whole = whole
        """Whether the tool that writes it reports a truncated input."""
        self.head = b""
        while len(self.head) < HEAD and (chunk := pipe.read(HEAD - len(self.head))):
            self.head += chunk
        self._left = self.head

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        if not self._left:
            return self.pipe.read(size) or b""
        chunk = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(chunk) :]
        return chunk + (self.pipe.read() if size < 0 else b"")

    def pour(self, target: int) -> Iterator[int]:
        """Splice all unread bytes to another pipe, without copying them; yield their numbers."""
        while self._left:
            written = os.write(target, self._left)
            self._left = self._left[written:]
            yield written
        while moved := os.splice(self.pipe.fileno(), target, WIDTH):
            yield moved


class Decompressor:
    """Takes compressed bytes, and has a thread consume the plain ones.

    Leaving the context waits for tool and thread, and raises their error; leaving it with an
    exception stops them. Plain bytes that the consumer does not read are discarded.
    """

    def __init__(self, consume: Callable[[PeekedPipe], None]) -> None:
        self.consume = consume
        self._head: bytes | None = b""
        """First bytes, until they suffice to detect the compression."""
        self._stack = ExitStack()
        self._failures: list[BaseException] = []
        self._process: process.Child | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        self._complaints = self._stack.enter_context(TemporaryFile())
        return self

    def write(self, chunk: bytes) -> int:
        """Take bytes; they are discarded once the consumer has failed.

        :raises HostError: if the tool that decompresses them is not installed.
        """
        if self._head is None:
            self._feed(chunk)
        else:
            self._head += chunk
            if len(self._head) >= LONGEST_MAGIC:
                self._begin()
        return len(chunk)

    def _begin(self) -> None:
        if sys.platform != "linux":
            message = "compressed files are read on Linux only, where the tools are confined"
            raise HostError(message, hint="run the command on a machine with Linux")
        head, self._head = self._head or b"", None
        if argv := decompress_argv(head):
            stdio = (process.PIPE, process.PIPE, self._complaints)
            child = process.spawn(confined(argv), stdio=stdio, env=process.environment())
            self._process = self._stack.enter_context(child)
            assert self._process.stdin and self._process.stdout
            self._argv, self._inlet = argv, self._process.stdin
            outlet = FileIO(os.dup(self._process.stdout.fileno()))
            self._process.stdout.close()
        else:
            read_end, write_end = os.pipe()
            self._inlet, outlet = os.fdopen(write_end, "wb", 0), FileIO(read_end)
        for pipe in (self._inlet, outlet):
            widen(pipe)
        self._thread = Thread(target=self._consume, args=(outlet,), daemon=True)
        self._thread.start()
        self._feed(head)

    def _feed(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        with suppress(BrokenPipeError):  # the side that closed the pipe reports why
            while rest:
                rest = rest[self._inlet.write(rest) or 0 :]

    def _consume(self, outlet: FileIO) -> None:
        try:
            with outlet:
                self.consume(PeekedPipe(outlet, whole=self._process is not None))
                while outlet.read(CHUNK):
                    pass
        except BaseException as error:
            self._failures.append(error)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None and self._head is not None:
                self._begin()
            if self._thread:
                self._end(self._thread, failed=kind is not None)

    def _end(self, thread: Thread, *, failed: bool) -> None:
        if failed and self._process:
            process.kill_group(self._process)
        with suppress(BrokenPipeError):
            self._inlet.close()
        thread.join()
        if failed:
            return
        status = process.exit_status(self._process.wait()) if self._process else 0
        # If the consumer fails first, its tool ends for lack of a reader.
        if self._failures and status in (0, 128 + signal.SIGPIPE):
            raise self._failures[0]
        if status:
            self._complaints.seek(0)
            output = self._complaints.read().decode(errors="replace")
            message = f"the archive is damaged or incomplete: {self._argv[0]} cannot unpack it"
            raise ImageError(message, evidence=process.last_lines(output))


def widen(pipe: IO[bytes]) -> None:
    """Enlarge the buffer of a pipe, so that its two sides wake each other less often."""
    with suppress(OSError):  # users without root have a limit for all their pipes
        fcntl(pipe.fileno(), F_SETPIPE_SZ, WIDTH)
