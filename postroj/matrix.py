"""Probe packages on several images: all of them together, or each of what a build has left."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from postroj import away
from postroj.errors import NothingToTest, UsageError
from postroj.image import architectures, selection
from postroj.model import Manager
from postroj.probe.managers import installers
from postroj.probe.package import package_file
from postroj.probe.package.collect import LeftOut, collect, expand
from postroj.probe.package.formats import SUFFIX, Format
from postroj.probe.package.together import divide
from postroj.tasks import Task, carry_out

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from postroj.locking import Claim
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan
    from postroj.tasks import Findings, Stage

log = logging.getLogger(__name__)


def probe_all(
    images: Sequence[str],
    packages: Sequence[str],
    digests: Sequence[str],
    plan: Plan,
    stage: Stage,
    *,
    jobs: int | None = None,
    fail_fast: bool = False,
) -> Findings:
    """Probe packages (paths or URLs, each pinned if there are `digests`) together on each image.

    `images` are names and patterns, see `postroj.image.selection`. `jobs` guests run at once; None
    is as many as this host can bear. With `fail_fast` the first bad verdict ends the run.

    :raises UsageError: if a package file or an image does not exist.
    :raises DownloadError: if a package is not available, or differs from its pin.
    """
    with downloads(plan, packages) as (claim, plan):
        found = package_file.fetch(packages, digests, claim.path)
        plan = plan.pinned(found)
        files = [package_file.examine(path) for path in found]
        names = selection.choose(images, managers(files), plan.architecture, homes(files))
        label = " ".join(path.name for path in found)
        tasks = [Task(image=name, files=files, label=label, plan=plan) for name in names]
        findings = carry_out(tasks, stage, jobs=jobs, fail_fast=fail_fast)
        claim.stays = any(probe.guest for probe in findings.report.probes)
    return findings


def homes(files: Sequence[PackageFile]) -> frozenset[str]:
    """Return the images for which all of the packages were built, as far as they say so."""
    each = [frozenset(file.metadata.homes) for file in files]
    return frozenset.intersection(*each) if each else frozenset()


@contextmanager
def downloads(plan: Plan, packages: Sequence[str]) -> Iterator[tuple[Claim, Plan]]:
    """Make a folder for downloads, and yield it with the plan that has the older packages.

    :raises UsageError: if a file does not exist, or `--offline` forbids a download.
    :raises DownloadError: if a package is not available.
    """
    if plan.offline:
        package_file.refuse_urls([*packages, *plan.upgrade_from])
    with package_file.downloads("download") as claim:
        if plan.upgrade_from:
            plan = replace(plan, older=package_file.fetch_older(plan.upgrade_from, claim.path))
        if plan.keep:  # the packages are deleted after the run, but not under a guest
            plan = replace(plan, locks=(claim.descriptor,))
        yield claim, plan


def probe_each(
    images: Sequence[str],
    sets: Sequence[Sequence[str]],
    plan: Plan,
    stage: Stage,
    *,
    apart: bool,
    jobs: int | None = None,
    fail_fast: bool = False,
) -> Findings:
    """Probe packages on the images that can install them.

    Each of `sets` has paths, patterns and URLs of packages, of folders with packages, and of
    .changes files. With `apart`, each package of a set is probed for itself, together only with
    those that it needs; without, all of a set that have one format are probed together. What fits
    no image, or is no package to be probed, is logged.

    :raises UsageError: if a file or an image does not exist.
    :raises DownloadError: if a package is not available.
    :raises NothingToTest: if nothing is left.
    """
    left_out = LeftOut(list)
    with downloads(plan, [text for texts in sets for text in texts]) as (claim, plan):
        urls: dict[Path, str] = {}
        groups = []
        for number, texts in enumerate(sets):
            folder = claim.path / f"set-{number}"
            folder.mkdir()
            machine = plan.architecture or architectures.of_this_host()
            files, origins = _gather(texts, folder, machine, left_out)
            urls |= origins
            groups += divide(files) if apart else _by_format(files)
        tasks = list(_tasks(groups, images, plan, urls, left_out))
        lines = _lines(left_out)
        if not tasks:
            raise _nothing(left_out)
        for line in (*lines, *_unused(images, tasks, plan.architecture)):
            log.info("%s", line)
        findings = carry_out(tasks, stage, jobs=jobs, fail_fast=fail_fast)
        claim.stays = any(probe.guest for probe in findings.report.probes)
    return findings


def images_for(
    packages: Sequence[str], wanted: Sequence[str], machine: str, folder: Path, *, usual: bool
) -> list[str]:
    """Return the images of the catalog on which `probe_each` would probe packages.

    What is cached does not matter. An empty `wanted` selects all that fit, or with `usual` one for
    each kind of package. URLs are downloaded into `folder`. Packages that fit no image are logged.

    :raises UsageError: if a file or an image does not exist, or no image fits.
    :raises DownloadError: if a package is not available.
    :raises PackageError: if a package is damaged.
    :raises NothingToTest: if there are only files that are not probed.
    """
    left_out = LeftOut(list)
    files, _ = _gather(packages, folder, machine, left_out)
    if packages and not files:
        raise _nothing(left_out)
    for damage in filter(None, (file.damage for file in files)):
        raise damage
    for line in _lines(left_out):
        log.info("%s", line)
    if wanted or not files:
        return selection.choose_from_catalog(wanted, managers(files), machine)
    choose = selection.defaults_from_catalog if usual else selection.all_from_catalog
    found: list[str] = []
    for form, places in dict.fromkeys((file.format, homes([file])) for file in files):
        with suppress(UsageError):  # another kind may fit
            found += choose(installers(form), machine, places)
    return list(dict.fromkeys(found)) or selection.all_from_catalog(managers(files), machine)


def _gather(
    texts: Sequence[str], folder: Path, machine: str, left_out: LeftOut
) -> tuple[list[PackageFile], dict[Path, str]]:
    """Return the packages that texts name, and the URLs of those that were downloaded."""
    remote = [text for text in texts if "://" in text]
    fetched = package_file.fetch(remote, (), folder)
    local = expand(text for text in texts if "://" not in text)
    urls = dict(zip(fetched, remote, strict=True))
    return collect(local, fetched, machine, left_out), urls


def _lines(left_out: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"left out, {why}: {', '.join(names)}" for why, names in left_out.items()]


def _nothing(left_out: Mapping[str, Sequence[str]]) -> NothingToTest:
    message = "nothing that was given can be tested"
    return NothingToTest(message, evidence="\n".join(_lines(left_out)), hint=_hint(left_out))


def _tasks(
    groups: Sequence[Sequence[PackageFile]],
    images: Sequence[str],
    plan: Plan,
    urls: Mapping[Path, str],
    left_out: LeftOut,
) -> Iterator[Task]:
    """Yield a task for each group of packages on each image that can install it."""
    fitting: dict[tuple[Format, Collection[str]], list[str]] = {}
    for files in groups:
        form = files[0].format
        kind = form, homes(files)
        if kind not in fitting:
            fitting[kind] = selection.choose_fitting(
                images, installers(form), plan.architecture, homes(files)
            )
        label = _label(files)
        own = _plan_of(files, plan, urls, several=len(groups) > 1)
        for name in fitting[kind]:
            yield Task(image=name, files=files, label=label, plan=own)
        if not fitting[kind]:
            left_out[f"no image given installs {SUFFIX[form]}"] += [file.name for file in files]


def _unused(images: Sequence[str], tasks: Sequence[Task], machine: str) -> Iterator[str]:
    """Yield a line for the images that were given in vain."""
    given = selection.choose_fitting(images, set(Manager), machine) if images else []
    used = {task.image for task in tasks}
    if unused := [name for name in given if name not in used]:
        yield f"no package fits {', '.join(unused)}"


def _by_format(files: Sequence[PackageFile]) -> list[tuple[PackageFile, ...]]:
    """Return the files of each format."""
    found = (tuple(file for file in files if file.format is form) for form in Format)
    return list(filter(None, found))


def _label(group: Sequence[PackageFile]) -> str:
    """Return the names of the files.

    :raises UsageError: if two of them have the same name.
    """
    names = [file.name for file in group]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        message = f"two packages have the file name '{twice[0]}'"
        raise UsageError(message)
    return " ".join(names)


def _plan_of(
    group: Sequence[PackageFile], plan: Plan, urls: Mapping[Path, str], *, several: bool
) -> Plan:
    """Return the plan for a group: with its own command line, and its own older packages."""
    again = plan.reproduction
    if again:
        texts = tuple(urls.get(file.path, away.there(file.path)) for file in group)
        plan = replace(plan, reproduction=replace(again, packages=texts))
        plan = plan.pinned([file.path for file in group])
        again = plan.reproduction
    if not several or not plan.older:
        return plan
    names = {file.metadata.name for file in group}
    own = [place for place, file in enumerate(plan.older) if file.metadata.name in names]
    if again:
        upgrade_from = tuple(again.upgrade_from[place] for place in own)
        steps = () if own or "--steps" in again.options else ("--steps", ",".join(plan.steps))
        again = replace(again, upgrade_from=upgrade_from, options=(*again.options, *steps))
    return replace(
        plan,
        older=tuple(plan.older[place] for place in own),
        upgrade_from=tuple(plan.upgrade_from[place] for place in own),
        reproduction=again,
    )


def _hint(left_out: Mapping[str, Sequence[str]]) -> str:
    """Return the option that has packages for another architecture tested; '' if there are none."""
    for machine in architectures.DEBIAN:
        if f"for {machine}" in left_out:
            return f"`--arch {machine}` probes on images of that architecture"
    return ""


def managers(files: Sequence[PackageFile]) -> Collection[Manager]:
    """Return the package managers that install one of the packages; all, without packages."""
    return {manager for file in files for manager in installers(file.format)} or set(Manager)
