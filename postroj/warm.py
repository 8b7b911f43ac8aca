"""Warm an image: stack cached layers on it with set-up, package lists and dependencies.

Each layer is cached between runs (`postroj.image.store.warm_layers`). All are made in guests
without init and without a package under test, so that no package's code has touched them. If
something cannot be downloaded, the probe meets the same failure and decides who is to blame.
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
from postroj.container import naming
from postroj.container.spec import GuestSpec
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
    from postroj.image.store.warm_layers import Recipe, WarmLayer
    from postroj.model import Image
    from postroj.probe.managers.base import PackageManager
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan

MAX_AGE = 24 * 3600.0
"""Seconds after which package lists are downloaded again."""
MOST_BYTES = 1 << 29
"""Limit for dependencies, in bytes; a larger layer is replaced, not extended."""
MOST_COMPLETE = 200
"""Number of sets of package files whose completeness is remembered."""

LIST = 'for folder; do [ ! -d "$folder" ] || find "$folder" -type f; done | sort'
TOUCH = 'for folder; do [ ! -d "$folder" ] || find "$folder" -type f -exec touch -a {} +; done'
"""Touching a file of a lower layer copies it into the top layer."""

TITLES = {
    Kind.SETUP: "set-up",
    Kind.LISTS: "package lists",
    Kind.DEPENDENCIES: "dependencies",
}
LACKING = {
    Kind.SETUP: "results of the set-up",
    Kind.LISTS: "package lists",
    Kind.DEPENDENCIES: "some dependencies",
}

ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}

log = logging.getLogger(__name__)


def warmed(image: Image, packages: Sequence[PackageFile], plan: Plan, stack: ExitStack) -> Image:
    """Return an image with all layers for a probe, in use until the stack unwinds.

    Thread-safe.

    :raises ImageError: if a command of the set-up fails, or with `offline` if something is missing.
    :raises HostError: if the set-up needs something that this host lacks.
    """
    layers = _WarmLayers(plan, packages, stack)
    if plan.setup:
        image = layers.set_up(image)
    if image.manager is None:
        return image
    try:
        image = layers.with_lists(image)
        return layers.with_dependencies(image)
    except _DownloadFailed as failure:
        log.debug("%s: left to the probe: %s", image.name, failure)
    except PostrojError as error:
        if plan.offline:
            raise
        # The probe reports guests that end.
        level = logging.DEBUG if isinstance(error, GuestError) else logging.INFO
        log.log(level, "%s: not cached for later runs: %s", image.name, error.message)
    return image


class _DownloadFailed(Exception):
    """A download failed, as it will for the probe as well."""


@dataclass(frozen=True)
class _Transaction:
    """Package files that are installed in one transaction."""

    packages: tuple[PackageFile, ...]
    after_repository: bool = False
    """Whether the repositories' versions of them are installed first."""

    @cached_property
    def digest(self) -> str:
        """Digest of the content."""
        digests = sorted(sha256(package.path) for package in self.packages)
        words = " ".join([*digests, *(["repository"] if self.after_repository else [])])
        return hashlib.sha256(words.encode()).hexdigest()


