"""Wait for a guest to be ready, by the notifications that nspawn passes on, sd_notify(3).

First comes the leader's PID, then `READY=1` when the guest's job queue is empty; nothing is polled.
After that the guest's manager is asked once for its state.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroj.container.held import Held
from postroj.streams import await_input

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import IO, Self

NETWORK_UP = "X_POSTROJ_NETWORK"
"""Field of the launch script's notification when the private network is up."""
CREDENTIALS = struct.Struct("=iII")  # struct ucred, unix(7)


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A datagram: its sender's PID and UID as seen from here, and its assignments."""

    pid: int
    uid: int
    fields: dict[str, str]


def parse(payload: bytes, pid: int, uid: int) -> Notification:
    """Read the `NAME=value` lines of a datagram."""
    lines = payload.decode(errors="replace").splitlines()
    pairs = (line.partition("=") for line in lines)
    return Notification(pid=pid, uid=uid, fields={name: value for name, _, value in pairs})


class Listener:
    """The socket that nspawn notifies, open only while it is read.

    systemd >= 253 notifies of each reload. The kernel queues ten datagrams for a socket
    (net.unix.max_dgram_qlen), after which the guest's manager would wait for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.open()

    def open(self) -> None:
        """Listen, perhaps again; notifications in between are lost."""
        self._path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(str(self._path))

    def close(self) -> None:
        """Refuse further notifications, so that no sender waits."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def next(self, script: IO[bytes], deadline: float) -> Notification | None:
        """Wait for the next notification of root; None if the launch script ends or reports an end.

        :raises TimeoutError: if `deadline` (of `time.monotonic`) passes.
        """
        sources = [self.socket.fileno(), script.fileno()]
        while True:
            ready = await_input(sources, deadline - time.monotonic())
            if sources[0] in ready:
                if notification := self.receive():
                    return notification
            elif ready:
                return None
            else:
                raise TimeoutError

    def receive(self) -> Notification | None:
        """Receive the next datagram; return None if root did not send it."""
        payload, control, _, _ = self.socket.recvmsg(8192, socket.CMSG_SPACE(12))
        for _, _, data in control:
            pid, uid, _ = CREDENTIALS.unpack(data)
            if uid == 0:
                return parse(payload, pid, uid)
        return None


def leader_of(nspawn: int, inner_pid: int) -> int:
    """Return the leader's PID as seen from here; `inner_pid` is its PID in nspawn's namespace.

    :raises OSError: if nspawn or the leader has already ended.
    """
    for child in Held(nspawn).children:
        with suppress(OSError):  # one that has ended
            if inner_pid in Held(child).numbers:
                return child
    raise ProcessLookupError
