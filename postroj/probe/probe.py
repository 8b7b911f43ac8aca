"""The way from package files to a verdict, on one image: boot, steps, checks after each."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from postroj.container.guest import Guest
from postroj.container.nspawn import GuestSpec
from postroj.errors import CommandError, CommandTimeout, GuestError, GuestLost, PostrojError
from postroj.model import CheckKind, Manager, Outcome, ProbeResult, StepName, StepResult
from postroj.probe import (
    administrator,
    checks,
    complaints,
    continuity,
    expectations,
    gone,
    residue,
    snapshot,
)
from postroj.probe.bystanders import Bystanders
from postroj.probe.course import LEAVING
from postroj.probe.evidence import of_console
from postroj.probe.look import Look
from postroj.probe.managers import manager_of
from postroj.probe.managers.base import Blame
from postroj.probe.package import binds, fitting, unfit
from postroj.probe.steps import Bench, Done, Journey
from postroj.probe.unitstate import unit_name
from postroj.probe.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from postroj.model import CheckResult, Evidence, Image
    from postroj.probe.audience import Audience
    from postroj.probe.checks import Question
    from postroj.probe.package import PackageFile
    from postroj.probe.plan import Plan

NOT_INSTALLED = "the package was not installed"


def probe(
    image: Image, packages: Sequence[PackageFile], plan: Plan, audience: Audience
) -> ProbeResult:
    """Probe packages on an image: those of them that its package manager installs, if any.

    What goes wrong on our side becomes the outcome `ERROR`.
    """
    began = time.monotonic()
    expected = expectations.of(plan.expected, image.name)
    audience = expectations.Excusing(audience, expected)
    packages = fitting(packages, image.manager)
    plan = replace(plan, older=tuple(fitting(plan.older, image.manager)))
    package = " ".join(file.name for file in packages)
    timings: dict[str, float] = {}
    done: list[StepResult] = []
    reason = hint = ""
    ours: Guest | None = None
    last_words: tuple[Evidence, ...] = ()
    audience.begin_probe(image.name, package)
    try:
        if foreign := unfit([*packages, *plan.older], image.manager):
            step = StepResult(name=plan.steps[0], done=Outcome.SKIP, reason=foreign, seconds=0)
            done.append(_unasked(step, plan, audience, NOT_INSTALLED))
        else:
            audience.begin_part("boot")
            with Guest(_guest_spec(image, packages, plan)) as guest:
                ours = guest
                timings["boot"] = time.monotonic() - began
                witness = Witness(guest, image, plan.visit, audience.begin_part, timings)
                try:
                    walk = _Walk(guest, image, packages, plan, audience, timings, witness.note)
                    for name in plan.steps:
                        done.append(witness.watch(partial(walk.take, name), walk.subjects))
                except PostrojError as error:
                    last_words = witness.hear(error)
                    raise
    except PostrojError as error:
        reason = error.reason
        hint = error.hint
        if isinstance(error, GuestError):
            last_words = last_words or of_console(error.console)
    timings["total"] = time.monotonic() - began
    result = ProbeResult(
        image=image.name,
        package=package,
        steps=tuple(done),
        reason=reason,
        hint=hint,
        timings=timings,
        guest=ours.name if ours and ours.kept else "",
        evidence=last_words,
        reproduce=plan.command(image.name),
    )
    result = expectations.excused(result, expected)
    audience.end_probe(result)
    return result


def _guest_spec(image: Image, packages: Sequence[PackageFile], plan: Plan) -> GuestSpec:
    return GuestSpec(
        layers=image.layers,
        network=plan.network,
        binds=binds([*packages, *plan.older]),
        boot_timeout=plan.boot_timeout,
        keep=plan.keep,
        holds=plan.holds,
        image=image.name,
        purpose=" ".join(("pkgprobe", *(file.name for file in packages))),
        guests=plan.guests,
    )


class _Walk:
    """The steps of a probe in a guest: each is taken, told, and then judged."""

    def __init__(
        self,
        guest: Guest,
        image: Image,
        packages: Sequence[PackageFile],
        plan: Plan,
        audience: Audience,
        timings: dict[str, float],
        hear: Callable[[Sequence[str], str], None],
    ) -> None:
        self._guest = guest
        self._plan = plan
        self._audience = audience
        self._timings = timings
        self._image = image
        self._manager = manager_of(image.manager)
        bench = Bench(
            guest=guest,
            manager=self._manager,
            timeout=plan.timeout,
            begin_part=audience.begin_part,
            has_lists=image.has_lists,
            hear=hear,
        )
        self._journey = Journey(bench, packages, plan.older, repository=plan.from_repository)
        self._failed = self._at_first = guest.failed_units()
        self._before = snapshot.take(guest)
        leaves = any(name in LEAVING for name in plan.steps)
        self._inventory = residue.take(guest) if leaves else None
        self._asked: list[Question] = []
        self._own = gone.Belongings(units=frozenset(), paths=frozenset())
        upgrades = StepName.UPGRADE in plan.steps and self._journey.has_upgrade
        self._played = StepName.UPGRADE if upgrades else StepName.REINSTALL
        """The step that is taken once more, as an administrator may meet it."""
        self._since = 0.0
        """When the last step began, by the clock on the wall."""
        self._lost = ""
        """The step that went wrong, after which none can be taken."""

    def take(self, name: StepName) -> StepResult:
        """Take a step; one that fails is not judged, and the later ones are passed over."""
        if self._lost:
            reason = f"the step '{self._lost}' before it did not succeed"
            step = StepResult(name=name, done=Outcome.SKIP, reason=reason, seconds=0)
            return _unasked(step, self._plan, self._audience, "the step was not taken")
        units: continuity.Units = {}
        if name is not self._plan.steps[0]:
            self._failed = sorted({*self._at_first, *self._guest.failed_units()})
            units = continuity.remember(self._guest, self.subjects())
        if name in LEAVING and not self._own.paths:
            self._own = gone.belongings(self._guest, self._manager, self._journey.names)
        began, self._since = time.monotonic(), time.time()
        done = self._take(name)
        for part, seconds in done.timings.items():
            self._count(part, seconds)
        step = StepResult(
            name=name,
            done=done.outcome,
            reason=done.blame.reason if done.blame else done.sentence,
            hint=done.blame.hint if done.blame else "",
            seconds=time.monotonic() - began,
        )
        if done.outcome is Outcome.SKIP:
            return _unasked(step, self._plan, self._audience, "the step was not taken")
        if done.outcome is not Outcome.PASS:
            self._lost = name
            reason = NOT_INSTALLED if name is StepName.INSTALL else f"the {name} did not succeed"
            return _unasked(step, self._plan, self._audience, reason)
        if name in LEAVING:
            return self._judge_absence(step)
        step = self._judge_presence(step, units)
        if self._plan.discover and name is self._played:
            step = replace(step, checks=(*step.checks, *self._play_administrator(name)))
        return step

    def _take(self, name: StepName) -> Done:
        """Take a step; a guest that does not come through it was sound when it began."""
        try:
            return self._journey.take(name)
        except (GuestLost, CommandError) as error:
            if isinstance(error, CommandTimeout):  # which may be the host
                raise
            sentence, evidence = f"{checks.BROKEN}: {error.message}", error.evidence
            blame = Blame(outcome=Outcome.FAIL, sentence=sentence, evidence=evidence)
            return Done(blame=blame)

    def _judge_presence(self, step: StepResult, units: continuity.Units) -> StepResult:
        """Ask what the user asks, and what there is to ask about what the packages brought."""
        began = time.monotonic()
        names = self._journey.names
        before = self._before if self._plan.discover else None
        look = Look(self._guest, self._manager, names, before)
        others = Bystanders(self._guest, self._manager, names, self._before.unit_files)
        self._count("discovery", time.monotonic() - began)
        if look.sentence:
            step = replace(step, reason=f"{step.reason}\n{look.sentence}")
        self._audience.end_step(step)
        self._audience.begin_part("checks")
        began = time.monotonic()
        asked = [*self._plan.questions, *look.questions(self._plan.questions)]
        later: list[Question] = []

        def then() -> list[Question]:
            later.extend(look.then(asked))
            return later

        answers = checks.ask_all(
            self._guest, asked, self._plan.manners, self._failed, then, others.owner
        )
        if units:
            answers = continuity.compare(self._guest, answers, units, step.name)
        step = replace(
            step,
            checks=(*_tell(look.trouble, self._audience), *self._tell_all(answers)),
            discovered=look.told,
        )
        self._asked = [*asked, *later]
        self._count("checks", time.monotonic() - began)
        return step

    def _play_administrator(self, name: StepName) -> tuple[CheckResult, ...]:
        """Ask whether a step leaves alone what is disabled, if anything can be."""
        began = time.monotonic()
        own = gone.belongings(self._guest, self._manager, self._journey.names)
        active = administrator.running(self._guest, own)
        if not administrator.unwanted(active):
            return ()
        ask = partial(administrator.ask, self._guest, self._journey, name, active)
        told = _tell([checks.timed(administrator.QUESTION, ask)], self._audience)
        if self._journey.is_broken:
            self._lost = name
        self._count("checks", time.monotonic() - began)
        return told

    def _judge_absence(self, step: StepResult) -> StepResult:
        """Ask whether all that was asked about is gone."""
        self._audience.end_step(step)
        self._audience.begin_part("checks")
        began = time.monotonic()
        answers = gone.ask_all(self._guest, self._asked, self._own, self._failed)
        told = self._tell_all(answers)
        step = replace(step, checks=(*told, *_tell(self._left(step.name), self._audience)))
        self._count("checks", time.monotonic() - began)
        return step

    def _tell_all(self, answers: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
        """Tell answers, and of the journal if postroj is to ask on its own."""
        if self._plan.discover:
            answers = complaints.tell(self._guest, answers, self._since)
        return _tell(answers, self._audience)

    def _left(self, step: StepName) -> Iterator[CheckResult]:
        """Ask what was left behind, as soon as nothing more will clean up."""
        assert self._inventory
        left = residue.Residue(self._guest, self._image.manager, self._inventory, self._own)
        names = self._journey.names
        if step is StepName.PURGE:
            kept = self._manager.kept
            yield checks.timed(residue.FILES, partial(left.ask_files, names, kept))
            yield checks.timed(residue.USERS, left.ask_users)
            if self._image.manager is Manager.APT:
                yield checks.timed(residue.DIVERSIONS, partial(left.ask_diversions, names))
        elif not self._manager.purges_later:
            yield checks.timed(residue.LINKS, left.ask_links)

    def subjects(self) -> list[str]:
        """Names of the units that are judged."""
        questions = (q for q in self._asked if q.kind is CheckKind.UNIT)
        return [unit_name(question.subject) for question in questions]

    def _count(self, part: str, seconds: float) -> None:
        self._timings[part] = self._timings.get(part, 0.0) + seconds


def _unasked(step: StepResult, plan: Plan, audience: Audience, reason: str) -> StepResult:
    """Tell of a step after which there is nothing to ask."""
    step = replace(step, checks=checks.unasked(plan.questions, reason))
    audience.end_step(step)
    _tell(step.checks, audience)
    return step


def _tell(answers: Iterable[CheckResult], audience: Audience) -> tuple[CheckResult, ...]:
    """Tell each answer as it comes, and keep it."""
    kept = []
    for answer in answers:
        kept.append(answer)
        audience.end_check(answer)
    return tuple(kept)
