"""A guest that runs becomes an image: all that it sees as its root, in one squashfs file.

The guest stands still while its files are read, so that the image is of one moment, as after a
power cut with nothing left to be written.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from postroj import console
from postroj.container import roster
from postroj.container.facts import read_facts
from postroj.container.layer import SEEDED
from postroj.container.still import still
from postroj.errors import UsageError
from postroj.image.architectures import of_this_host
from postroj.image.importer import check_name
from postroj.image.inspect import inspect_squashfs
from postroj.image.store import store
from postroj.image.store.record import Provenance
from postroj.image.unpack import pack
from postroj.model import SourceKind, Verification

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.image.store.record import Record

log = logging.getLogger(__name__)

LEFT_OUT = (
    *(f"./etc/{name}" for name in SEEDED),
    # what two guests must not share: an identity, and where randomness begins
    "./var/lib/dbus/machine-id",
    "./var/lib/systemd/random-seed",
    "./var/log/journal/*",
)
BLANK = "etc/machine-id"
"""Empty in an image, so that who boots it gets one and no unit is preset anew, machine-id(5)."""


def commit(name: str, image: str, *, force: bool = False) -> Record:
    """Make an image of what a guest sees now.

    :raises UsageError: if there is no such guest, or an image of that name and no `force`, or if
        its users are not those of the host.
    :raises GuestError: if the guest ends meanwhile.
    :raises ImageError: if its files cannot be read.
    """
    check_name(image)
    guest = roster.enter(name)
    with still(guest) as files:
        store.prepare()
        with store.building(image, of_this_host()) as directory:
            if not force and store.find(image, of_this_host()):
                message = f"there is an image '{image}' already"
                raise UsageError(message, hint="`--force` replaces it")
            file = directory / "image.squashfs"
            blank = directory / "blank"
            (blank / BLANK).parent.mkdir(parents=True)
            (blank / BLANK).touch()
            (blank / BLANK).chmod(0o444)
            with console.progress(f"commit {name}"):
                if not files.prefix:
                    log.warning("this host has no cgroup v2 to freeze the guest, which runs on")
                pack.squash_output([*files.prefix, *tar_argv(files.root, blank)], file)
            guest.require()
            facts = read_facts(guest.run_dir)
            of = Provenance(
                source=SourceKind.IMPORT,
                url=f"guest {guest.name} of {facts.image if facts and facts.image else '?'}",
                build="",
                artifact="",
                compression=pack.COMPRESSION,
                verification=Verification.NONE,
            )
            # what has booted need not be prepared
            prepared = () if guest.init() == "systemd" else None
            manager = inspect_squashfs(file).manager
            record = store.add(image, of_this_host(), manager, file, of, prepared=prepared)
    store.collect()
    return record


def tar_argv(root: Path, blank: Path) -> list[str]:
    """Return what writes the tar of a guest's root, with a blank identity, to stdout."""
    tar, *options = pack.tar_argv(str(root))
    left_out = (f"--exclude={path}" for path in LEFT_OUT)
    return [tar, "--anchored", *left_out, *options, f"--directory={blank}", BLANK]
