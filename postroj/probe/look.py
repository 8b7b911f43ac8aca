"""Discovery in the course of a step: what it found, what to ask, and what kept it from looking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroj.errors import PostrojError
from postroj.model import CheckKind, CheckResult, Outcome
from postroj.probe import discover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest
    from postroj.model import Discovery
    from postroj.probe.discover import Found
    from postroj.probe.managers.base import PackageManager
    from postroj.probe.question import Question
    from postroj.probe.snapshot import Snapshot
    from postroj.probe.sockets import Socket


class Look:
    """What an installation has brought since `before`; without that, nobody looks."""

    def __init__(
        self, guest: Guest, manager: PackageManager, names: Sequence[str], before: Snapshot | None
    ) -> None:
        self.trouble: list[CheckResult] = []
        self._guest = guest
        self._before = before
        self._found: Found | None = None
        self._heard: list[Socket] = []
        if before:
            try:
                self._found = discover.discover(guest, manager, names, before)
            except PostrojError as error:
                self.trouble.append(
                    CheckResult(
                        kind=CheckKind.UNIT,
                        subject="discovery",
                        outcome=Outcome.ERROR,
                        reason=error.reason,
                        seconds=0,
                        discovered=True,
                    )
                )

    @property
    def sentence(self) -> str:
        """What the package brings, in numbers."""
        return self._found.sentence if self._found else ""

    def questions(self, asked: Sequence[Question]) -> list[Question]:
        """Questions about units, besides those that are asked anyway."""
        if not self._found:
            return []
        return discover.unasked_units(
            self._found, [q.subject for q in asked if q.kind is CheckKind.UNIT]
        )

    def then(self, asked: Sequence[Question]) -> list[Question]:
        """Questions about what listens now, since units had the time to settle."""
        if not self._found or not self._before:
            return []
        self._heard = discover.heard(self._guest, self._found, self._before)
        subjects = {question.subject for question in asked}
        return discover.ask_sockets(self._guest.leader, self._found, self._heard, subjects)

    @property
    def told(self) -> Discovery | None:
        """All of it, for the report; sockets as they were when `then` was called."""
        return self._found.told(self._heard) if self._found else None
