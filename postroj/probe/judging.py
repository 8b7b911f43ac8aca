"""Judge a guest after a step: the packages must work, or be gone without residue."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from postroj.probe.ask import checks
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import unit_name
from postroj.probe.compare import administrator, complaints, continuity, gone, residue
from postroj.probe.compare.bystanders import Bystanders
from postroj.probe.course import LEAVING
from postroj.probe.discover import listening, snapshot
from postroj.probe.discover.discover import Brought, discover, unasked_units
from postroj.probe.managers import manager_of
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from postroj.container.guest import OwnGuest, Socket
    from postroj.model import Image
    from postroj.probe.ask.checks import Answer
    from postroj.probe.plan import Plan
    from postroj.probe.steps import Journey
    from postroj.verdict import Discovery

    Announce = Callable[[CheckResult], None]

DISCOVERY = Question(kind=CheckKind.SYSTEM, subject="discovery", is_found=True)


@dataclass(frozen=True, kw_only=True)
class Before:
    """The state of a guest immediately before a step."""

    failed: tuple[str, ...]
    """Units that have failed before the step or before the probe."""
    units: continuity.Units
    """States of the units that have been judged; empty before the first step."""
    since: float
    """When the step began, by the wall clock."""


class Judge:
    """Judges a guest after each step, by comparison with the guest before the installation.

    The methods that ask pass each answer to `announce` as soon as it is known.
    """

    def __init__(self, guest: OwnGuest, image: Image, plan: Plan) -> None:
        self._guest = guest
        self._manager = manager_of(image.manager)
        self._plan = plan
        self._failed = guest.failed_units()
        self._snapshot = snapshot.take(guest)
        leaves = any(name in LEAVING for name in plan.steps)
        self._inventory = residue.take(guest, self._manager) if leaves else None
        self._asked: tuple[Question, ...] = ()
        """The questions of the last step that left the packages installed."""
        self._belongings = gone.Belongings(units=frozenset(), paths=frozenset())
        """What the packages owned before the first step that removes them."""

    @property
    def subjects(self) -> list[str]:
        """The names of the units that are judged."""
        questions = (question for question in self._asked if question.kind is CheckKind.UNIT)
        return [unit_name(question.subject) for question in questions]

    def remember(self, step: StepName, names: Sequence[str]) -> Before:
        """Return the state before a step; `names` are the packages that are installed."""
        failed, units = self._failed, continuity.Units()
        if step is not self._plan.steps[0]:
            failed = sorted({*self._failed, *self._guest.failed_units()})
            named = [q.subject for q in self._plan.questions if q.kind is CheckKind.UNIT]
            subjects = dict.fromkeys([*self.subjects, *map(unit_name, named)])
            units = continuity.remember(self._guest, subjects)
        if step in LEAVING and not self._belongings.paths:
            self._belongings = gone.read_belongings(self._guest, self._manager, names)
        return Before(failed=tuple(failed), units=units, since=time.time())

    def discover(self, names: Sequence[str]) -> Brought | CheckResult | None:
        """Return what the packages have brought, or the error; None if discovery is off."""
        if not self._plan.discover:
            return None
        found: list[Brought] = []

        def ask() -> Answer:
            found.append(discover(self._guest, self._manager, names, self._snapshot))
            return Outcome.PASS, ""

        answer = checks.timed(DISCOVERY, ask)
        return found[0] if found else answer

    def ask_presence(
        self,
        step: StepName,
        before: Before,
        brought: Brought | None,
        names: Sequence[str],
        due: Sequence[Question],
        announce: Announce,
    ) -> Discovery | None:
        """Ask the user's questions that are `due`, and the discovered ones.

        Return the description of the discovery.
        """
        asked = [*due]
        asked += unasked_units(brought, due) if brought else []
        new: list[Socket] = []
        later: list[Question] = []

        def then() -> list[Question]:
            if brought:
                new.extend(listening.new_sockets(self._guest, brought, self._snapshot))
                urls = {question.subject for question in asked}
                later.extend(listening.socket_questions(brought, new, urls))
            return later

        others = Bystanders(self._guest, self._manager, names, self._snapshot.unit_files)
        answers = checks.ask_all(
            self._guest, asked, self._plan.manners, before.failed, then, others.owner
        )
        if before.units:
            answers = continuity.compare(self._guest, answers, before.units, step)
        for answer in self._with_complaints(answers, before.since):
            announce(answer)
        self._asked = (*asked, *later)
        return brought.describe(new) if brought else None

    def ask_absence(
        self, step: StepName, before: Before, names: Sequence[str], announce: Announce
    ) -> None:
        """Ask whether everything that was checked is gone, and what was left behind."""
        answers = gone.ask_all(self._guest, self._asked, self._belongings, before.failed)
        for answer in self._with_complaints(answers, before.since):
            announce(answer)
        for answer in self._ask_residue(step, names):
            announce(answer)

    def ask_administrator(self, step: StepName, journey: Journey) -> CheckResult | None:
        """Ask whether the step leaves disabled units alone; None if there is none to disable."""
        belongings = gone.read_belongings(self._guest, self._manager, journey.names)
        active = administrator.active_units(self._guest, belongings)
        if not administrator.can_be_disabled(active):
            return None
        ask = partial(administrator.ask, self._guest, journey, step, active)
        return checks.timed(administrator.QUESTION, ask)

    def _with_complaints(
        self, answers: Iterable[CheckResult], since: float
    ) -> Iterable[CheckResult]:
        """Add the errors in the journal, unless only the user's questions are wanted."""
        return (
            complaints.with_errors(self._guest, answers, since) if self._plan.discover else answers
        )

    def _ask_residue(self, step: StepName, names: Sequence[str]) -> Iterator[CheckResult]:
        """Ask what is left behind, once no later step cleans up."""
        assert self._inventory
        left = residue.Residue(self._guest, self._manager, self._inventory, self._belongings)
        if step is StepName.PURGE:
            yield checks.timed(residue.FILES, partial(left.ask_files, names))
            yield checks.timed(residue.USERS, left.ask_users)
            if self._manager.diversions():
                yield checks.timed(residue.DIVERSIONS, partial(left.ask_diversions, names))
        elif not self._manager.purges_later:
            yield checks.timed(residue.LINKS, left.ask_links)
