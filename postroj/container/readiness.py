"""When is a guest ready? It tells us: nspawn passes its notifications on, sd_notify(3).

In order come the leader's PID, and `READY=1` when the guest's job queue is empty. No sleep and no
poll is on the way. What state the guest is in then is asked once, of its manager.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from postroj.container.nspawn import NETWORK_UP
from postroj.streams import CHUNK

if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO, Self

KEPT = 1000
"""Notifications that wait for who asks; a guest may send many."""
CREDENTIALS = struct.Struct("=iII")  # struct ucred, unix(7)


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One datagram: who sent it (PID and UID as seen from here), and its assignments."""

    pid: int
    uid: int
    fields: dict[str, str]


def parse(payload: bytes, pid: int, uid: int) -> Notification:
    """Read the `NAME=value` lines of a datagram."""
    lines = payload.decode(errors="replace").splitlines()
    pairs = (line.partition("=") for line in lines)
    return Notification(pid=pid, uid=uid, fields={name: value for name, _, value in pairs})


class Listener:
    """The socket that nspawn notifies, read all the time by a thread.

    A manager tells of each `daemon-reload`. The kernel keeps ten datagrams that nobody reads; then
    nspawn waits, and with it the guest's PID 1: whatever is asked of that hangs.
    """

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(str(path))
        self._told: deque[Notification] = deque(maxlen=KEPT)
        self._count = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = Thread(target=self._read, name="notifications", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.socket.close()
        os.close(self._count)

    def _read(self) -> None:
        """Take note of what root says, until the socket is shut down."""
        while True:
            payload, control, _, _ = self.socket.recvmsg(8192, socket.CMSG_SPACE(12))
            if not control:  # which every datagram has, also an empty one
                return
            for _, _, data in control:
                pid, uid, _ = CREDENTIALS.unpack(data)
                if uid == 0:
                    self._told.append(parse(payload, pid, uid))
                    os.eventfd_write(self._count, 1)

    def next(self, script: IO[bytes], deadline: float) -> Notification | None:
        """Wait for the next notification, of root or of the launch script; None when that ends.

        :raises TimeoutError: when `deadline` (of `time.monotonic`) passes.
        """
        sources = [self._count, script.fileno()]
        while True:
            ready, _, _ = select.select(sources, [], [], max(0, deadline - time.monotonic()))
            if self._count in ready:
                os.eventfd_read(self._count)
                with suppress(IndexError):  # older ones have made place
                    return self._told.popleft()
            elif ready:
                said = os.read(sources[1], CHUNK).decode()
                up = said == f"{NETWORK_UP}\n"
                return Notification(pid=0, uid=0, fields={NETWORK_UP: "1"}) if up else None
            else:
                raise TimeoutError


def leader_of(nspawn: int, inner_pid: int) -> int:
    """The guest's PID 1 as seen from here; nspawn knows it by the number in its own namespace.

    :raises ProcessLookupError: if it has ended already.
    """
    children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
    for child in children:
        if inner_pid in namespace_pids(int(child)):
            return int(child)
    raise ProcessLookupError


def namespace_pids(pid: int) -> list[int]:
    """Return a process's numbers, from the outermost namespace inwards, proc_pid_status(5)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "NSpid":
            return [int(number) for number in value.split()]
    return []
