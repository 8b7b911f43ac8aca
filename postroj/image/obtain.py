"""From a name to the record of an image: cached already, or pulled first.

This is on the way of every guest. So what pulls is not imported before something must be, and the
catalog, which takes time to read, is not asked for an image that is stored under its very name.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from postroj.errors import ImageError, VerificationError
from postroj.image import architectures, emulation
from postroj.image.store import lockfile, store

if TYPE_CHECKING:
    from postroj.image.store.record import Record

log = logging.getLogger(__name__)


def find_or_pull(name: str, machine: str = "") -> Record:
    """Return the record of an image of that name or alias, pulled if it is not cached.

    It is for the architecture `machine`, or this host's, and runs here.

    :raises UsageError: if no image has that name.
    :raises HostError: if this host lacks something.
    :raises ImageError: if it could not be made.
    """
    machine = machine or architectures.of_this_host()
    emulation.require(machine)
    name, record = _find(name, machine)
    if record and lockfile.is_wanted(record, lockfile.find(name, machine)):
        return record
    from postroj.image import pull
    from postroj.image.catalog import catalog

    if record and name not in catalog.names():
        message = f"the image '{name}', which was imported, is not the one in the lock file"
        hint = "`postroj import --force` brings another, `postroj lock` writes down this one"
        raise VerificationError(message, hint=hint)
    why = "is not as the lock file has it" if record else "is not cached yet"
    log.info("the image '%s' %s, it is pulled now", name, why)
    return pull.pull(catalog.find(name), pull.Request(architecture=machine)).record


def find_cached(name: str, machine: str = "") -> Record:
    """Return the record of an image as `obtain` does, which is not fetched if it is missing.

    :raises UsageError: if no image has that name.
    :raises HostError: if this host cannot run its programs.
    :raises ImageError: if it is not cached, or not as the lock file has it.
    """
    machine = machine or architectures.of_this_host()
    emulation.require(machine)
    name, record = _find(name, machine)
    if record and lockfile.is_wanted(record, lockfile.find(name, machine)):
        return record
    why = "is not as the lock file has it" if record else "is not cached"
    message = f"the image '{name}' {why}, and `--offline` fetches none"
    raise ImageError(message, hint=f"`postroj pull {name}` fetches it")


def _find(name: str, machine: str) -> tuple[str, Record | None]:
    """Return the full name of an image, and its record if it is cached."""
    record = store.find(name, machine)
    if record is None:
        from postroj.image.catalog import catalog

        name = catalog.find(name).name
        record = store.find(name, machine)
    return name, record
