"""An image with what its probes would fetch: set up, with package lists, with dependencies.

Each is a layer that is kept between runs (`store.warm_layers`). All are made in guests without
init, in which no package under test is installed: what the code of a package may have touched is
never kept. What cannot be fetched is left to the probe, which knows whom to blame.
"""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from postroj import process
from postroj.container.boot.nspawn import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import CommandError, CommandTimeout, GuestError, ImageError, PostrojError
from postroj.image.store import warm_layers
from postroj.image.store.warm_layers import Kind
from postroj.model import NetworkMode
from postroj.probe import operations
from postroj.probe.managers import manager_of
from postroj.probe.managers.base import Blame
from postroj.probe.package.package_file import binds, sha256
from postroj.probe.versions import DOWNLOADED
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from postroj.container.guest import OwnGuest
    from postroj.image.store.warm_layers import Kept, Recipe
    from postroj.model import Image
    from postroj.probe.managers.base import PackageManager
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan

MAX_AGE = 24 * 3600.0
"""Seconds after which package lists are fetched anew."""
MOST_BYTES = 1 << 29
"""Of dependencies; what is larger is not added to, but made anew."""
MOST_COMPLETE = 200
"""For as many sets of package files it is remembered that all their dependencies are there."""

LIST = 'for folder; do [ ! -d "$folder" ] || find "$folder" -type f; done | sort'
TOUCH = 'for folder; do [ ! -d "$folder" ] || find "$folder" -type f -exec touch -a {} +; done'
"""What is touched of the layers below is written to the one on top."""

TITLES = {
    Kind.SETUP: "set-up",
    Kind.LISTS: "package lists",
    Kind.DEPENDENCIES: "dependencies",
}
LACKING = {
    Kind.SETUP: "no such set-up is",
    Kind.LISTS: "no package lists are",
    Kind.DEPENDENCIES: "not all dependencies are",
}

ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}

log = logging.getLogger(__name__)


def warmed(image: Image, packages: Sequence[PackageFile], plan: Plan, stack: ExitStack) -> Image:
    """Return an image with the layers for a probe, which are in use until the stack unwinds.

    Safe in any thread.

    :raises ImageError: if a command of the set-up fails; with `offline`, if something is missing.
    :raises HostError: if the set-up takes what this host lacks.
    """
    larder = _Larder(plan, packages, stack)
    if plan.setup:
        image = larder.set_up(image)
    if image.manager is None:
        return image
    try:
        image = larder.with_lists(image)
        return larder.with_dependencies(image)
    except _Unfetched as failure:
        log.debug("%s: left to the probe: %s", image.name, failure)
    except PostrojError as error:
        if plan.offline:
            raise
        # of a guest that ended, the probe will tell
        level = logging.DEBUG if isinstance(error, GuestError) else logging.INFO
        log.log(level, "%s: what is fetched is not kept: %s", image.name, error.message)
    return image


class _Unfetched(Exception):
    """Something cannot be fetched, as the probe will find, too."""


@dataclass(frozen=True)
class _Batch:
    """Package files that are installed in one go."""

    packages: tuple[PackageFile, ...]
    after_repository: bool = False
    """Whether the repositories' versions of them are installed before."""

    @cached_property
    def digest(self) -> str:
        """It stands for their content."""
        digests = sorted(sha256(package.path) for package in self.packages)
        words = " ".join([*digests, *(["repository"] if self.after_repository else [])])
        return hashlib.sha256(words.encode()).hexdigest()


