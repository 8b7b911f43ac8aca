"""Judge a guest after a step: the packages must work, or be gone without residue."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from postroj.errors import CommandError, CommandTimeout, GuestError
from postroj.probe.ask import checks, lateness
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.question import Question, Scene
from postroj.probe.ask.recheck import Recheck
from postroj.probe.ask.unitstate import unit_name
from postroj.probe.compare import (
    administrator,
    complaints,
    continuity,
    dependencies,
    gone,
    not_started,
    residue,
    stops,
    survivors,
)
from postroj.probe.compare.bystanders import Bystanders
from postroj.probe.compare.comparison import Comparison
from postroj.probe.compare.state import Before
from postroj.probe.course import LEAVING
from postroj.probe.discover import listening
from postroj.probe.discover.discover import Brought, discover, unasked_units, with_faults
from postroj.probe.managers import manager_of
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from postroj.container.guest import OwnGuest, Socket
    from postroj.model import Image
    from postroj.probe.ask.checks import Answer
    from postroj.probe.compare.comparison import Compared
    from postroj.probe.compare.state import Units
    from postroj.probe.plan import Plan
    from postroj.probe.steps import Journey
    from postroj.verdict import Discovery

    Announce = Callable[[CheckResult], None]

log = logging.getLogger(__name__)

NEW_VERSION = (StepName.INSTALL, StepName.UPGRADE, StepName.DOWNGRADE)
EXCHANGING = (StepName.REINSTALL, StepName.UPGRADE, StepName.DOWNGRADE)
DISCOVERY = Question(kind=CheckKind.SYSTEM, subject="discovery", is_found=True)


class Judge:
    """Judges a guest after each step, by comparison with the guest before the installation.

    The methods that ask pass each answer to `announce` as soon as it is known.
    """

    def __init__(self, guest: OwnGuest, image: Image, plan: Plan) -> None:
        self._guest = guest
        self._manager = manager_of(image.manager)
        self._plan = plan
        self._recheck = Recheck(guest=guest, manners=plan.manners)
        self._comparison = Comparison(
            guest,
            self._manager,
            discover=plan.discover,
            from_older=bool(plan.older) or plan.from_repository,
        )
        first = self._comparison.first
        self._snapshot = first.snapshot
        self._failed = first.snapshot.failed
        leaves = any(name in LEAVING for name in plan.steps)
        self._inventory = residue.take(guest, self._manager, first) if leaves else None
        self._asked: tuple[Question, ...] = ()
        """The questions of the last step that left the packages installed."""
        self._belongings = gone.Belongings(units=frozenset(), paths=frozenset())
        """What the packages owned before the first step that removes them."""
        self._units: Units = {}
        """The last states of units before steps that remove the packages, while each had a file."""

    @property
    def subjects(self) -> list[str]:
        """The names of the units that are judged."""
        questions = (question for question in self._asked if question.kind is CheckKind.UNIT)
        return [unit_name(question.subject) for question in questions]

    def remember(self, step: StepName, journey: Journey, played: StepName | None) -> Before:
        """Return the state before a step; before `played` the administrator changes things."""
        now = self._comparison.begin(
            step, journey.names, edits=step is played, coming=journey.coming(step)
        )
        if step in LEAVING:
            self._belongings = self._belongings if self._belongings.paths else now.listed.own
            there = {name: unit for name, unit in now.units.items() if unit.load == "loaded"}
            self._units = self._units | there
        failed = sorted({*self._failed, *now.snapshot.failed})
        processes = tuple(self._guest.processes())
        return Before(failed=tuple(failed), state=now, processes=processes, since=time.time())

    def compare(
        self,
        step: StepName,
        before: Before,
        names: Sequence[str],
        enabled: Collection[str] = (),
    ) -> Compared | None:
        """Compare right after a step, which must keep what is `enabled` by the step `start`.

        None if the guest is broken, as later questions find out.
        """
        busy = frozenset(process.unit for process in before.processes)
        try:
            return self._comparison.end(step, before.state, names, busy=busy, enabled=enabled)
        except CommandTimeout:  # the host may be slow
            raise
        except (GuestError, CommandError):
            return None

    def withdraw(self) -> None:
        """Take away what was put into the guest before a step that was not taken or has failed."""
        with suppress(GuestError, CommandError):
            self._comparison.withdraw()

    def discover(
        self, names: Sequence[str], company: Sequence[str], compared: Compared | None
    ) -> Brought | CheckResult | None:
        """Return what the packages have brought, or the error; None if discovery is off.

        `company` are packages that came in one transaction with them.
        """
        if not self._plan.discover:
            return None
        found: list[Brought] = []

        def ask() -> Answer:
            change = compared.change if compared else None
            since, after = (change.since, change.now.snapshot) if change else (0.0, None)
            taken, manager = self._snapshot, self._manager
            found.append(discover(self._guest, manager, names, taken, company, after, since=since))
            return Outcome.PASS, ""

        answer = checks.timed(DISCOVERY, ask)
        return found[0] if found else answer

    def ask_presence(
        self,
        step: StepName,
        before: Before,
        compared: Compared | None,
        brought: Brought | None,
        names: Sequence[str],
        due: Sequence[Question],
        announce: Announce,
    ) -> Discovery | None:
        """Ask the user's questions that are `due`, and the discovered ones.

        Return the description of the discovery.
        """
        asked = [*due]
        if brought:
            asked = [*with_faults(due, brought), *unasked_units(brought, due)]
        new: list[Socket] = []
        later: list[Question] = []

        def then() -> list[Question]:
            if brought:
                had = [socket for question in self._asked for socket in question.listeners]
                lateness.await_sockets(self._guest, had, Deadline(self._plan.manners.timeout))
                new.extend(listening.new_sockets(self._guest, brought, self._snapshot))
                later.extend(listening.socket_questions(brought, new, asked))
            return later

        if step is StepName.REBOOT:  # of the shutdown, if the image's journal outlives it
            self._ask_stops(before, set(self.subjects).__contains__, announce)
        others = Bystanders(self._guest, self._manager, names, self._snapshot.unit_files)
        owns = set(self.subjects).__contains__
        late = partial(stops.failed_by_stop, self._guest, before.since, owns)
        killed: Callable[[], Collection[str]] = late if step in EXCHANGING else tuple
        scene = Scene(
            manager=self._manager,
            units=partial(self._own_units, brought, names),
            began=before.since,
            goss=self._plan.goss,
        )
        answers = checks.ask_all(
            *(self._guest, asked, self._plan.manners, before.failed, then, others.owner, killed),
            scene=scene,
        )
        if step in NEW_VERSION:
            self._recheck.begin_version()
        completed = self._with_losses(answers, before, compared, names)
        knocked = partial(listening.units_at, asked, later)
        for answer in self._recheck.follow(completed, others.owner, knocked):
            announce(answer)
        self._asked = (*asked, *later)
        if step in EXCHANGING:
            self._ask_exchange(step, before, names, announce)
        return brought.describe(new) if brought else None

    def _own_units(self, brought: Brought | None, names: Sequence[str]) -> frozenset[str]:
        """Return the units of the packages, and those that appeared with them."""
        if brought:
            return frozenset({state.name for state in brought.states} - {*brought.dependencies})
        return gone.read_belongings(self._guest, self._manager, names).units

    def ask_not_started(
        self, units: Sequence[str], names: Sequence[str], announce: Announce
    ) -> None:
        """Fail units of the packages that scripts meant to start, but enabled only afterwards."""
        if units and self._plan.discover:
            own = gone.read_belongings(self._guest, self._manager, names)
            ask = partial(not_started.ask, self._guest, list(filter(own.owns, units)))
            answer = checks.timed(not_started.QUESTION, ask)
            if answer.outcome is not Outcome.PASS:
                announce(answer)

    def _ask_exchange(
        self, step: StepName, before: Before, names: Sequence[str], announce: Announce
    ) -> None:
        """Ask what became of the processes of the packages that a step has replaced."""
        self._ask_stops(before, set(self.subjects).__contains__, announce)

        def paths() -> frozenset[str]:
            return gone.read_belongings(self._guest, self._manager, names).paths

        units = {name: before.units[name] for name in self.subjects if name in before.units}
        ask = partial(survivors.ask_old, self._guest, step, before.processes, units, paths)
        _announce_what_matters(checks.timed(survivors.OLD, ask), announce)

    def _ask_stops(self, before: Before, owns: Callable[[str], bool], announce: Announce) -> None:
        ask = partial(stops.ask, self._guest, before.since, owns)
        _announce_what_matters(checks.timed(stops.QUESTION, ask), announce)

    def ask_absence(
        self,
        step: StepName,
        before: Before,
        compared: Compared | None,
        journey: Journey,
        announce: Announce,
    ) -> None:
        """Ask whether everything that was checked is gone, and what was left behind."""
        known = self._snapshot.unit_files
        now = compared.change.now if compared and step is StepName.PURGE else None
        left = {*known} - now.listed.units if now else set()
        owns = self._belongings.owns
        killed = partial(stops.failed_by_stop, self._guest, before.since, owns)
        answers = gone.ask_all(
            *(self._guest, self._asked, self._belongings, before.failed, known, self._units),
            killed=killed,
            left=left,
        )
        for answer in self._with_losses(answers, before, compared, journey.names):
            announce(answer)
        self._ask_stops(before, owns, announce)
        users = compared.change.now.snapshot.users if compared else ()
        for answer in self._ask_residue(step, users, journey):
            announce(answer)

    def ask_dependencies(self, names: Sequence[str]) -> CheckResult:
        """Ask whether these packages worked before those under test were installed."""
        ask = partial(dependencies.ask, self._guest, self._manager, names, self._failed)
        return checks.timed(dependencies.QUESTION, ask)

    def ask_administrator(self, journey: Journey) -> CheckResult | None:
        """Ask whether a step leaves disabled units alone; None if there is none to disable."""
        belongings = gone.read_belongings(self._guest, self._manager, journey.names)
        active = administrator.active_units(self._guest, belongings)
        if not administrator.can_be_disabled(active):
            return None
        ask = partial(administrator.ask, self._guest, journey, active)
        return checks.timed(administrator.QUESTION, ask)

    def _with_losses(
        self,
        answers: Iterable[CheckResult],
        before: Before,
        compared: Compared | None,
        names: Sequence[str],
    ) -> Iterator[CheckResult]:
        """Complete the answers with what a step has taken away, and ask more meanwhile."""
        if compared is None:
            yield from self._with_complaints(answers, before.since)
            return
        found = compared.found
        if not self._plan.discover:
            asked = {unit_name(q.subject) for q in self._plan.questions if q.kind is CheckKind.UNIT}
            found = tuple(answer for answer in found if answer.subject in asked)
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="later")
        try:
            later = pool.submit(self._ask_later, compared, names)
            completed = continuity.complete(answers, compared.change, found, self._recheck.passed)
            yield from self._with_complaints(completed, before.since)
            yield from later.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C nobody waits
        if self._plan.discover:
            patience = self._plan.manners.timeout
            yield from self._comparison.ask_ports(compared.change, patience)

    def _ask_later(self, compared: Compared, names: Sequence[str]) -> list[CheckResult]:
        """Ask beside the checks; what cannot be asked is found out by these."""
        try:
            return self._comparison.ask_later(compared, names)
        except (GuestError, CommandError) as error:
            log.info("not all that a step may take away was asked for: %s", error.message)
            return []

    def _with_complaints(
        self, answers: Iterable[CheckResult], since: float
    ) -> Iterable[CheckResult]:
        """Add the errors in the journal, unless only the user's questions are wanted."""
        return (
            complaints.with_errors(self._guest, answers, since) if self._plan.discover else answers
        )

    def _ask_residue(
        self, step: StepName, users: Collection[str], journey: Journey
    ) -> Iterator[CheckResult]:
        """Ask what is left behind, once no later step cleans up."""
        assert self._inventory
        leave, foreign = self._plan.may_leave, journey.foreign
        left = residue.Residue(
            self._guest, self._manager, self._inventory, journey.company, leave, foreign
        )
        if step is StepName.PURGE:
            yield checks.timed(residue.FILES, left.ask_files)
            yield checks.timed(residue.USERS, partial(left.ask_users, users))
            if self._manager.diversions():
                yield checks.timed(residue.DIVERSIONS, partial(left.ask_diversions, journey.names))
        if not self._manager.purges_later:
            yield checks.timed(residue.LINKS, left.ask_links)


def _announce_what_matters(answer: CheckResult, announce: Announce) -> None:
    """Announce an answer unless it passes and has nothing to tell."""
    if answer.reason or answer.outcome is not Outcome.PASS:
        announce(answer)