class _WarmLayers:
    """Finds the cached layers of a probe, and makes the missing ones."""

    def __init__(self, plan: Plan, packages: Sequence[PackageFile], stack: ExitStack) -> None:
        self._plan = plan
        self._packages = packages
        self._stack = stack
        self._began = time.time()

    def set_up(self, image: Image) -> Image:
        """Return the image after the commands of the set-up."""
        recipe = warm_layers.recipe(Kind.SETUP, image, *self._plan.setup)
        make = partial(self._run_setup, image)
        return _stack_on(image, self._find_or_make(image, recipe, self._is_new, make))

    def with_lists(self, image: Image) -> Image:
        """Return the image with recent package lists."""
        recipe = warm_layers.recipe(Kind.LISTS, image, str(image.manager))
        make = partial(self._fetch_lists, image)
        layer = self._find_or_make(image, recipe, self._is_young, make)
        return replace(_stack_on(image, layer), has_lists=True)

    def with_dependencies(self, image: Image) -> Image:
        """Return the image with everything that the packages need from repositories."""
        transactions = [_Transaction(tuple(self._packages), self._plan.from_repository)]
        transactions += [_Transaction(self._plan.older)] if self._plan.older else []
        wanted = {transaction.digest for transaction in transactions}
        recipe = warm_layers.recipe(Kind.DEPENDENCIES, image, str(image.manager))

        def satisfies(layer: WarmLayer) -> bool:
            return self._is_new(layer) and wanted <= set(layer.complete)

        make = partial(self._fetch_dependencies, image, transactions)
        return _stack_on(image, self._find_or_make(image, recipe, satisfies, make))

    def _is_new(self, layer: WarmLayer) -> bool:
        return not self._plan.refresh or layer.made >= self._began

    def _is_young(self, layer: WarmLayer) -> bool:
        is_young = abs(time.time() - layer.made) < MAX_AGE
        return self._plan.offline or (is_young and self._is_new(layer))

    def _find_or_make(
        self,
        image: Image,
        recipe: Recipe,
        satisfies: Callable[[WarmLayer], bool],
        make: Callable[[Recipe, Path], WarmLayer],
    ) -> WarmLayer:
        """Return the cached layer of a recipe, in use; make it if there is none that satisfies.

        :raises ImageError: if it is missing and `offline` forbids making it.
        """

        def find() -> WarmLayer | None:
            layer = warm_layers.find(recipe)
            usable = layer and satisfies(layer) and warm_layers.use(self._stack, layer)
            return layer if usable else None

        if layer := find():
            return layer
        if self._plan.offline and recipe.kind is not Kind.DEPENDENCIES:
            raise _missing(image, recipe.kind)
        with warm_layers.building(image) as directory:
            if layer := find():  # another process may have made it while we waited
                return layer
            log.info("%s: %s ...", image.name, TITLES[recipe.kind])
            layer = make(recipe, directory)
        warm_layers.collect()  # layers that the new one replaces, and those stacked on them
        return layer

    def _run_setup(self, image: Image, recipe: Recipe, directory: Path) -> WarmLayer:
        with self._guest(image) as guest:
            for command in self._plan.setup:
                _run(guest, image, command, self._plan.timeout)
            return warm_layers.add(self._stack, recipe, _pack(guest, directory))

    def _fetch_lists(self, image: Image, recipe: Recipe, directory: Path) -> WarmLayer:
        manager = manager_of(image.manager)
        with self._guest(image) as guest:
            argv = manager.refresh()
            if blame := operations.perform(guest, manager, argv, [], self._plan.timeout):
                raise _DownloadFailed(blame.sentence)
            return warm_layers.add(self._stack, recipe, _pack(guest, directory))

    def _fetch_dependencies(
        self, image: Image, transactions: Sequence[_Transaction], recipe: Recipe, directory: Path
    ) -> WarmLayer:
        """Extend the layer of dependencies by what is missing, or make it."""
        manager = manager_of(image.manager)
        folders = (*manager.cache, DOWNLOADED)
        with ExitStack() as stack:
            old = self._extensible(recipe, stack)
            lower = _stack_on(image, old) if old else image
            guest = stack.enter_context(self._guest(lower))
            before = _list(guest, folders)
            for transaction in transactions:
                if blame := self._fetch(guest, manager, transaction):
                    if self._plan.offline and blame.outcome is Outcome.ERROR:
                        raise _missing(image, recipe.kind, blame.reason)
                    raise _DownloadFailed(blame.sentence)
            complete = tuple(transaction.digest for transaction in transactions)
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

    def _extensible(self, recipe: Recipe, stack: ExitStack) -> WarmLayer | None:
        """Return the layer of dependencies to extend, in use; None to make a new one."""
        layer = warm_layers.find(recipe)
        fits = layer and self._is_new(layer) and layer.size < MOST_BYTES
        return layer if layer and fits and warm_layers.use(stack, layer) else None

    def _fetch(
        self, guest: OwnGuest, manager: PackageManager, transaction: _Transaction
    ) -> Blame | None:
        """Download what one transaction needs; return the blame if that fails."""
        facts = operations.inspect(guest, manager, transaction.packages)
        if isinstance(facts, Blame):
            return facts
        timeout = self._plan.timeout
        names = [fact.name for fact in facts]
        paths = [package.guest_path for package in transaction.packages]
        if blame := operations.perform(guest, manager, manager.fetch(paths), names, timeout):
            return blame
        older = []
        for name in names if transaction.after_repository else ():
            path = operations.bring(guest, manager, name, DOWNLOADED, timeout)
            if isinstance(path, Blame):
                return path
            older.append(path)
        fetch = manager.fetch(older)
        return operations.perform(guest, manager, fetch, names, timeout) if older else None

    def _guest(self, image: Image) -> AbstractContextManager[OwnGuest]:
        """Return a guest that sees the package files, as the probe's guest does."""
        network = NetworkMode.PRIVATE
        if self._plan.offline:
            network = NetworkMode.NONE
        elif self._plan.network is NetworkMode.HOST:
            network = NetworkMode.HOST
        return start_guest(
            GuestSpec(
                hostname=naming.COMMON_HOST,
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
    message = f"for the image '{image.name}' {LACKING[kind]} are not cached, and `--offline` is set"
    hint = f"the same `postroj pkgprobe --image {image.name} ...` without `--offline` downloads it"
    return ImageError(message, evidence=evidence, hint=hint)


def _stack_on(image: Image, layer: WarmLayer) -> Image:
    return replace(image, layers=(*image.layers, layer.path))


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
        message = f"`--setup` failed on the image '{image.name}': '{command}' {how}"
        hint = f"try the command in `postroj shell --no-boot --image {image.name}`"
        raise ImageError(message, evidence=process.last_lines(error.output), hint=hint) from None


def _list(guest: OwnGuest, folders: Sequence[str]) -> str:
    """List the files in folders of a guest."""
    return guest.run(["sh", "-c", LIST, "sh", *folders], timeout=operations.PATIENCE).text


def _pack(guest: OwnGuest, directory: Path, only: Sequence[str] | None = None) -> Path:
    """Pack what a guest has written, or only some folders of it, into a layer; ends the guest."""
    from postroj.image.unpack import pack

    file = directory / "layer.squashfs"
    pack.squash_output(guest.layer_argv(only), file)
    return file
