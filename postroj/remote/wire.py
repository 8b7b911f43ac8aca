"""Frames between two ends: four bytes with a length, then as many bytes.

A stream, such as a tar, is a sequence of frames that an empty frame ends.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = struct.Struct(">I")
LARGEST = 1 << 20
"""Bytes in a frame that is sent, and in one that is accepted."""


class Wire:
    """Two unbuffered pipes: so what is not received yet can be polled for."""

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self.incoming, self.outgoing = incoming, outgoing

    def send(self, data: bytes) -> None:
        """Send one frame."""
        view = memoryview(LENGTH.pack(len(data)) + data)
        while view:
            view = view[os.write(self.outgoing.fileno(), view) :]

    def send_object(self, value: dict[str, Any]) -> None:
        """Send an object as JSON."""
        self.write(json.dumps(value).encode())
        self.send(b"")

    def write(self, data: bytes) -> int:
        """Send a part of a stream, as a file takes it."""
        view = memoryview(data)
        for start in range(0, len(view), LARGEST):
            self.send(bytes(view[start : start + LARGEST]))
        return len(data)

    def receive(self) -> bytes:
        """Return the next frame.

        :raises EOFError: if the other end is gone, or sends something else.
        """
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        if length > LARGEST:
            raise EOFError
        return self._read(length)

    def receive_object(self) -> dict[str, Any]:
        """Return an object that was sent as JSON.

        :raises EOFError: as `receive`.
        """
        with suppress(ValueError):
            found = json.loads(b"".join(self.stream()))
            if isinstance(found, dict):
                return found
        raise EOFError

    def stream(self) -> Iterator[bytes]:
        """Yield the frames of a stream.

        :raises EOFError: as `receive`.
        """
        while data := self.receive():
            yield data

    def line(self) -> bytes:
        """Return the next line, without its end, of what is no frame yet.

        :raises EOFError: if the other end is gone.
        """
        found = b""
        while not found.endswith(b"\n") and len(found) < LARGEST:
            found += self._read(1)
        return found.rstrip(b"\r\n")

    def _read(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            part = os.read(self.incoming.fileno(), count - len(found))
            if not part:
                raise EOFError
            found += part
        return bytes(found)


class Stream:
    """A stream as a file to read from, for `tarfile` and the like."""

    def __init__(self, wire: Wire) -> None:
        self._frames = wire.stream()
        self._rest = b""

    def read(self, count: int = -1) -> bytes:
        """Return up to `count` bytes; fewer only at the end.

        :raises EOFError: if the other end is gone.
        """
        parts = [self._rest]
        length = len(self._rest)
        while (count < 0 or length < count) and (frame := next(self._frames, b"")):
            parts.append(frame)
            length += len(frame)
        found = b"".join(parts)
        if count < 0:
            count = length
        self._rest = found[count:]
        return found[:count]

    def skip(self) -> None:
        """Read what is left."""
        for _ in self._frames:
            pass
