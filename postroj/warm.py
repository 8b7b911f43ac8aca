"""Warm an image: stack cached layers on it with set-up, package lists and installed dependencies.

Each layer is cached between runs (`postroj.image.store.warm_layers`). All are made in guests that
install no package under test, so that no package's code has touched them. If something cannot be
downloaded or installed, the probe meets the same failure and decides who is to blame.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from postroj import process
from postroj.container import naming
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import CommandError, CommandTimeout, GuestError, ImageError, PostrojError
from postroj.image.store import warm_layers
from postroj.image.store.warm_layers import Kind
from postroj.model import NetworkMode
from postroj.probe import dependencies, operations, versions
from postroj.probe.dependencies import Inseparable
from postroj.probe.managers import manager_of
from postroj.probe.managers.base import Blame
from postroj.probe.package.package_file import binds, sha256
from postroj.probe.versions import DOWNLOADED, Batch
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from postroj.container.guest import OwnGuest
    from postroj.image.store.warm_layers import Recipe, WarmLayer
    from postroj.model import Image
    from postroj.probe.package.package_file import PackageFile
    from postroj.probe.plan import Plan

MAX_AGE = 24 * 3600.0
"""Seconds after which package lists are downloaded again."""
SHUTDOWN = 20.0
"""Seconds in which the services of dependencies stop; then the kernel ends them."""
CLEAN = """for folder; do
    [ ! -d "$folder" ] || find "$folder" -type f \\
        \\( -name '*.deb' -o -name '*.rpm' -o -name '*.pkg.tar*' \\) -delete
