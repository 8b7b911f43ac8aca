"""Ask the server in a machine: one connection for the life of the machine, more for its sockets.

What it answers comes from the guest's side and is trusted as little: values have the types that are
asked for, or the machine counts as ended.
"""

from __future__ import annotations

import json
import socket
import time
import weakref
from contextlib import suppress
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, TypeVar

from postroj.machine.reached import Datagrams
from postroj.streams import await_input

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

LONGEST = 256 << 20
"""Bytes of an answer, which may list all files of a guest."""
LONGEST_REFUSAL = 4096
INTERVAL = 0.02
"""Seconds between two attempts to connect."""
ANSWERING = 30.0
"""Seconds that the way to the guest may take, beside the guest itself."""
SILENCE = 600.0
"""Seconds for an answer, which may take the digests of all files of a guest that is emulated."""
STREAMS = ("stream", "tcp")
GARBAGE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""Errors that an answer causes which is none."""


class Gone(Exception):
    """The server has closed the connection, and with it the machine has ended."""


class Line:
    """A connection to the server, which is closed once this object is no longer referenced."""

    def __init__(self, path: Path) -> None:
        """Connect.

        :raises OSError: if there is no server.
        """
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.socket.settimeout(SILENCE)
        self._reader = self.socket.makefile("rb")
        weakref.finalize(self, _close, self._reader, self.socket)
        self._lock = Lock()

    def close(self) -> None:
        """Close it."""
        _close(self._reader, self.socket)

    def ask(self, call: str, kind: type[T], **arguments: Any) -> T:
        """Return the answer to a call.

        :raises OSError: if the server met that.
        :raises Gone: if the connection ends, or the answer does not come or is not of this type.
        """
        try:
            with self._lock:
                self.socket.sendall(_request(call, arguments))
                reply = self._reader.readline(LONGEST)
        except (OSError, ValueError):  # ValueError: it was closed
            raise Gone from None
        return _value(reply, kind)

    def has_ended(self, patience: float) -> bool:
        """Whether the machine has ended, or ends within `patience` seconds."""
        if (
            self.socket.fileno() < 0
        ):  # closed, as before a reboot from which the guest did not return
            return True
        if self._lock.locked():  # an answer is under way, which would look like the end
            return False
        if not await_input([self.socket.fileno()], patience):
            return False
        with suppress(BlockingIOError):
            return not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return False


def _close(*streams: IO[bytes] | socket.socket) -> None:
    for stream in streams:
        stream.close()


def connect(path: Path, deadline: float, has_ended: Callable[[], bool]) -> Line:
    """Connect as soon as the server answers.

    :raises Gone: if the machine ends before.
    :raises TimeoutError: if `deadline` (of `time.monotonic`) passes.
    """
    while time.monotonic() < deadline:
        with suppress(OSError, Gone):
            line = Line(path)
            try:
                line.ask("exists", bool, path="/")
            except BaseException:
                line.close()
                raise
            return line
        if has_ended():
            raise Gone
        time.sleep(INTERVAL)
    raise TimeoutError


def await_ready(line: Line, deadline: float) -> None:
    """Wait until the guest's manager is ready.

    :raises Gone: if the machine ends before.
    :raises TimeoutError: if `deadline` passes.
    """
    while not line.ask("await_ready", bool, patience=1.0):
        if time.monotonic() > deadline:
            raise TimeoutError


def clock_offset(line: Line) -> float:
    """Return how many seconds this host's monotonic clock is ahead of the machine's.

    :raises Gone: if the machine has ended.
    """
    before = time.monotonic()
    there = line.ask("uptime", float)
    return (before + time.monotonic()) / 2 - there


def set_clock(line: Line) -> None:
    """Set the wall clock of the machine, which begins with whole seconds, to this host's.

    :raises Gone: if the machine has ended.
    """
    before = time.monotonic()
    line.ask("uptime", float)
    line.ask("set_clock", type(None), now=time.time() + (time.monotonic() - before) / 2)


def reach(path: Path, address: str, kind: str, timeout: float, opener: int) -> socket.socket:
    """Return a socket that leads to one in the guest, see `Guest.connect`.

    :raises OSError: if nothing accepts connections there.
    :raises Gone: if the machine has ended.
    """
    arguments = {"address": address, "kind": kind, "timeout": timeout, "opener": opener}
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(timeout + ANSWERING)
        try:
            stream.connect(str(path))
            stream.sendall(_request("connect", arguments))
            reply = _line(stream)
        except (ConnectionError, FileNotFoundError) as error:
            raise Gone from error
        _value(reply, type(None))
        stream.settimeout(timeout)
        return stream if kind.lower() in STREAMS else Datagrams(stream, address, timeout)
    except BaseException:
        stream.close()
        raise


def _request(call: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps({"call": call, **arguments}).encode() + b"\n"


def _value(reply: bytes, kind: type[T]) -> T:
    try:
        answer = json.loads(reply)
        if "errno" in answer:
            failure = OSError(int(answer["errno"]), str(answer["message"]))
        elif isinstance(value := answer["value"], kind):
            return value
        else:
            raise Gone
    except GARBAGE:
        raise Gone from None
    raise failure


def _line(stream: socket.socket) -> bytes:
    """Read a line and nothing beyond it, which comes from a socket in the guest."""
    found = b""
    while not found.endswith(b"\n") and len(found) < LONGEST_REFUSAL:
        part = stream.recv(1)
        if not part:
            break
        found += part
    return found
