"""Carry out tasks, each a probe of packages on an image, several at once.

The main thread pulls and prepares one image after the other: tools that must not outlive postroj
are tied to the thread that starts them (PR_SET_PDEATHSIG, prctl(2)). Then a thread for each guest
warms an image and probes on it. The report has the order of the tasks.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Protocol

from postroj import __version__
from postroj.attempts import attempt
from postroj.capacity import jobs_here
from postroj.container import lifeline, roster
from postroj.errors import PostrojError
from postroj.handover import Handover
from postroj.image import architectures
from postroj.prepare import obtain, obtain_cached
from postroj.probe.ask.checks import unasked
from postroj.probe.audience import UntilOver
from postroj.probe.circumstances import now, this_host
from postroj.probe.excuse import expectations
from postroj.probe.package import package_file
from postroj.probe.probe import NOT_INSTALLED
from postroj.verdict import Outcome, ProbeResult, Report, StepName, StepResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from postroj.container.guest import Guest
    from postroj.errors import PackageError
    from postroj.model import Image
    from postroj.probe.audience import Audience
    from postroj.probe.evidence.witness import Visit
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan

POLL = 0.02
"""Seconds between two checks whether all guests have ended."""

INTERRUPTED = "interrupted"


class Stage(Protocol):
    """Provides an audience for each of several probes, which may run at once."""

    def open(self, titles: Sequence[str], jobs: int, *, brief: bool) -> Sequence[Audience]:
        """Return an audience for each probe; `jobs` of them run at once.

        `brief` says that an image has several of them.
        """


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The outcome of a run."""

    report: Report
    seconds: float
    """From the first pull to the last verdict."""
    interruption: KeyboardInterrupt | None = None
    """What ended the run early; the caller raises it once the report is written."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One probe of a run."""

    image: str
    """Name of the image."""
    files: Sequence[PackageFile]
    """The packages; empty if they are none."""
    label: str
    """Names of the package files."""
    plan: Plan


def carry_out(
    tasks: Sequence[Task],
    stage: Stage,
    *,
    jobs: int | None,
    fail_fast: bool,
) -> Findings:
    """Carry out at least one task; one with a damaged package fails without a guest."""
    began = time.monotonic()
    date = now()
    jobs = min(len(tasks), jobs or jobs_here())
    tasks = [replace(task, plan=replace(task.plan, guests=jobs)) for task in tasks]
    several = len({task.label for task in tasks}) > 1
    titles = [f"{task.label} on {task.image}" if several else task.image for task in tasks]
    brief = len({task.image for task in tasks}) < len(tasks)
    run = _Run(tasks, stage.open(titles, jobs, brief=brief), fail_fast=fail_fast)
    interruption = run.judge(jobs)
    return Findings(
        report=Report(probes=tuple(run.results), date=date, version=__version__, host=this_host()),
        seconds=time.monotonic() - began,
        interruption=interruption,
    )


def _get(task: Task) -> AbstractContextManager[Image]:
    get = obtain_cached if task.plan.offline else obtain
    return get(task.image, task.plan.architecture)


class _Enough(Exception):
    """Raised to give up the open probes; its text is their reason."""


