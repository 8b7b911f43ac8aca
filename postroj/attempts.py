"""Probe packages on an image: in a container, in a machine, or in both.

A guest with a kernel of its own takes longer. So with `Kernel.AUTO` a container comes first, and a
machine is asked only what a container could not show.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.errors import PostrojError
from postroj.guests import machine_for
from postroj.model import Kernel
from postroj.probe import recourse
from postroj.probe.probe import probe
from postroj.warm import warmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroj.model import Image
    from postroj.probe.audience import Audience
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan
    from postroj.verdict import ProbeResult


def attempt(
    image: Image,
    packages: Sequence[PackageFile],
    plan: Plan,
    audience: Audience,
    *,
    unfit: str = "",
) -> ProbeResult:
    """Probe packages on an image, see `probe`, in the guests that the plan wants.

    :raises PostrojError: if what the first guest needs is not available.
    """
    if unfit:
        return probe(image, packages, plan, audience, unfit=unfit)
    if plan.kernel is not Kernel.AUTO:
        return _attempt(image, packages, plan, audience)
    first_audience = recourse.FirstAudience(audience)
    first = _attempt(image, packages, replace(plan, kernel=Kernel.SHARED), first_audience)
    if recourse.is_wanted(first):
        second_plan = replace(plan, kernel=Kernel.OWN, keep=False)
        try:
            second = _attempt(image, packages, second_plan, recourse.SecondAudience(audience))
        except PostrojError as error:  # what a container has shown is true all the same
            first = recourse.with_failure(first, error.reason)
        else:
            first = recourse.merged(first, second)
            recourse.announce(first, audience)
    audience.end_probe(first)
    return first


def _attempt(
    image: Image, packages: Sequence[PackageFile], plan: Plan, audience: Audience
) -> ProbeResult:
    with ExitStack() as stack:
        wanted = machine_for(image, wanted=plan.kernel is Kernel.OWN)
        image, machine = stack.enter_context(wanted)
        image = warmed(image, packages, plan, stack)
        return probe(image, packages, plan, audience, machine=machine)