class _Larder:
    """What is kept for the images of a probe; what is not is made."""

    def __init__(self, plan: Plan, packages: Sequence[PackageFile], stack: ExitStack) -> None:
        self._plan = plan
        self._packages = packages
        self._stack = stack
        self._began = time.time()

    def set_up(self, image: Image) -> Image:
        """Return an image in which the commands of the set-up have been run."""
        recipe = warm_layers.recipe(Kind.SETUP, image, *self._plan.setup)
        make = partial(self._run_setup, image)
        return _stack_on(image, self._keep(image, recipe, self._is_new, make))

    def with_lists(self, image: Image) -> Image:
        """Return an image with package lists that are not too old."""
        recipe = warm_layers.recipe(Kind.LISTS, image, str(image.manager))
        make = partial(self._fetch_lists, image)
        kept = self._keep(image, recipe, self._is_young, make)
        return replace(_stack_on(image, kept), has_lists=True)

    def with_dependencies(self, image: Image) -> Image:
        """Return an image with all that the packages take from the repositories."""
        batches = [_Batch(tuple(self._packages), self._plan.from_repository)]
        batches += [_Batch(self._plan.older)] if self._plan.older else []
        wanted = {batch.digest for batch in batches}
        recipe = warm_layers.recipe(Kind.DEPENDENCIES, image, str(image.manager))

        def will_do(kept: Kept) -> bool:
            return self._is_new(kept) and wanted <= set(kept.complete)

        make = partial(self._fetch_dependencies, image, batches)
        return _stack_on(image, self._keep(image, recipe, will_do, make))

    def _is_new(self, kept: Kept) -> bool:
        return not self._plan.refresh or kept.made >= self._began

    def _is_young(self, kept: Kept) -> bool:
        is_young = abs(time.time() - kept.made) < MAX_AGE
        return self._plan.offline or (is_young and self._is_new(kept))

    def _keep(
        self,
        image: Image,
        recipe: Recipe,
        will_do: Callable[[Kept], bool],
        make: Callable[[Recipe, Path], Kept],
    ) -> Kept:
        """Return the layer of a recipe, in use; made, if there is none that will do.

        :raises ImageError: if that cannot be made with `offline`.
        """

        def look() -> Kept | None:
            kept = warm_layers.find(recipe)
            return kept if kept and will_do(kept) and warm_layers.use(self._stack, kept) else None

        if kept := look():
            return kept
        if self._plan.offline and recipe.kind is not Kind.DEPENDENCIES:
            raise _missing(image, recipe.kind)
        with warm_layers.making(image) as directory:
            if kept := look():  # somebody else may have made it while we waited
                return kept
            log.info("%s: %s ...", image.name, TITLES[recipe.kind])
            kept = make(recipe, directory)
        warm_layers.collect()  # what it replaces, and what rested on that
        return kept

    def _run_setup(self, image: Image, recipe: Recipe, directory: Path) -> Kept:
        with self._guest(image) as guest:
            for command in self._plan.setup:
                _run(guest, image, command, self._plan.timeout)
            return warm_layers.add(self._stack, recipe, _pack(guest, directory))

    def _fetch_lists(self, image: Image, recipe: Recipe, directory: Path) -> Kept:
        manager = manager_of(image.manager)
        with self._guest(image) as guest:
            argv = manager.refresh()
            if blame := operations.perform(guest, manager, argv, [], self._plan.timeout):
                raise _Unfetched(blame.sentence)
            return warm_layers.add(self._stack, recipe, _pack(guest, directory))

    def _fetch_dependencies(
        self, image: Image, batches: Sequence[_Batch], recipe: Recipe, directory: Path
    ) -> Kept:
        """Add what is missing to the layer that there is, or make one."""
        manager = manager_of(image.manager)
        folders = (*manager.cache, DOWNLOADED)
        with ExitStack() as stack:
            old = self._to_add_to(recipe, stack)
            lower = _stack_on(image, old) if old else image
            guest = stack.enter_context(self._guest(lower))
            before = _list(guest, folders)
            for batch in batches:
                if blame := self._fetch(guest, manager, batch):
                    if self._plan.offline and blame.outcome is Outcome.ERROR:
                        raise _missing(image, recipe.kind, blame.reason)
                    raise _Unfetched(blame.sentence)
            complete = tuple(batch.digest for batch in batches)
            if old is None:
                file = _pack(guest, directory, folders)
                return warm_layers.add(self._stack, recipe, file, complete)
            others = (digest for digest in old.complete if digest not in complete)
            complete = (*others, *complete)[-MOST_COMPLETE:]
            if _list(guest, folders) == before:
                warm_layers.use(self._stack, old)
                return warm_layers.amend(old, complete, directory)
            guest.run(["sh", "-c", TOUCH, "sh", *folders], timeout=self._plan.timeout)
            file = _pack(guest, directory, folders)
            return warm_layers.add(self._stack, recipe, file, complete)

    def _to_add_to(self, recipe: Recipe, stack: ExitStack) -> Kept | None:
        """Return the layer of dependencies that there is, in use, unless it is to be replaced."""
        kept = warm_layers.find(recipe)
        fits = kept and self._is_new(kept) and kept.size < MOST_BYTES
        return kept if kept and fits and warm_layers.use(stack, kept) else None

    def _fetch(self, guest: OwnGuest, manager: PackageManager, batch: _Batch) -> Blame | None:
        """Fetch what one batch takes; whom to blame if that fails."""
        facts = operations.inspect(guest, manager, batch.packages)
        if isinstance(facts, Blame):
            return facts
        timeout = self._plan.timeout
        names = [fact.name for fact in facts]
        paths = [package.guest_path for package in batch.packages]
        if blame := operations.perform(guest, manager, manager.fetch(paths), names, timeout):
            return blame
        older = []
        for name in names if batch.after_repository else ():
            path = operations.bring(guest, manager, name, DOWNLOADED, timeout)
            if isinstance(path, Blame):
                return path
            older.append(path)
        fetch = manager.fetch(older)
        return operations.perform(guest, manager, fetch, names, timeout) if older else None

    def _guest(self, image: Image) -> AbstractContextManager[OwnGuest]:
        """Return a guest that sees the package files, as the probe's does."""
        network = NetworkMode.PRIVATE
        if self._plan.offline:
            network = NetworkMode.NONE
        elif self._plan.network is NetworkMode.HOST:
            network = NetworkMode.HOST
        return start_guest(
            GuestSpec(
                layers=image.layers,
                boot=False,
                network=network,
                proxies=self._plan.proxies,
                binds=binds([*self._packages, *self._plan.older]),
                boot_timeout=self._plan.boot_timeout,
                guests=self._plan.guests,
                image=image.name,
                emulated=image.emulated,
                purpose="fetch",
            )
        )


