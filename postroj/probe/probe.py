"""The way from package files to a verdict, on one image: boot, steps, checks after each."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from postroj.container.boot.nspawn import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import CommandError, CommandTimeout, GuestError, GuestLost, PostrojError
from postroj.probe.ask import checks
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import unit_name
from postroj.probe.compare import administrator, complaints, continuity, gone, residue
from postroj.probe.compare.bystanders import Bystanders
from postroj.probe.course import LEAVING
from postroj.probe.discover import snapshot
from postroj.probe.discover.look import Look
from postroj.probe.evidence.collector import of_console
from postroj.probe.evidence.witness import Witness
from postroj.probe.excuse import emulated, expectations
from postroj.probe.managers import manager_of
from postroj.probe.package.package_file import binds, fitting, unfit
from postroj.probe.steps import Bench, Journey
from postroj.verdict import CheckKind, Outcome, ProbeResult, StepName, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.model import Image
    from postroj.probe.audience import Audience
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan
    from postroj.verdict import CheckResult, Evidence

GUEST = Question(kind=CheckKind.UNIT, subject="the guest goes on", is_found=True)
NOT_JUDGED = "the {} did not succeed"
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
    if image.emulated:
        audience = emulated.Doubting(audience)
    packages = fitting(packages, image.manager)
    plan = replace(plan, older=tuple(fitting(plan.older, image.manager)))
    package = " ".join(file.name for file in packages)
    timings: dict[str, float] = {}
    done: list[StepResult] = []
    reason = hint = ""
    ours: OwnGuest | None = None
    last_words: tuple[Evidence, ...] = ()
    audience.begin_probe(image.name, package)
    try:
        if foreign := unfit([*packages, *plan.older], image.manager):
            step = StepResult(name=plan.steps[0], done=Outcome.SKIP, reason=foreign, seconds=0)
            done.append(_unasked(step, plan, audience, NOT_INSTALLED))
        else:
            audience.begin_part("boot")
            with start_guest(_guest_spec(image, packages, plan)) as guest:
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
        notes=tuple(_of_boot(ours)) if ours else (),
    )
    if image.emulated:
        result = emulated.doubted(result)
    result = expectations.excused(result, expected)
    audience.end_probe(result)
    return result


def _of_boot(guest: OwnGuest) -> Iterator[str]:
    """Tell what had failed before anything was done to the packages."""
    if guest.failed_at_boot:
        yield f"units had failed as the guest booted: {', '.join(guest.failed_at_boot)}"


def _guest_spec(image: Image, packages: Sequence[PackageFile], plan: Plan) -> GuestSpec:
    return GuestSpec(
        layers=image.layers,
        network=plan.network,
        proxies=plan.proxies,
        binds=binds([*packages, *plan.older]),
        boot_timeout=plan.boot_timeout,
        keep=plan.keep,
        holds=plan.holds,
        image=image.name,
        systemd=image.systemd,
        emulated=image.emulated,
        purpose=" ".join(("pkgprobe", *(file.name for file in packages))),
        guests=plan.guests,
        asked=plan.limits,
        private_users=plan.private_users,
    )


class _Walk:
    """The steps of a probe in a guest: each is taken, told, and then judged."""

    def __init__(
        self,
        guest: OwnGuest,
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
        played = StepName.UPGRADE if upgrades else StepName.REINSTALL
        self._played = played if plan.discover else None
        """The step that is taken once more, as an administrator may meet it."""
        self._since = 0.0
        """When the last step began, by the clock on the wall."""
        self._step: StepResult | None = None
        """The present step, once it has gone through."""
        self._told: list[CheckResult] = []
        """Answers after the present step."""
        self._lost = ""
        """The step that went wrong, after which none can be taken."""

    def take(self, name: StepName) -> StepResult:
        """Take a step; one that fails is not judged, and the later ones are passed over.

        A guest that does not come through it was sound when it began.
        """
        if self._lost:
            reason = f"the step '{self._lost}' before it did not succeed"
            step = StepResult(name=name, done=Outcome.SKIP, reason=reason, seconds=0)
            return _unasked(step, self._plan, self._audience, "the step was not taken")
        self._step, self._told = None, []
        try:
            step = self._take(name)
            if name is self._played and step.done is Outcome.PASS and not self._lost:
                self._play_administrator(name)
                step = replace(step, checks=tuple(self._told))
            if not self._lost:
                self._guest.require()
        except (GuestLost, CommandError) as error:
            if isinstance(error, CommandTimeout):  # which may be the host
                raise
            return self._broken(name, f"{checks.BROKEN}: {error.message}\n{error.evidence}")
        return step

    def _broken(self, name: StepName, reason: str) -> StepResult:
        """Tell that a guest was broken by a step: by the step itself, or after it by what runs."""
        self._lost = name
        if self._step is None:
            step = StepResult(name=name, done=Outcome.FAIL, reason=reason, seconds=0)
            return _unasked(step, self._plan, self._audience, NOT_JUDGED.format(name))
        if not any(answer.outcome.is_bad for answer in self._told):
            self._tell([checks.timed(GUEST, lambda: (Outcome.FAIL, reason))])
        return replace(self._step, checks=tuple(self._told))

    def _take(self, name: StepName) -> StepResult:
        units: continuity.Units = {}
        if name is not self._plan.steps[0]:
            self._failed = sorted({*self._at_first, *self._guest.failed_units()})
            units = continuity.remember(self._guest, self.subjects())
        if name in LEAVING and not self._own.paths:
            self._own = gone.belongings(self._guest, self._manager, self._journey.names)
        began, self._since = time.monotonic(), time.time()
        done = self._journey.take(name)
        for part, seconds in done.timings.items():
            self._count(part, seconds)
        step = StepResult(
            name=name,
            done=done.outcome,
            reason=done.blame.reason if done.blame else done.sentence,
            hint=done.blame.hint if done.blame else "",
            seconds=time.monotonic() - began,
        )
        if self._image.emulated and step.done is Outcome.FAIL:
            lines = emulated.refusals(self._guest, self._since)
            step = replace(step, reason="\n".join((step.reason, *lines)))
        if done.outcome is Outcome.SKIP:
            return _unasked(step, self._plan, self._audience, "the step was not taken")
        if done.outcome is not Outcome.PASS:
            self._lost = name
            return _unasked(step, self._plan, self._audience, NOT_JUDGED.format(name))
        if name in LEAVING:
            return self._judge_absence(step)
        return self._judge_presence(step, units)

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
        self._begin_checks(step)
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
        self._tell(look.trouble)
        self._tell_all(answers)
        step = replace(step, checks=tuple(self._told), discovered=look.told)
        self._asked = [*asked, *later]
        self._count("checks", time.monotonic() - began)
        return step

    def _play_administrator(self, name: StepName) -> None:
        """Ask whether a step leaves alone what is disabled, if anything can be."""
        began = time.monotonic()
        own = gone.belongings(self._guest, self._manager, self._journey.names)
        active = administrator.running(self._guest, own)
        if not administrator.unwanted(active):
            return
        ask = partial(administrator.ask, self._guest, self._journey, name, active)
        answer = checks.timed(administrator.QUESTION, ask)
        self._tell([answer])
        # what was disabled may still be so
        if self._journey.is_broken or answer.outcome is Outcome.ERROR:
            self._lost = name
        self._count("checks", time.monotonic() - began)

    def _judge_absence(self, step: StepResult) -> StepResult:
        """Ask whether all that was asked about is gone."""
        self._begin_checks(step)
        began = time.monotonic()
        self._tell_all(gone.ask_all(self._guest, self._asked, self._own, self._failed))
        self._tell(self._left(step.name))
        self._count("checks", time.monotonic() - began)
        return replace(step, checks=tuple(self._told))

    def _begin_checks(self, step: StepResult) -> None:
        """Tell of a step that went through, after which there is something to ask."""
        self._step = step
        self._audience.end_step(step)
        self._audience.begin_part("checks")

    def _tell_all(self, answers: Iterable[CheckResult]) -> None:
        """Tell answers, and of the journal if postroj is to ask on its own."""
        if self._plan.discover:
            answers = complaints.tell(self._guest, answers, self._since)
        self._tell(answers)

    def _tell(self, answers: Iterable[CheckResult]) -> None:
        """Tell each answer as it comes, and keep it."""
        for answer in answers:
            self._told.append(answer)
            self._audience.end_check(answer)

    def _left(self, step: StepName) -> Iterator[CheckResult]:
        """Ask what was left behind, as soon as nothing more will clean up."""
        assert self._inventory
        left = residue.Residue(self._guest, self._image.manager, self._inventory, self._own)
        names = self._journey.names
        if step is StepName.PURGE:
            yield checks.timed(residue.FILES, partial(left.ask_files, names, self._manager.kept))
            yield checks.timed(residue.USERS, left.ask_users)
            if self._manager.diverts:
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
    for answer in step.checks:
        audience.end_check(answer)
    return step
