"""A guest that answers from a table: for what is done with answers, never for what answers are."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from postroj.container.guest import VOLATILE, OwnGuest
from postroj.errors import CommandError
from postroj.probe.discover import snapshot
from postroj.process import LIMIT, Completed, Tail

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from postroj.container.guest import Command, File, Process, Socket, Written
    from postroj.process import Child, Stdio

Answer = tuple[int, str] | Exception


@dataclass
class FakeGuest(OwnGuest):
    """`answer` says what a command does: its status and output, or what is raised."""

    answer: Callable[[tuple[str, ...]], Answer] = lambda argv: (0, "")
    failed: list[str] = field(default_factory=list)
    state: str = "running"
    failed_at_boot: tuple[str, ...] = ()
    kept: bool = False
    name: str = "postroj-0a1b2c3d"
    proxies: Mapping[str, str] = field(default_factory=dict)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    delay: float = 0
    files: dict[str, bytes] = field(default_factory=dict)
    listed: list[File] = field(default_factory=list)
    listening: list[Socket] = field(default_factory=list)
    running: list[Process] = field(default_factory=list)
    connected: Callable[[str, str], socket.socket] | None = None
    ended: Exception | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        ok: Collection[int] = (0,),
        timeout: float | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        limit: int = LIMIT,
    ) -> Completed:
        words = tuple(argv)
        with self.lock:
            self.ran.append(words)
        time.sleep(self.delay)
        found = self.answer(words)
        if isinstance(found, Exception):
            raise found
        status, text = found
        if words[:3] == ("sh", "-c", snapshot.SCRIPT) and not text:
            text = "\0" + "".join(f"{name} loaded failed failed\n" for name in self.failed)
        if status not in ok:
            raise CommandError(words, status, text)
        tail = Tail(limit=limit)
        tail(text.encode())
        return Completed(
            argv=words, status=status, stdout=bytes(tail), stderr=b"", is_cut=tail.is_cut
        )

    def spawn(self, argv: Sequence[str], stdio: Stdio) -> AbstractContextManager[Child]:
        raise NotImplementedError  # a fake has no processes

    def attach(self, command: Command, *, with_terminal: bool = True) -> int:
        return self.run(command.argv, ok=range(256)).status

    def read_file(self, path: str, limit: int) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path][:limit]

    def exists(self, path: str) -> bool:
        return path in self.files or any(file.path == path for file in self.listed)

    def walk(
        self, *, skip: Collection[str] = VOLATILE, deepest: int = 64, digests: bool = False
    ) -> list[File]:
        self.require()
        return self.listed

    def connect(self, address: str, kind: str, timeout: float, *, opener: int = 0) -> socket.socket:
        if self.connected is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return self.connected(address, kind)

    def sockets(self) -> list[Socket]:
        return self.listening

    def processes(self) -> list[Process]:
        return self.running

    def oom_kills(self) -> int:
        return 0

    def init(self) -> str:
        return "systemd"

    def require(self) -> None:
        if self.ended:
            raise self.ended

    def has_ended(self, patience: float = 0) -> bool:
        return self.ended is not None

    def kill(self) -> None: ...

    def console(self, limit: int) -> str:
        return "what its console shows"

    def reboot(self, begin: Callable[[], object] | None = None) -> None:
        if begin:
            begin()

    def written(self) -> dict[str, Written]:
        return {}

    def power_off(self, patience: float) -> None: ...

    def layer_argv(self, only: Sequence[str] | None = None) -> list[str]:
        raise NotImplementedError  # a fake writes nothing

    def is_stopping(self) -> bool:
        return False

    def system_state(self) -> str:
        return self.state

    def failed_units(self) -> list[str]:
        with self.lock:
            self.ran.append(("failed_units",))
        return self.failed
