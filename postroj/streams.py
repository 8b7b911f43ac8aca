"""What flows between us and a child: a feed, sinks with bounded memory, the loop that serves them.

Knows descriptors only; `postroj.process` starts and ends the child.
"""

from __future__ import annotations

import os
import selectors
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 20
A_WHILE = 0.5
"""Seconds after which a child is looked after that says nothing."""
STDIN, STDOUT, STDERR = 0, 1, 2

KEPT = 1 << 20
"""Bytes that a `Tail` keeps: the last ones, where errors are."""
HEAD = 1 << 16
"""Bytes that it keeps of the beginning: a flood must not wash away what it began in."""


@dataclass
class Tail:
    """A sink that keeps the last `limit` bytes of what it is given, and the first `first`."""

    limit: int = KEPT
    first: int = 0
    data: bytearray = field(default_factory=bytearray)
    head: bytes = b""
    """What came first, once that is forgotten."""
    given: int = 0
    """Bytes that it was given so far."""

    def __call__(self, chunk: bytes) -> None:
        """Take a chunk, and forget what is older than the limit."""
        self.given += len(chunk)
        self.data += chunk
        if len(self.data) > 2 * self.limit:
            self.head = self.head or bytes(self.data[: self.first])
            del self.data[: -self.limit]

    @property
    def is_cut(self) -> bool:
        """Whether its bytes are not all that it was given."""
        return self.given > self.limit

    def __bytes__(self) -> bytes:
        tail = bytes(self.data[-self.limit :])
        head = self.head or bytes(self.data[: -self.limit][: self.first])
        return head + b"\n...\n" + tail if head else tail


class Feed:
    """What a child reads: some bytes, then all that a descriptor of ours gives (if any)."""

    def __init__(self, data: bytes = b"", descriptor: int | None = None) -> None:
        self.pending = memoryview(data)
        self.descriptor = descriptor

    def refill(self) -> None:
        """Take the next chunk from the descriptor; forget the descriptor at its end."""
        if self.descriptor is not None:
            chunk = os.read(self.descriptor, CHUNK)
            self.pending = memoryview(chunk)
            if not chunk:
                self.descriptor = None

    def drain(self, target: int) -> None:
        """Write as much as `target`, which does not block, takes."""
        with suppress(BlockingIOError):
            self.pending = self.pending[os.write(target, self.pending) :]


class Loop:
    """A `poll(2)` loop: a feed for the child's stdin, a sink for each output, the child's end."""

    def __init__(
        self,
        target: IO[bytes],
        sinks: dict[IO[bytes], Callable[[bytes], None]],
        feed: Feed,
        pidfd: int,
    ) -> None:
        self.target, self.sinks, self.feed, self.pidfd = target, dict(sinks), feed, pidfd
        # poll, since epoll refuses regular files, which stdin may be
        self.selector = selectors.PollSelector()
        self.selector.register(pidfd, selectors.EVENT_READ)
        os.set_blocking(target.fileno(), False)
        for source in sinks:
            os.set_blocking(source.fileno(), False)
            self.selector.register(source, selectors.EVENT_READ)
        self.watched: int | None = None
        """Of the feed: our end when it waits for bytes, the child's when it has some."""
        self._watch_feed()

    def step(self, deadline: float | None) -> bool:
        """Wait a while for the next events and serve them; whether the child has ended.

        :raises TimeoutError: when `deadline` (of `time.monotonic`) has passed.
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
        """Take what is in the pipes of a child that ended, and wait for nothing more."""
        for source in list(self.sinks):
            self._serve_sink(source)  # one chunk is more than a pipe holds

    def _serve_sink(self, source: IO[bytes]) -> None:
        """Pass one chunk on; forget the source at its end, or when its sink has had enough."""
        try:
            chunk = os.read(source.fileno(), CHUNK)
        except BlockingIOError:
            return
        try:
            self.sinks[source](chunk)
        except BrokenPipeError:
            chunk = b""
        if not chunk:
            del self.sinks[source]
            self.selector.unregister(source)
            source.close()

    def _serve_feed(self) -> None:
        try:
            if self.feed.pending:
                self.feed.drain(self.target.fileno())
            else:
                self.feed.refill()
        except BrokenPipeError:  # the child reads no more
            self.feed = Feed()
        self._watch_feed()

    def _watch_feed(self) -> None:
        """Watch the child's stdin while we have bytes for it, else our source of them."""
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


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however little the descriptor takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
