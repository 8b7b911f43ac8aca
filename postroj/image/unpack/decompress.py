"""From the bytes of a file to its plain bytes: decompressed as they arrive, by a tool in between.

The tools that see bytes of strangers run without any right but to read and write what they were
given.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from fcntl import F_SETPIPE_SZ, fcntl
from io import FileIO
from tempfile import TemporaryFile
from threading import Thread
from typing import IO, TYPE_CHECKING, Protocol

from postroj import process
from postroj.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

CHUNK = 1 << 18
HEAD = 4096
"""Bytes that tell of what kind a file is."""
WIDTH = 1 << 20
"""Bytes that a pipe holds; more is for root only, pipe(7)."""

MOST_MEMORY = 1 << 30
"""Bytes that a tool may use for the members of an archive; a bomb takes more."""
NOBODY = 65534

DECOMPRESSORS = {
    b"\xfd7zXZ\x00": ("xz", "-dc"),
    b"\x1f\x8b": ("gzip", "-dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dcq"),
    b"BZh": ("bzip2", "-dc"),
}
"""By the first bytes of a compressed file."""
LONGEST_MAGIC = max(map(len, DECOMPRESSORS))


def confined(argv: Sequence[str]) -> list[str]:
    """Return the command line of a tool that gets no rights of ours; root's are dropped."""
    limits = ["prlimit", f"--data={MOST_MEMORY}", "--core=0", "--"]
    ours = ["setpriv", "--pdeathsig", "KILL", "--no-new-privs"]
    if os.geteuid() == 0:
        ours += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        ours += ["--bounding-set=-all", "--inh-caps=-all"]
    return [*ours, "--", *limits, *argv]


def decompressor(head: bytes) -> tuple[str, ...]:
    """Return the tool for a file with these first bytes; none if it is not compressed."""
    for magic, argv in DECOMPRESSORS.items():
        if head.startswith(magic):
            return argv
    return ()


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, at the end none."""


class Ahead:
    """Plain bytes of an archive, of which the first are known before they are read."""

    def __init__(self, pipe: FileIO, *, whole: bool) -> None:
        self.pipe = pipe
        self.whole = whole
        """Whether a tool judges that nothing is missing at its end."""
        self.head = b""
        while len(self.head) < HEAD and (chunk := pipe.read(HEAD - len(self.head))):
            self.head += chunk
        self._left = self.head

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, at the end none."""
        if not self._left:
            return self.pipe.read(size) or b""
        chunk = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(chunk) :]
        return chunk + (self.pipe.read() if size < 0 else b"")

    def pour(self, target: int) -> Iterator[int]:
        """Move what was not read yet to another pipe without copying it; the numbers of bytes."""
        while self._left:
            written = os.write(target, self._left)
            self._left = self._left[written:]
            yield written
        while moved := os.splice(self.pipe.fileno(), target, WIDTH):
            yield moved


class Plain:
    """Compressed bytes are written in, a thread of its own consumes the plain ones.

    Leaving the context waits for both and raises what went wrong; leaving it with an exception
    ends both. What the consumer does not read of the plain bytes is discarded.
    """

    def __init__(self, consume: Callable[[Ahead], None]) -> None:
        self.consume = consume
        self._head: bytes | None = b""
        """The first bytes, until they tell the compression."""
        self._stack = ExitStack()
        self._failures: list[BaseException] = []
        self._process: process.Child | None = None

    def __enter__(self) -> Self:
        self._complaints = self._stack.enter_context(TemporaryFile())
        return self

    def write(self, chunk: bytes) -> int:
        """Take bytes; once the other side has failed they go nowhere.

        :raises HostError: if the tool to decompress them is not installed.
        """
        if self._head is None:
            self._feed(chunk)
        else:
            self._head += chunk
            if len(self._head) >= LONGEST_MAGIC:
                self._begin()
        return len(chunk)

    def _begin(self) -> None:
        head, self._head = self._head or b"", None
        if argv := decompressor(head):
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
        with suppress(BrokenPipeError):  # whoever closed it says why
            while rest:
                rest = rest[self._inlet.write(rest) or 0 :]

    def _consume(self, outlet: FileIO) -> None:
        try:
            with outlet:
                self.consume(Ahead(outlet, whole=self._process is not None))
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
            if self._head is None:
                self._end(failed=kind is not None)

    def _end(self, *, failed: bool) -> None:
        if failed and self._process:
            process.kill_group(self._process)
        with suppress(BrokenPipeError):
            self._inlet.close()
        self._thread.join()
        if failed:
            return
        status = process.exit_status(self._process.wait()) if self._process else 0
        # the consumer is first to fail when its tool ends for want of a reader
        if self._failures and status in (0, 128 + signal.SIGPIPE):
            raise self._failures[0]
        if status:
            self._complaints.seek(0)
            said = self._complaints.read().decode(errors="replace")
            message = f"the archive is damaged, or was cut off: {self._argv[0]} cannot unpack it"
            raise ImageError(message, evidence=process.last_lines(said))


def widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold more, so that both of its sides are woken less often."""
    with suppress(OSError):  # users without root have no more than so many pages for all pipes
        fcntl(pipe.fileno(), F_SETPIPE_SZ, WIDTH)
