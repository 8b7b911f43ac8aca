"""The way from package files to a verdict, on one image: boot, steps, checks after each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from postroj.container.guest import Guest
from postroj.container.nspawn import Bind, GuestSpec
from postroj.errors import PostrojError
from postroj.model import Outcome, ProbeResult, StepName, StepResult
from postroj.probe import checks, steps
from postroj.probe.managers import manager_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.model import CheckResult, Image, NetworkMode
    from postroj.probe.checks import Manners, Question
    from postroj.probe.package import PackageFile


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to probe, whatever the package and the image."""

    questions: tuple[Question, ...]
    manners: Manners
    network: NetworkMode
    timeout: float
    """Seconds that a command of the package manager may take."""
    boot_timeout: float


class Audience(Protocol):
    """Who is told how a probe goes while it goes."""

    def begin_probe(self, image: str, package: str) -> None:
        """Hear that a probe begins."""

    def begin_part(self, part: str) -> None:
        """Hear what takes a while now: one of the parts of `ProbeResult.timings`."""

    def end_step(self, step: StepResult) -> None:
        """Hear how a step went; its checks follow."""

    def end_check(self, check: CheckResult) -> None:
        """Hear an answer."""

    def end_probe(self, probe: ProbeResult) -> None:
        """Hear the verdict."""


def probe(
    image: Image, packages: Sequence[PackageFile], plan: Plan, audience: Audience
) -> ProbeResult:
    """Probe packages on an image. What goes wrong on our side becomes the outcome `ERROR`."""
    began = time.monotonic()
    package = " ".join(file.name for file in packages)
    timings: dict[str, float] = {}
    done: list[StepResult] = []
    reason = hint = ""
    audience.begin_probe(image.name, package)
    audience.begin_part("boot")
    try:
        with Guest(_guest_spec(image, packages, plan)) as guest:
            timings["boot"] = time.monotonic() - began
            done.append(_install(guest, image, packages, plan, audience, timings))
    except PostrojError as error:
        reason = error.reason
        hint = error.hint
    timings["total"] = time.monotonic() - began
    result = ProbeResult(
        image=image.name,
        package=package,
        steps=tuple(done),
        reason=reason,
        hint=hint,
        timings=timings,
    )
    audience.end_probe(result)
    return result


def _guest_spec(image: Image, packages: Sequence[PackageFile], plan: Plan) -> GuestSpec:
    binds = [Bind(source=file.path, target=file.guest_path, read_only=True) for file in packages]
    return GuestSpec(
        layers=(image.path,),
        network=plan.network,
        binds=tuple(binds),
        boot_timeout=plan.boot_timeout,
    )


def _install(
    guest: Guest,
    image: Image,
    packages: Sequence[PackageFile],
    plan: Plan,
    audience: Audience,
    timings: dict[str, float],
) -> StepResult:
    """Install, tell, and ask; a package that did not install is not asked anything."""
    before = guest.failed_units()
    began = time.monotonic()
    done = steps.install(
        guest, manager_of(image.manager), packages, plan.timeout, audience.begin_part
    )
    timings |= done.timings
    step = StepResult(
        name=StepName.INSTALL,
        done=done.outcome,
        reason=done.blame.reason if done.blame else done.sentence,
        hint=done.blame.hint if done.blame else "",
        seconds=time.monotonic() - began,
    )
    audience.end_step(step)
    began = time.monotonic()
    answers = _ask(guest, plan, audience, before, done.outcome)
    timings["checks"] = time.monotonic() - began
    return StepResult(
        name=step.name,
        done=step.done,
        reason=step.reason,
        hint=step.hint,
        seconds=step.seconds,
        checks=tuple(answers),
    )


def _ask(
    guest: Guest, plan: Plan, audience: Audience, before: Sequence[str], done: Outcome
) -> list[CheckResult]:
    if done is not Outcome.PASS:
        skipped = checks.unasked(plan.questions, "the package was not installed")
        for answer in skipped:
            audience.end_check(answer)
        return list(skipped)
    audience.begin_part("checks")
    answers = []
    for answer in checks.ask_all(guest, plan.questions, plan.manners, before):
        answers.append(answer)
        audience.end_check(answer)
    return answers
