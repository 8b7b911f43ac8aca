"""What the server in a machine answers about its guest: a line of JSON for a line of JSON.

A request is `{"call": NAME, ...}` with the arguments of the method of `Guest` with that name. The
answer has `value`, or `errno` and `message`. After the answer to `connect`, the connection leads to
the socket in the guest: as bytes, or as datagrams that each follow their length (`relay`).
"""

from __future__ import annotations

import base64
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postroj.container import limits
from postroj.container.held import Held
from postroj.container.observe import connect, files, processes, sockets, written
from postroj.machine import commands, relay

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from threading import Event

INIT = 1
"""PID of the guest's init, and of the whole machine's."""
FILES = Path("/run/files")
LAYERS = Path("/run/layers")
SEED = Path("/run/seed")


class Answering:
    """Answers the requests of one connection."""

    def __init__(self, connection: socket.socket, ready: Event) -> None:
        self._connection = connection
        self._ready = ready

    def serve(self) -> None:
        """Answer until the other end closes the connection."""
        with self._connection, suppress(OSError, ValueError):
            lines = self._connection.makefile("rb")
            for line in lines:
                request = json.loads(line)
                call = request.pop("call")
                if call == "connect":
                    self._connect(request)
                    return
                if call == "run":
                    commands.run(self._connection, lines, **request)
                    return
                self._send(partial(getattr(self, f"_{call}"), **request))

    def _send(self, ask: Callable[[], Any]) -> None:
        try:
            answer = {"value": ask()}
        except OSError as error:
            answer = {"errno": error.errno or 0, "message": error.strerror or str(error)}
        self._connection.sendall(json.dumps(answer).encode() + b"\n")

    def _connect(self, request: dict[str, Any]) -> None:
        is_stream = request["kind"].lower() in ("stream", "tcp")
        found: list[socket.socket] = []
        opener = None
        with suppress(OSError):  # it has ended
            pid = request.pop("opener")
            opener = Held(pid) if pid else None
        self._send(lambda: found.append(connect.connect(Held(INIT), **request, opener=opener)))
        for peer in found:
            with peer:
                (relay.bytes_of if is_stream else relay.datagrams_of)(self._connection, peer)

    def _set_clock(self, now: float) -> None:
        time.clock_settime(time.CLOCK_REALTIME, now)

    def _uptime(self) -> float:
        return time.monotonic()

    def _await_ready(self, patience: float) -> bool:
        return self._ready.wait(patience)

    def _order_kernel(self, key: str) -> None:
        """Press a key of the kernel's, sysrq.rst: `o` powers off, `b` reboots at once."""
        Path("/proc/sysrq-trigger").write_text(key)

    def _end_command(self, token: str) -> None:
        commands.end(token)

    def _read_file(self, path: str, limit: int) -> str:
        return base64.b64encode(files.read_file(Held(INIT), path, limit)).decode()

    def _exists(self, path: str) -> bool:
        return files.exists(Held(INIT), path)

    def _walk(self, skip: list[str], deepest: int, digests: bool) -> list[dict[str, Any]]:
        found = files.walk(Held(INIT), skip=skip, deepest=deepest, digests=digests)
        return [asdict(file) for file in found]

    def _sockets(self) -> list[dict[str, Any]]:
        init = Held(INIT)
        return [asdict(one) for one in sockets.sockets(init, members())]

    def _processes(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in processes.processes(members())]

    def _oom_kills(self) -> int:
        return limits.oom_kills()

    def _init(self) -> str:
        return Held(INIT).comm

    def _written(self) -> list[dict[str, Any]]:
        number = len(list(LAYERS.glob("layer*")))
        lowers = [SEED, *(LAYERS / f"layer{each}" for each in reversed(range(number)))]
        return [asdict(one) for one in written.written(FILES / "upper", lowers).values()]


def members() -> Iterator[tuple[Held, str]]:
    """Yield the processes of the guest, each with its control group there.

    Threads of the kernel have no memory of their own. What serves the guest from outside is in this
    process's mount namespace.
    """
    ours = Path("/proc/self/ns/mnt").stat().st_ino
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        with suppress(OSError):
            held = Held(int(path.name))
            if held.read("cmdline") == "" and not os.readlink("exe", dir_fd=held.folder):
                continue
            if os.stat("ns/mnt", dir_fd=held.folder).st_ino != ours:
                yield held, group_of(held.read("cgroup"))


def group_of(cgroup: str) -> str:
    """Return the control group in which systemd tracks a process, by its `/proc/PID/cgroup`."""
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            return path
    return ""
