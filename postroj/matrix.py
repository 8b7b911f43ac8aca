"""Packages on images: the one place where an image, a guest and a probe meet in one report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj import paths
from postroj.errors import PackageError, PostrojError
from postroj.image.pull import obtain
from postroj.locking import Claim, sweep
from postroj.model import Outcome, ProbeResult, Report, StepName, StepResult
from postroj.probe import package
from postroj.probe.checks import unasked
from postroj.probe.probe import probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from postroj.probe.probe import Audience, Plan


def probe_all(
    names: Sequence[str],
    packages: Sequence[str],
    digests: Sequence[str],
    plan: Plan,
    audience: Audience,
) -> Report:
    """Probe packages (paths or URLs, each pinned if there are `digests`) on each image.

    :raises UsageError: if a package file does not exist.
    :raises DownloadError: if one cannot be had, or is not what was pinned.
    """
    downloads = paths.cache_dir() / "downloads"
    sweep(downloads)
    with Claim.make(downloads, "download") as claim:
        found = package.fetch(packages, digests, claim.path)
        return Report(probes=tuple(_probes(names, found, plan, audience)))


def _probes(
    names: Sequence[str], found: Sequence[Path], plan: Plan, audience: Audience
) -> Iterator[ProbeResult]:
    label = " ".join(path.name for path in found)
    try:
        files = [package.recognise(path) for path in found]
    except PackageError as error:
        for name in names:
            yield _refused(ProbeResult(image=name, package=label), error, plan, audience)
        return
    for name in names:
        try:
            with obtain(name) as image:
                yield probe(image, files, plan, audience)
        except PostrojError as error:
            yield _not_begun(ProbeResult(image=name, package=label), error, audience)


def _refused(
    probe: ProbeResult, error: PackageError, plan: Plan, audience: Audience
) -> ProbeResult:
    """Judge a file that no guest needs to see in order to know that it is no package."""
    step = StepResult(
        name=StepName.INSTALL,
        done=Outcome.FAIL,
        reason=error.reason,
        hint=error.hint,
        seconds=0,
        checks=unasked(plan.questions, "the package was not installed"),
    )
    audience.begin_probe(probe.image, probe.package)
    audience.end_step(step)
    for answer in step.checks:
        audience.end_check(answer)
    probe = replace(probe, steps=(step,))
    audience.end_probe(probe)
    return probe


def _not_begun(probe: ProbeResult, error: PostrojError, audience: Audience) -> ProbeResult:
    """Tell of an image that is not to be had."""
    probe = replace(probe, reason=error.reason, hint=error.hint)
    audience.begin_probe(probe.image, probe.package)
    audience.end_probe(probe)
    return probe
