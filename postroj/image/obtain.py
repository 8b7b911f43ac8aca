"""Find the record of an image by its name, and pull the image if it is not cached.

Every guest starts here. Therefore the modules that pull are imported only when needed, and the slow
catalog is not read for an image that is stored under the very name.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from postroj.errors import ImageError, VerificationError
from postroj.image import architectures, emulation
from postroj.image.store import fitness, store

if TYPE_CHECKING:
    from postroj.image.store.record import Record

log = logging.getLogger(__name__)


def find_or_pull(name: str, machine: str = "") -> Record:
    """Return the record of an image by name or alias; pull it if it is not cached.

    The image is for the architecture `machine`, by default this host's, which must run here.

    :raises UsageError: if no image has that name.
    :raises HostError: if this host lacks something.
    :raises ImageError: if the build fails.
    """
    machine = machine or architectures.of_this_host()
    emulation.require(machine)
    name, record = _find(name, machine)
    why = fitness.unfit(record) if record else "is not cached yet"
    if record and not why:
        return record
    from postroj.image import pull
    from postroj.image.catalog import catalog

    if record and name not in catalog.names():
        message = f"the imported image '{name}' {why}"
        hint = "`postroj import --force` replaces it, `postroj lock` locks this one"
        raise VerificationError(message, hint=hint)
    log.info("the image '%s' %s, pulling it", name, why)
    return pull.pull(catalog.find(name), pull.Request(architecture=machine)).record


def find_cached(name: str, machine: str = "") -> Record:
    """Return the record of a cached image by name or alias; download nothing.

    :raises UsageError: if no image has that name.
    :raises HostError: if this host cannot run its programs.
    :raises ImageError: if it is not cached, or not the image in the lock file.
    """
    machine = machine or architectures.of_this_host()
    emulation.require(machine)
    name, record = _find(name, machine)
    why = fitness.unfit(record) if record else "is not cached"
    if record and not why:
        return record
    message = f"the image '{name}' {why}, and `--offline` is set"
    raise ImageError(message, hint=f"`postroj pull {name}` downloads it")


def _find(name: str, machine: str) -> tuple[str, Record | None]:
    """Resolve an alias and return the image's name, and its record if it is cached."""
    record = store.find(name, machine)
    if record is None:
        from postroj.image.catalog import catalog

        name = catalog.find(name).name
        record = store.find(name, machine)
    return name, record
