"""A guest that answers from a table: for what is done with answers, never for what answers are."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from postroj.container.boot.nspawn import GuestSpec
from postroj.errors import CommandError
from postroj.process import KEPT, Completed, Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from postroj.container.guest import Guest

Answer = tuple[int, str] | Exception


@dataclass
class FakeGuest:
    """`answer` says what a command does: its status and output, or what is raised."""

    answer: Callable[[tuple[str, ...]], Answer]
    failed: list[str] = field(default_factory=list)
    state: str = "running"
    failed_at_boot: tuple[str, ...] = ()
    leader: int = 1
    kept: bool = False
    name: str = "postroj-0a1b2c3d"
    ran: list[tuple[str, ...]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    delay: float = 0
    spec: GuestSpec = field(default_factory=lambda: GuestSpec(layers=()))

    def run(
        self,
        argv: Collection[str],
        *,
        ok: Collection[int] = (0,),
        timeout: float | None = None,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        keep: int = KEPT,
    ) -> Completed:
        words = tuple(argv)
        with self.lock:
            self.ran.append(words)
        time.sleep(self.delay)
        found = self.answer(words)
        if isinstance(found, Exception):
            raise found
        status, text = found
        if status not in ok:
            raise CommandError(words, status, text)
        tail = Tail(limit=keep)
        tail(text.encode())
        return Completed(
            argv=words, status=status, stdout=bytes(tail), stderr=b"", is_cut=tail.is_cut
        )

    def require(self) -> None: ...

    def has_ended(self, patience: float = 0) -> bool:
        return False

    def console(self, limit: int) -> str:
        return "what its console shows"

    def is_stopping(self) -> bool:
        return False

    def system_state(self) -> str:
        return self.state

    def failed_units(self) -> list[str]:
        with self.lock:
            self.ran.append(("failed_units",))
        return self.failed


def as_guest(fake: FakeGuest) -> Guest:
    return cast("Guest", fake)
