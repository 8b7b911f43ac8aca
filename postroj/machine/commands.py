"""Run the commands of `call` in a machine.

A command begins in a session of its own, whose processes end with the connection.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess  # the door of the host is closed here
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING

from postroj.machine.call import CHUNK, ERR, IN, OUT, STATUS, frame, receive
from postroj.streams import write_all

if TYPE_CHECKING:
    import socket

COMMANDS = Path("/run/commands")
"""A link for each command from outside, from its token to the PID of its session."""
DRAINING = 2.0
"""Seconds in which what a command has written is read, if others still have its pipes open."""
NOT_FOUND = 127


def end(token: str) -> None:
    """Kill the processes of a command from outside."""
    with suppress(OSError, ValueError):
        os.killpg(int((COMMANDS / token).readlink().name), signal.SIGKILL)
        (COMMANDS / token).unlink()


def run(
    connection: socket.socket,
    frames: IO[bytes],
    argv: list[str],
    env: dict[str, str],
    token: str,
) -> None:
    """Run a command whose streams are frames of a connection; `frames` reads from that.

    :raises OSError: if that breaks; the command is killed then.
    """
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(
            argv,
            env=env,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
            start_new_session=True,
            umask=0o022,
        )
    except OSError as error:
        text = f"{argv[0]}: {error.strerror}\n".encode()
        connection.sendall(frame(ERR, text) + frame(STATUS, bytes([NOT_FOUND])))
        return
    COMMANDS.mkdir(exist_ok=True)
    link = COMMANDS / token
    link.symlink_to(str(child.pid))
    try:
        status = Streams(connection, frames, child).carry()
        connection.sendall(frame(STATUS, bytes([status])))
    finally:
        if child.poll() is None:
            with suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        link.unlink(missing_ok=True)


class Streams:
    """The streams of a command and the connection."""

    def __init__(
        self, connection: socket.socket, frames: IO[bytes], child: subprocess.Popen[bytes]
    ) -> None:
        assert child.stdin and child.stdout and child.stderr
        self._connection = connection
        self._frames = frames
        self._child = child
        self._stdin = child.stdin
        self._outputs = {child.stdout.fileno(): (OUT, child.stdout)}
        self._outputs[child.stderr.fileno()] = (ERR, child.stderr)
        self._unread: set[int] = set()
        """The kinds of the outputs that nobody reads any more."""

    def carry(self) -> int:
        """Carry bytes until the command ends; return its status, 128 + N after a signal.

        :raises OSError: if the connection breaks.
        """
        Thread(target=self._feed, daemon=True).start()
        pidfd = os.pidfd_open(self._child.pid)
        try:
            self._carry(pidfd)
        finally:
            os.close(pidfd)
            for _, stream in self._outputs.values():
                stream.close()
        status = self._child.wait()
        return 128 - status if status < 0 else status

    def _carry(self, pidfd: int) -> None:
        watched = select.poll()
        for number in (*self._outputs, pidfd):
            watched.register(number, select.POLLIN)
        watched.register(self._connection, select.POLLRDHUP)
        deadline = None
        while self._outputs or deadline is None:
            left = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
            ready = watched.poll(left)
            if not ready:
                return
            for number, _ in ready:
                if number == pidfd:
                    deadline = time.monotonic() + DRAINING
                    watched.unregister(pidfd)
                elif number not in self._outputs:
                    raise BrokenPipeError
                elif not self._pass_on(number):
                    watched.unregister(number)
                    _, stream = self._outputs.pop(number)
                    stream.close()  # so that the command learns that nobody reads it

    def _pass_on(self, output: int) -> bool:
        """Pass on what the command has written; return whether there may be more."""
        kind, _ = self._outputs[output]
        data = os.read(output, CHUNK)
        if not data or kind in self._unread:
            return False
        self._connection.sendall(frame(kind, data))
        return True

    def _feed(self) -> None:
        """Pass on what stdin contains; go on after that, for what else is said."""
        with suppress(OSError, ValueError), self._stdin:
            while found := receive(self._frames):
                kind, data = found
                if kind != IN:
                    self._unread.add(kind)
                elif data:
                    with suppress(OSError, ValueError):  # nobody reads it, or its end was told
                        write_all(self._stdin.fileno(), data)
                else:
                    self._stdin.close()
