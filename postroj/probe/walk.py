"""Take the steps of a probe in a booted guest, and have each step judged."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.errors import CommandError, CommandTimeout, GuestLost
from postroj.probe import configuration
from postroj.probe.ask import checks
from postroj.probe.ask.question import Question
from postroj.probe.bench import Bench
from postroj.probe.course import LEAVING
from postroj.probe.discover.discover import Brought
from postroj.probe.excuse import emulated
from postroj.probe.judging import Judge
from postroj.probe.managers import manager_of
from postroj.probe.starting import Starter
from postroj.probe.steps import Journey
from postroj.verdict import CheckKind, CheckResult, Outcome, StepName, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.model import Image
    from postroj.probe.announce import Announced, Announcer, JudgedStep
    from postroj.probe.compare.comparison import Compared
    from postroj.probe.compare.state import Before
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan

GUEST = Question(kind=CheckKind.SYSTEM, subject="the guest goes on", is_found=True)
OLDER = "the older version, which is not under test"
NOT_TAKEN = "the step was not taken"
NOT_JUDGED = "the {} did not succeed"


class Walk:
    """Takes the steps of a probe; once a step has gone wrong, all later ones are skipped."""

    def __init__(
        self,
        guest: OwnGuest,
        image: Image,
        packages: Sequence[PackageFile],
        plan: Plan,
        announcer: Announcer,
        timings: dict[str, float],
        record_output: Callable[[Sequence[str], str], None],
    ) -> None:
        self._guest = guest
        self._plan = plan
        self._announcer = announcer
        self._timings = timings
        self._is_emulated = image.emulated
        configuration.set_environment(guest, plan.environment)
        manager = manager_of(image.manager, recommends=plan.recommends)
        bench = Bench(
            guest=guest,
            manager=configuration.with_environment(manager, plan.environment),
            timeout=plan.timeout,
            begin_part=announcer.begin_part,
            has_lists=image.has_lists,
            dependencies=image.dependencies,
            record_output=record_output,
        )
        self._journey = Journey(bench, packages, plan.older, repository=plan.from_repository)
        self._journey.prepare()
        configuration.put(guest, (file for file in plan.puts if not file.is_late))
        self._judge = Judge(guest, image, plan)
        self._not_started: tuple[str, ...] = ()
        """Units that scripts meant to start in the last step, and that were disabled then."""
        self._starter = Starter(guest, image, plan)
        self._brought: Brought | None = None
        """What the installation has brought; None without discovery."""
        self._lost = ""
        """The step that went wrong; '' while further steps can be taken."""

    @property
    def subjects(self) -> list[str]:
        """The names of the units that are judged."""
        return self._judge.subjects

    @property
    def packages(self) -> list[str]:
        """The names of the packages that are installed."""
        return self._journey.names

    def take(self, name: StepName) -> JudgedStep:
        """Take a step, and judge the guest if the step succeeds.

        The guest was healthy before, so losing it is the fault of the step.
        """
        if self._lost:
            reason = f"the step '{self._lost}' before it did not succeed"
            step = StepResult(name=name, done=Outcome.SKIP, reason=reason, seconds=0)
            return self._end_unjudged(step)
        try:
            if name is StepName.START:
                self._configure()
                if not self._has_news(name):
                    return self._announcer.end_step(self._start()).result()
            if name in LEAVING:
                self._starter.before_leaving()
            before = self._judge.remember(name, self._journey, self._played)
            step = self._go(name, before)
        except CommandTimeout:  # the host may be slow
            raise
        except (GuestLost, CommandError) as error:
            outcome = Outcome.ERROR if self._journey.is_older else Outcome.FAIL
            reason = self._whose(_broken(error))
            step = StepResult(name=name, done=outcome, reason=reason, seconds=0)
            return self._end_unjudged(step)
        if step.done is not Outcome.PASS:
            self._judge.withdraw()
            return self._end_unjudged(step)
        enabled = self._starter.enabled
        compared = self._judge.compare(name, before, self._journey.names, enabled)
        judge = self._judge_absence if name in LEAVING else self._judge_presence
        return judge(step, before, compared)

    def _configure(self) -> None:
        """Put files into the guest before units are started, which may then start."""
        if late := [file for file in self._plan.puts if file.is_late]:
            configuration.put(self._guest, late)
            self._starter.look(self._brought, self._journey.names, retry=True)

    def _has_news(self, name: StepName) -> bool:
        """Whether there is a unit to start, or a question that waits for the step."""
        bound = any(question.since is name for question in self._plan.questions)
        return bound or self._starter.waits

    def _go(self, name: StepName, before: Before) -> StepResult:
        """Take a step, without judging the guest."""
        if name is StepName.START:
            return self._start()
        began = time.monotonic()
        done = self._journey.take(name)
        self._not_started = done.not_started
        for part, seconds in done.timings.items():
            self._count(part, seconds)
        step = StepResult(
            name=name,
            done=done.outcome,
            reason=done.blame.reason if done.blame else done.sentence,
            hint=done.blame.hint if done.blame else "",
            seconds=time.monotonic() - began,
            omitted=done.outcome is Outcome.SKIP and name in self._plan.demanded,
        )
        if name is StepName.INSTALL_AGAIN and step.done is Outcome.PASS:
            self._starter.start_again()
        upgrades = name is StepName.UPGRADE  # which may fail before it changes anything
        if self._journey.is_older and step.done is Outcome.FAIL and not upgrades:
            step = replace(step, done=Outcome.ERROR, reason=self._whose(step.reason))
        if self._is_emulated and step.done is Outcome.FAIL:
            lines = emulated.refusals(self._guest, before.since)
            step = replace(step, reason="\n".join((step.reason, *lines)))
        if step.done is Outcome.SKIP:
            self._guest.require()
        return step

    def _start(self) -> StepResult:
        """Start what waits for the step `start`."""
        name, began = StepName.START, time.monotonic()
        self._not_started = ()
        self._announcer.begin_part(name)
        sentence = self._starter.start()
        seconds = time.monotonic() - began
        self._count(name, seconds)
        return StepResult(name=name, done=Outcome.PASS, reason=sentence, seconds=seconds)

    def _end_unjudged(self, step: StepResult) -> JudgedStep:
        """Announce a step after which nothing can be asked."""
        if step.done is Outcome.SKIP:
            reason = NOT_TAKEN
        else:
            self._lost = step.name
            reason = NOT_JUDGED.format(step.name)
        due = self._plan.due(step.name, waits=self._starter.waits)
        if step.name is StepName.START and not self._starter.waits:  # the step before has them
            due = tuple(question for question in due if question.since is StepName.START)
        answers = checks.unasked(due, reason)
        return self._announcer.end_step(replace(step, checks=answers)).result()

    def _judge_absence(
        self, step: StepResult, before: Before, compared: Compared | None
    ) -> JudgedStep:
        if step.name is StepName.PURGE:
            late = (file for file in self._plan.puts if file.is_late)
            configuration.take_back(self._guest, late)
        announced = self._begin_checks(step)
        with self._surviving(step.name, announced), self._counted("checks"):
            announce = announced.end_check
            self._judge.ask_absence(step.name, before, compared, self._journey, announce)
        return announced.result()

    def _judge_presence(
        self, step: StepResult, before: Before, compared: Compared | None
    ) -> JudgedStep:
        name, packages = step.name, self._journey.names
        with self._counted("discovery"):
            found = self._judge.discover(packages, self._journey.company, compared)
        brought = found if isinstance(found, Brought) else None
        if name is self._plan.steps[0] and StepName.START in self._plan.steps:
            self._brought = brought
            self._starter.look(brought, packages)
        is_start = name is StepName.START
        if brought and brought.sentence and not is_start:
            step = replace(step, reason=f"{step.reason}\n{brought.sentence}")
        announced, discovery = self._begin_checks(step), None

        def announce(check: CheckResult) -> None:
            announced.end_check(self._about_older(self._starter.judged(check, name, before)))

        due = self._plan.due(name, waits=self._starter.waits)
        with self._surviving(name, announced):
            with self._counted("checks"):
                if name is StepName.INSTALL and (others := self._journey.dependencies):
                    announced.end_check(self._judge.ask_dependencies(others))
                if isinstance(found, CheckResult):
                    announced.end_check(self._about_older(found))
                discovery = self._judge.ask_presence(
                    name, before, compared, brought, packages, due, announce
                )
                self._judge.ask_not_started(self._not_started, packages, announce)
            self._starter.end()
            if name is self._played:
                self._play_administrator(name, announced)
        return announced.result(discovery)

    def _whose(self, reason: str) -> str:
        return f"{OLDER}: {reason}" if self._journey.is_older else reason

    def _about_older(self, answer: CheckResult) -> CheckResult:
        """Hold nothing against the packages that is wrong with the older ones."""
        if not self._journey.is_older or answer.outcome is not Outcome.FAIL:
            return answer
        return replace(answer, outcome=Outcome.SKIP, reason=self._whose(answer.reason))

    def _begin_checks(self, step: StepResult) -> Announced:
        """Announce a successful step, and that its checks begin."""
        announced = self._announcer.end_step(step)
        self._announcer.begin_part("checks")
        return announced

    def _play_administrator(self, name: StepName, announced: Announced) -> None:
        """Take the step once more with disabled units, as an administrator may have them."""
        with self._counted("checks"):
            answer = self._judge.ask_administrator(self._journey)
            if answer is None:
                return
            announced.end_check(answer)
            # the units may still be disabled
            if self._journey.is_broken or answer.outcome is Outcome.ERROR:
                self._lost = name

    @property
    def _played(self) -> StepName | None:
        """The step that is taken once more with disabled units; None without discovery."""
        if not self._plan.discover:
            return None
        upgrades = StepName.UPGRADE in self._plan.steps and self._journey.has_upgrade
        return StepName.UPGRADE if upgrades else StepName.REINSTALL

    @contextmanager
    def _surviving(self, name: StepName, announced: Announced) -> Iterator[None]:
        """Fail the step if the guest is lost during or after its checks."""
        try:
            yield
            if not self._lost:
                self._guest.require()
        except CommandTimeout:  # the host may be slow
            raise
        except (GuestLost, CommandError) as error:
            self._lost = name
            if not announced.has_bad_check:
                outcome = Outcome.ERROR if self._journey.is_older else Outcome.FAIL
                answer: checks.Answer = (outcome, self._whose(_broken(error)))
                announced.end_check(checks.timed(GUEST, lambda: answer))

    @contextmanager
    def _counted(self, part: str) -> Iterator[None]:
        """Add the duration of a block to a part of the timings, unless the block raises."""
        began = time.monotonic()
        yield
        self._count(part, time.monotonic() - began)

    def _count(self, part: str, seconds: float) -> None:
        self._timings[part] = self._timings.get(part, 0.0) + seconds


def _broken(error: GuestLost | CommandError) -> str:
    return f"{checks.BROKEN}: {error.message}\n{error.evidence}"