def _missing(image: Image, kind: Kind, evidence: str = "") -> ImageError:
    message = f"of the image '{image.name}' {LACKING[kind]} kept, and `--offline` fetches nothing"
    hint = f"the same `postroj pkgprobe --image {image.name} ...` without `--offline` fetches it"
    return ImageError(message, evidence=evidence, hint=hint)


def _stack_on(image: Image, kept: Kept) -> Image:
    return replace(image, layers=(*image.layers, kept.path))


def _run(guest: OwnGuest, image: Image, command: str, timeout: float) -> None:
    """Run a command of the set-up.

    :raises ImageError: if it fails.
    """
    try:
        argv = ["/bin/sh", "-ec", command]
        guest.run(argv, env=ENVIRONMENT, secrets=guest.proxies, timeout=timeout)
    except CommandError as error:
        late = isinstance(error, CommandTimeout)
        how = f"did not end within {timeout:g} s" if late else f"ended with status {error.status}"
        message = f"`--setup` went wrong on the image '{image.name}': '{command}' {how}"
        hint = f"`postroj shell --no-boot --image {image.name}` is where to try it"
        raise ImageError(message, evidence=process.last_lines(error.output), hint=hint) from None


def _list(guest: OwnGuest, folders: Sequence[str]) -> str:
    """Name the files in folders of a guest."""
    return guest.run(["sh", "-c", LIST, "sh", *folders], timeout=operations.PATIENCE).text


def _pack(guest: OwnGuest, directory: Path, only: Sequence[str] | None = None) -> Path:
    """Make a layer of what a guest has written, perhaps in some folders only; it is over."""
    from postroj.image.unpack import pack

    file = directory / "layer.squashfs"
    pack.squash_output(guest.layer_argv(only), file)
    return file
