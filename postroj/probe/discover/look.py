"""Discovery in the course of a step: what it found, what to ask, and what kept it from looking."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from postroj.probe.ask.checks import timed
from postroj.probe.ask.question import Question
from postroj.probe.discover import discover
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.container.guest import Guest, Socket
    from postroj.probe.ask.checks import Answer
    from postroj.probe.discover.discover import Found
    from postroj.probe.discover.snapshot import Snapshot
    from postroj.probe.managers.base import PackageManager
    from postroj.verdict import CheckResult, Discovery


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
            question = Question(kind=CheckKind.UNIT, subject="discovery", is_found=True)
            answer = timed(question, partial(self._discover, manager, names, before))
            self.trouble += [] if answer.outcome is Outcome.PASS else [answer]

    def _discover(self, manager: PackageManager, names: Sequence[str], before: Snapshot) -> Answer:
        self._found = discover.discover(self._guest, manager, names, before)
        return Outcome.PASS, ""

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
        return discover.ask_sockets(self._found, self._heard, subjects)

    @property
    def told(self) -> Discovery | None:
        """All of it, for the report; sockets as they were when `then` was called."""
        return self._found.told(self._heard) if self._found else None