class _Run:
    """The probes of a run, their results and their audiences."""

    def __init__(
        self, tasks: Sequence[Task], audiences: Sequence[Audience], *, fail_fast: bool
    ) -> None:
        self.tasks = tasks
        self.results = [
            ProbeResult(
                image=task.image,
                package=task.label,
                packages=tuple(file.as_package() for file in task.files),
                date=now(),
                architecture=task.plan.architecture or architectures.of_this_host(),
                reproduce=task.plan.command(task.image),
            )
            for task in tasks
        ]
        """One for each task, without steps until the probe has ended."""
        self.audiences = audiences
        self.fail_fast = fail_fast
        self.open = set(range(len(tasks)))
        """Indices of the probes that have no verdict yet."""
        self.lock = Lock()
        self.over = Event()
        """Set once the probes that still run are given up."""
        self.enough = ""
        """Why they are given up, if a verdict is the reason."""
        self.forwarders = [UntilOver(audience, self.over) for audience in audiences]
        self.handover = Handover(self.over)
        """How threads report to the main thread, and ask it to act for them."""

    def judge(self, jobs: int) -> KeyboardInterrupt | None:
        """Obtain the images and probe on them; return what interrupted that, or None."""
        try:
            self._skip_expected()
            self._refuse_damaged()
            with ExitStack() as stack:
                self._probe_each(self._obtain_each(stack), jobs)
        except _Enough as reason:
            for place in sorted(self.open):
                self._announce(place, self._without_guest(place, Outcome.SKIP, str(reason)))
        except KeyboardInterrupt as interruption:
            for place in sorted(self.open):
                self._announce(place, replace(self.results[place], reason=INTERRUPTED))
            return interruption
        return None

    def _skip_expected(self) -> None:
        """Skip the images on which the user expects nothing, without pulling or booting them."""
        for place, task in enumerate(self.tasks):
            if why := expectations.skip(task.plan.expected, task.image):
                self._announce(place, self._without_guest(place, Outcome.SKIP, why))

    def _refuse_damaged(self) -> None:
        """Fail packages that no guest can install, before any guest boots."""
        why = ""
        met: set[PackageError] = set()
        for place in sorted(self.open):
            damages = (file.damage for file in self.tasks[place].files)
            if not (error := next(filter(None, damages), None)):
                continue
            # the evidence is shown once
            reason, hint = (error.message, "") if error in met else (error.reason, error.hint)
            met.add(error)
            result = self._without_guest(place, Outcome.FAIL, reason, hint)
            self._announce(place, result)
            why = why or self._enough(result)
        if why:
            raise _Enough(why)

    def _obtain_each(self, stack: ExitStack) -> list[tuple[int, Image]]:
        """Obtain the image of each task until the stack unwinds.

        One that is not available is an error.
        """
        images = []
        got: dict[str, Image | PostrojError] = {}
        for place, task in enumerate(self.tasks):
            if place not in self.open:
                continue
            if task.image not in got:
                try:
                    got[task.image] = stack.enter_context(_get(task))
                except PostrojError as error:
                    got[task.image] = error
            image = got[task.image]
            if isinstance(image, PostrojError):
                result = replace(self.results[place], reason=image.reason, hint=image.hint)
                self._announce(place, result)
                if why := self._enough(result):
                    raise _Enough(why)
            else:
                images.append((place, image))
        return images

    def _probe_each(self, images: Sequence[tuple[int, Image]], jobs: int) -> None:
        waiting: SimpleQueue[tuple[int, Image]] = SimpleQueue()
        for one in images:
            waiting.put(one)
        # A second interruption does not wait for them: the kernel ends their guests with postroj.
        threads = [
            Thread(target=self._work, args=(waiting,), name=f"probe-{number}", daemon=True)
            for number in range(min(jobs, len(images)))
        ]
        try:
            for thread in threads:
                thread.start()
            for _ in images:
                if mistake := self.handover.next_end():
                    raise mistake
                if self.enough:
                    raise _Enough(self.enough)
        finally:
            self.over.set()
            while any(thread.is_alive() for thread in threads):
                lifeline.let_go_of_all()  # again and again, as one may just have begun
                time.sleep(POLL)

    def _work(self, waiting: SimpleQueue[tuple[int, Image]]) -> None:
        """Probe on one image after the other; runs in a thread of its own."""
        while not self.over.is_set():
            try:
                place, image = waiting.get_nowait()
            except Empty:
                return
            try:
                self._record(place, self._probe(place, image))
            except BaseException as error:  # it is raised again, in the main thread
                self.handover.end(error)
                return
            self.handover.end()

    def _probe(self, place: int, image: Image) -> ProbeResult:
        audience = self.forwarders[place]
        task = self.tasks[place]
        chosen = package_file.fitting(task.files, task.plan.older, image.manager)
        visit = partial(self._visit, task.plan.visit) if task.plan.visit else None
        plan = replace(task.plan, older=chosen.older, visit=visit)
        try:
            return attempt(image, chosen.packages, plan, audience, unfit=chosen.unfit)
        except PostrojError as error:
            result = replace(self.results[place], reason=error.reason, hint=error.hint)
            self._announce_end(place, audience, result)
            return result

    def _visit(self, visit: Visit, guest: Guest, sentence: str) -> None:
        """Let the main thread, which has the terminal, open a shell in a guest."""
        self.handover.ask(partial(visit, guest, sentence))

    def _record(self, place: int, result: ProbeResult) -> None:
        """Record the result of a probe; if that was given up, only the steps that passed."""
        with self.lock:
            if self.forwarders[place].has_ended:
                self._close(place, result)
                if why := self._enough(result):
                    self.enough = why
                    self.over.set()
            else:  # later failures come from ending the guest
                if result.guest:  # no report names it
                    with suppress(PostrojError):
                        roster.stop(result.guest)
                passed = tuple(step for step in result.steps if step.outcome is Outcome.PASS)
                self.results[place] = replace(
                    self.results[place],
                    steps=passed,
                    timings=result.timings,
                    date=result.date,
                    image_digest=result.image_digest,
                )

    def _enough(self, result: ProbeResult) -> str:
        """Say why the other probes are given up after this verdict; '' if they are not."""
        if self.fail_fast and result.outcome.is_bad:
            return f"given up, as '{result.image}' did not pass and `--fail-fast` was given"
        return ""

    def _close(self, place: int, result: ProbeResult) -> None:
        self.results[place] = result
        self.open.discard(place)

    def _announce(self, place: int, result: ProbeResult) -> None:
        """Announce and record a verdict that needed no probe."""
        audience = self.audiences[place]
        self._begin(place, audience)
        if not result.reason:
            for step in result.steps:
                audience.end_step(step)
                for answer in step.checks:
                    audience.end_check(answer)
        audience.end_probe(result)
        self._close(place, result)

    def _announce_end(self, place: int, audience: Audience, result: ProbeResult) -> None:
        self._begin(place, audience)
        audience.end_probe(result)

    def _begin(self, place: int, audience: Audience) -> None:
        if not self.forwarders[place].has_begun:
            audience.begin_probe(self.results[place].image, self.results[place].package)

    def _without_guest(
        self, place: int, outcome: Outcome, reason: str, hint: str = ""
    ) -> ProbeResult:
        """Return a result that needs no guest."""
        step = StepResult(
            name=StepName.INSTALL,
            done=outcome,
            reason=reason,
            hint=hint,
            seconds=0,
            checks=unasked(self.tasks[place].plan.questions, NOT_INSTALLED),
        )
        return replace(self.results[place], steps=(step,))
