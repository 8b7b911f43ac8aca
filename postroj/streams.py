"""Bytes to and from a child: a feed, sinks with bounded memory, and the loop that serves them.

This module knows only descriptors; `postroj.process` starts and ends the child.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import selectors
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Sink = Callable[[bytes], None]

CHUNK = 1 << 20
A_WHILE = 0.5
"""Seconds after which the state of a silent child is checked."""
LONGEST_POLL = 2**31 - 1
"""Milliseconds that poll(2) can wait."""
STDIN, STDOUT, STDERR = 0, 1, 2

LIMIT = 1 << 20
"""Bytes of the end of an output that a `Tail` stores, since errors are there."""
HEAD = 1 << 16
"""Bytes of the beginning of an output that a `Tail` stores, since a flood hides what caused it."""


@dataclass
class Tail:
    """A sink that stores the last `limit` bytes of its input, and the first `first`."""

    limit: int = LIMIT
    first: int = 0
    data: bytearray = field(default_factory=bytearray)
    head: bytes = b""
    """The first bytes, once they are no longer in `data`."""
    given: int = 0
    """Bytes of input so far."""
    heard: float = field(default_factory=time.monotonic)
    """When the last input came, or else this was made; of the monotonic clock."""

    def __call__(self, chunk: bytes) -> None:
        """Add a chunk, and forget bytes beyond the limit."""
        self.heard = time.monotonic()
        self.given += len(chunk)
        self.data += chunk
        if len(self.data) > 2 * self.limit:
            self.head = self.head or bytes(self.data[: self.first])
            del self.data[: -self.limit]

    @property
    def is_cut(self) -> bool:
        """Whether the input had more bytes than the limit."""
        return self.given > self.limit

    def __bytes__(self) -> bytes:
        tail = bytes(self.data[-self.limit :])
        head = self.head or bytes(self.data[: -self.limit][: self.first])
        return head + b"\n...\n" + tail if head else tail


class Feed:
    """A child's input: some bytes, then all that can be read from a descriptor, if there is one."""

    def __init__(self, data: bytes = b"", descriptor: int | None = None) -> None:
        self.pending = memoryview(data)
        self.descriptor = descriptor

    def refill(self) -> None:
        """Read the next chunk from the descriptor; forget the descriptor at its end."""
        if self.descriptor is not None:
            try:
                chunk = os.read(self.descriptor, CHUNK)
            except BlockingIOError:  # another process has read what was there
                return
            self.pending = memoryview(chunk)
            if not chunk:
                self.descriptor = None

    def drain(self, target: int) -> None:
        """Write as much as `target`, which must not block, accepts."""
        with suppress(BlockingIOError):
            self.pending = self.pending[os.write(target, self.pending) :]


class Loop:
    """A `poll(2)` loop: a feed for the child's stdin, a sink for each output, the child's end.

    Without a `target` the feed is not served.
    """

    def __init__(
        self,
        target: IO[bytes] | None,
        sinks: Mapping[IO[bytes], Sink],
        feed: Feed,
        pidfd: int,
    ) -> None:
        self.target, self.sinks, self.feed, self.pidfd = target, dict(sinks), feed, pidfd
        # poll, since epoll refuses regular files, which stdin may be
        self.selector = selectors.PollSelector()
        self.selector.register(pidfd, selectors.EVENT_READ)
        for source in sinks:
            os.set_blocking(source.fileno(), False)
            self.selector.register(source, selectors.EVENT_READ)
        self.watched: int | None = None
        """What the feed waits for: its source if it is empty, else the child's stdin."""
        if target:
            os.set_blocking(target.fileno(), False)
            self._watch_feed()

    def step(self, deadline: float | None) -> bool:
        """Wait up to `A_WHILE` for events and serve them; return whether the child has ended.

        :raises TimeoutError: if `deadline` (of `time.monotonic`) has passed.
        """
        left = A_WHILE if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        ready = {key.fileobj for key, _ in self.selector.select(min(left, A_WHILE))}
        if self.watched in ready:
            self._serve_feed()
        for source in [source for source in self.sinks if source in ready]:
            self._serve_sink(source)
        return self.pidfd in ready

    def drain(self) -> None:
        """Read what is left of a child that has ended, without waiting for more."""
        for source in list(self.sinks):
            left = CHUNK  # more than a pipe or a pty holds; another process may go on writing
            while left > 0 and (served := self._serve_sink(source)):
                left -= served

    def _serve_sink(self, source: IO[bytes]) -> int:
        """Pass on one chunk, and return its size.

        Forget the source at its end, and when its sink refuses more.
        """
        try:
            chunk = os.read(source.fileno(), CHUNK)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:  # no process has the other end of a pty open
                raise
            chunk = b""
        try:
            self.sinks[source](chunk)
        except BrokenPipeError:
            chunk = b""
        if not chunk:
            del self.sinks[source]
            self.selector.unregister(source)
            source.close()
        return len(chunk)

    def _serve_feed(self) -> None:
        assert self.target
        try:
            if self.feed.pending:
                self.feed.drain(self.target.fileno())
            else:
                self.feed.refill()
        except BrokenPipeError:  # the child has closed its stdin
            self.feed = Feed()
        self._watch_feed()

    def _watch_feed(self) -> None:
        """Watch the child's stdin while there are bytes for it, else their source."""
        assert self.target
        wanted = self.target.fileno() if self.feed.pending else self.feed.descriptor
        if wanted is None:
            self.target.close()
        if wanted == self.watched:
            return
        if self.watched is not None:
            self.selector.unregister(self.watched)
        self.watched = wanted
        if wanted is None:
            return
        if self.feed.pending:
            self.selector.register(wanted, selectors.EVENT_WRITE)
        else:
            self.selector.register(wanted, selectors.EVENT_READ)


def await_input(descriptors: Iterable[int], seconds: float) -> set[int]:
    """Wait up to `seconds` for input, or the end of a process or peer; return who has it.

    Not by select(2), which refuses descriptors above 1023: a process with many guests has more.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(min(max(0, seconds) * 1000, LONGEST_POLL))}


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, waiting for a descriptor that does not block."""
    view = memoryview(data)
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            poll.poll()


def make_standard_streams_block() -> None:
    """Make the standard streams block, for us and our children.

    Other programs, such as node, make theirs not block, and the flag belongs to the open file that
    they share with us. So open it again, or remove the flag if that is impossible, as for a socket.
    """
    for number in (STDIN, STDOUT, STDERR):
        if os.get_blocking(number) or stat.S_ISREG(os.fstat(number).st_mode):
            continue
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
        flags = mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO would wait for a reader
        try:
            ours = os.open(f"/proc/self/fd/{number}", flags)
        except OSError:
            os.set_blocking(number, True)
            continue
        os.set_blocking(ours, True)
        os.dup2(ours, number)
        os.close(ours)