done"""
"""Deletes the files of packages that are installed by now."""

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

    Without packages these are set-up and package lists. Thread-safe.

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
        return layers.with_dependencies(image) if packages else image
    except _LeftToProbe as failure:
        log.debug("%s: left to the probe: %s", image.name, failure)
    except PostrojError as error:
        if plan.offline:
            raise
        # The probe reports guests that end.
        level = logging.DEBUG if isinstance(error, GuestError) else logging.INFO
        log.log(level, "%s: not cached for later runs: %s", image.name, error.message)
    return image


class _LeftToProbe(Exception):
    """Something failed that will fail in the probe as well."""


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
        """Return the image with everything that the packages need, installed if that is possible.

        A layer is found again for packages that name the same other packages.
        """
        plan = self._plan
        files = (*self._packages, *plan.older)
        if not plan.from_repository and not any(file.names_others for file in files):
            return replace(image, dependencies=())
        asked = [str(image.manager), *sorted(map(_relations, self._packages)), "older"]
        asked += sorted(map(_relations, plan.older))
        asked += ["repository"] if plan.from_repository else []
        asked += [] if plan.recommends else ["no-recommends"]
        recipe = warm_layers.recipe(Kind.DEPENDENCIES, image, *asked)
        make = partial(self._add_dependencies, image)
        layer = self._find_or_make(image, recipe, self._is_new, make)
        return replace(_stack_on(image, layer), dependencies=layer.packages)

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
        with warm_layers.building(recipe) as directory:
            if layer := find():  # another process may have made it while we waited
                return layer
            log.info("%s: %s ...", image.name, self._title(recipe.kind))
            layer = make(recipe, directory)
        warm_layers.collect()  # layers that the new one replaces, and those stacked on them
        return layer

    def _title(self, kind: Kind) -> str:
        """Say what a layer has, with the packages if it is for them."""
        if kind is not Kind.DEPENDENCIES:
            return TITLES[kind]
        return f"{TITLES[kind]} of {' '.join(file.name for file in self._packages)}"

    def _run_setup(self, image: Image, recipe: Recipe, directory: Path) -> WarmLayer:
        with self._guest(image) as guest:
            for command in self._plan.setup:
                _run(guest, image, command, self._plan.timeout)
            return warm_layers.add(self._stack, recipe, _pack(guest, directory))

    def _fetch_lists(self, image: Image, recipe: Recipe, directory: Path) -> WarmLayer:
        manager = manager_of(image.manager, recommends=self._plan.recommends)
        with self._guest(image) as guest:
            argv = manager.refresh()
            if blame := operations.perform(guest, manager, argv, [], self._plan.timeout):
                raise _LeftToProbe(blame.sentence)
            return warm_layers.add(self._stack, recipe, _pack(guest, directory))

    def _add_dependencies(self, image: Image, recipe: Recipe, directory: Path) -> WarmLayer:
        """Install what the packages need; only download it if it cannot be installed before them.

        Dependencies that need a package under test, or that are other ones without it, cannot.
        """
        manager = manager_of(image.manager, recommends=self._plan.recommends)
        with suppress(Inseparable), self._guest(image, boot=True) as guest:
            batches = self._batches(image, guest)
            names = dependencies.install(
                guest, manager, batches, partial(self._perform, image, guest)
            )
            guest.run(["sh", "-c", CLEAN, "sh", *manager.cache], timeout=self._plan.timeout)
            guest.power_off(SHUTDOWN)
            return warm_layers.add(self._stack, recipe, _pack(guest, directory), names)
        with self._guest(image) as guest:
            for batch in self._batches(image, guest):
                argv = manager.fetch(batch.paths)
                self._perform(image, guest, argv, batch.names)
            file = _pack(guest, directory, (*manager.cache, DOWNLOADED))
            return warm_layers.add(self._stack, recipe, file)

    def _batches(self, image: Image, guest: OwnGuest) -> list[Batch]:
        """Return the packages of each transaction of the probe, as the guest reads them.

        Versions from the repositories are downloaded.
        """
        plan, manager = self._plan, manager_of(image.manager, recommends=self._plan.recommends)
        files = [self._packages, *([plan.older] if plan.older else [])]
        found = [versions.read(guest, manager, some) for some in files]
        if plan.from_repository and isinstance(tested := found[0], Batch):
            found.append(versions.download(guest, manager, tested.names, plan.timeout))
        if blame := next((each for each in found if isinstance(each, Blame)), None):
            raise self._failure(image, blame)
        return [batch for batch in found if isinstance(batch, Batch)]

    def _perform(
        self, image: Image, guest: OwnGuest, argv: Sequence[str], names: Sequence[str]
    ) -> None:
        manager = manager_of(image.manager, recommends=self._plan.recommends)
        if blame := operations.perform(guest, manager, argv, names, self._plan.timeout):
            raise self._failure(image, blame)

    def _failure(self, image: Image, blame: Blame) -> Exception:
        """Return what to raise for a failure."""
        if self._plan.offline and blame.outcome is Outcome.ERROR:
            return _missing(image, Kind.DEPENDENCIES, blame.reason)
        return _LeftToProbe(blame.sentence)

    def _guest(self, image: Image, *, boot: bool = False) -> AbstractContextManager[OwnGuest]:
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
                boot=boot,
                network=network,
                proxies=self._plan.proxies,
                binds=binds([*self._packages, *self._plan.older]),
                boot_timeout=self._plan.boot_timeout,
                guests=self._plan.guests,
                image=image.name,
                systemd=image.systemd,
                emulated=image.emulated,
                purpose="fetch",
            )
        )


def _relations(package: PackageFile) -> str:
    return package.relations or sha256(package.path)


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
        how = f"ended with status {error.status}"
        if isinstance(error, CommandTimeout):
            how = f"did not end within {error.seconds:g} s"
        first, newline, _ = command.partition("\n")
        shown = f"{first} ..." if newline else first
        message = f"`--setup` failed on the image '{image.name}': '{shown}' {how}"
        hint = f"try the command in `postroj shell --no-boot --image {image.name}`"
        raise ImageError(message, evidence=process.last_lines(error.output), hint=hint) from None


def _pack(guest: OwnGuest, directory: Path, only: Sequence[str] | None = None) -> Path:
    """Pack what a guest has written, or only some folders of it, into a layer; ends the guest."""
    from postroj.image.unpack import pack

    file = directory / "layer.squashfs"
    pack.squash_output(guest.layer_argv(only), file)
    return file
