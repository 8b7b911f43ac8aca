"""Probe packages on one image: boot it, take the steps, and report the results."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.container import naming
from postroj.container.spec import GuestSpec
from postroj.errors import GuestError, PostrojError
from postroj.guests import start_guest
from postroj.probe.announce import Announcer
from postroj.probe.ask.checks import unasked
from postroj.probe.circumstances import now
from postroj.probe.evidence.collector import of_console
from postroj.probe.evidence.witness import Witness
from postroj.probe.excuse import expectations
from postroj.probe.excuse.excuses import Excuses
from postroj.probe.package.package_file import binds
from postroj.probe.walk import Walk
from postroj.verdict import Outcome, ProbeResult, StepResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.container.guest import OwnGuest
    from postroj.container.spec import Machine
    from postroj.model import Image
    from postroj.probe.audience import Audience
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan
    from postroj.verdict import Evidence

NOT_INSTALLED = "the package was not installed"


def probe(
    image: Image,
    packages: Sequence[PackageFile],
    plan: Plan,
    audience: Audience,
    *,
    unfit: str = "",
    machine: Machine | None = None,
) -> ProbeResult:
    """Probe packages on an image.

    A `PostrojError` becomes the outcome `ERROR`. `unfit` says why the image's package manager
    cannot install the packages: nothing is tested then, and no guest boots. With a `machine` the
    guest has a kernel of its own.
    """
    began, date = time.monotonic(), now()
    if machine:
        image = replace(image, emulated=False)  # by qemu-user, of which the guest sees nothing
    plan = plan.on(image).slowed(machine.accelerator.slowness if machine else 1)
    expected = expectations.of(plan.expected, image.name)
    excuses = Excuses(expected, is_emulated=image.emulated)
    announcer = Announcer(audience, excuses)
    package = " ".join(file.name for file in packages)
    timings: dict[str, float] = {}
    raw: list[StepResult] = []
    reported: list[StepResult] = []
    reason = hint = ""
    ours: OwnGuest | None = None
    last_words: tuple[Evidence, ...] = ()
    audience.begin_probe(image.name, package)
    try:
        if unfit:
            answers = unasked(plan.questions, NOT_INSTALLED)
            step = StepResult(
                name=plan.steps[0], done=Outcome.SKIP, reason=unfit, seconds=0, checks=answers
            )
            reported.append(announcer.end_step(step).result().reported)
        else:
            audience.begin_part("boot")
            with start_guest(_guest_spec(image, packages, plan, machine)) as guest:
                ours = excuses.guest = guest
                timings["boot"] = time.monotonic() - began
                witness = Witness(guest, image, plan.visit, audience.begin_part, timings)
                try:
                    walk = Walk(
                        guest, image, packages, plan, announcer, timings, witness.record_output
                    )
                    for name in plan.steps:
                        witness.begin_step()
                        judged = walk.take(name)
                        if plan.survey and not judged.raw.outcome.is_bad:
                            plan.survey(guest, image, judged.reported, walk.packages)
                        evidence = witness.end_step(judged.raw, walk.subjects)
                        raw.append(judged.raw)
                        reported.append(replace(judged.reported, evidence=evidence))
                except PostrojError as error:
                    last_words = witness.end_with_error(error)
                    raise
    except PostrojError as error:
        reason = error.reason
        hint = error.hint
        if isinstance(error, GuestError):
            last_words = last_words or of_console(error.console)
    timings["total"] = time.monotonic() - began
    notes = [*(_of_boot(ours) if ours else ()), *excuses.notes(raw, ended_early=bool(reason))]
    result = ProbeResult(
        image=image.name,
        package=package,
        packages=tuple(file.as_package() for file in packages),
        date=date,
        architecture=image.architecture,
        image_digest=image.digest,
        steps=tuple(reported),
        reason=reason,
        hint=hint,
        timings=timings,
        guest=ours.name if ours and ours.kept else "",
        own_kernel=bool(machine),
        evidence=last_words,
        reproduce=plan.command(image.name),
        notes=tuple(notes),
    )
    audience.end_probe(result)
    return result


def _of_boot(guest: OwnGuest) -> Iterator[str]:
    """Yield a note about units that had failed before the first step."""
    if guest.failed_at_boot:
        yield f"units had failed as the guest booted: {', '.join(guest.failed_at_boot)}"


def _guest_spec(
    image: Image, packages: Sequence[PackageFile], plan: Plan, machine: Machine | None
) -> GuestSpec:
    return GuestSpec(
        hostname=naming.COMMON_HOST,
        layers=image.layers,
        network=plan.network,
        proxies=plan.proxies,
        binds=(*binds([*packages, *plan.older]), *(plan.goss.binds if plan.goss else ())),
        boot_timeout=plan.boot_timeout,
        keep=plan.keep,
        locks=plan.locks,
        image=image.name,
        systemd=image.systemd,
        emulated=image.emulated,
        purpose=" ".join(("pkgprobe", *(file.name for file in packages))),
        guests=plan.guests,
        asked=plan.limits,
        private_users=plan.private_users,
        machine=machine,
    )
